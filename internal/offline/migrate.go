package offline

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/quoin-kv/quoin/internal/datadir"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
)

// The versions of the storage: the file says its own from 3.6 on.
func oldestStorage() membership.Version { return membership.Version{Major: 3, Minor: 5} }
func firstMarked() membership.Version   { return membership.Version{Major: 3, Minor: 6} }
func newestStorage() membership.Version { return membership.Version{Major: 3, Minor: 7} }

// MigrateOptions say what Migrate changes.
type MigrateOptions struct {
	DataDir, WALDir string
	Target          membership.Version // of etcd, or of a cluster, that is to start from the directory
	Force           bool               // whatever the log holds
}

// ParseTarget reads a version "X.Y" to which a directory can be migrated.
func ParseTarget(text string) (membership.Version, error) {
	v, err := membership.ParseVersion(text)
	if err != nil || v.String() != text+".0" {
		return v, fmt.Errorf("wrong target version format, expected \"X.Y\", got %q", text)
	}
	if v.Less(oldestStorage()) {
		return v, fmt.Errorf("target version %q not supported. Minimal \"3.5\"", text)
	}
	return v, nil
}

// Migrate marks the database file of a data directory with another version, step by step, and returns what it was and the versions that it
// went through. It refuses if the log holds an entry that a server of the target version could not apply, unless forced.
func Migrate(o MigrateOptions) (was membership.Version, steps []membership.Version, err error) {
	dir, err := datadir.Open(vfs.OS{}, o.DataDir, o.WALDir)
	if err != nil {
		return was, nil, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	paths := dir.Plan().Paths
	err = change(paths.DB, func(tx *bbolt.Tx) error {
		meta, err := bucket(tx, schema.Meta)
		if err != nil {
			return err
		}
		if was, err = storageVersion(meta); err != nil {
			if !o.Force {
				return err
			}
			was = o.Target
		}
		if steps, err = migration(was, o.Target); err != nil {
			return err
		}
		if o.Target.Less(was) && !o.Force {
			if err := checkLog(paths.WAL, o.Target); err != nil {
				return err
			}
		}
		return setStorageVersion(meta, o.Target)
	})
	return was, steps, err
}

// storageVersion is that of the file.
func storageVersion(meta *bbolt.Bucket) (membership.Version, error) {
	if text := meta.Get([]byte(schema.MetaStorageVersion)); text != nil {
		return membership.ParseVersion(string(text))
	}
	if term := meta.Get([]byte(schema.MetaTerm)); term == nil {
		return membership.Version{}, errors.New("cannot detect storage schema version: missing term information")
	}
	return oldestStorage(), nil
}

// migration is the way from one version to another.
func migration(from, to membership.Version) (steps []membership.Version, err error) {
	if from.Major != to.Major {
		return nil, errors.New("cannot create migration plan: changing major storage version is not supported")
	}
	for v := from; v != to; steps = append(steps, v) {
		if v.Less(to) {
			v.Minor++
		} else {
			v = v.Below()
		}
		if newestStorage().Less(v) || newestStorage().Less(from) {
			return nil, fmt.Errorf("cannot create migration plan: version %q is not supported", v)
		}
	}
	return steps, nil
}

func setStorageVersion(meta *bbolt.Bucket, v membership.Version) error {
	if v.Less(firstMarked()) {
		return meta.Delete([]byte(schema.MetaStorageVersion))
	}
	return meta.Put([]byte(schema.MetaStorageVersion), []byte(v.String()))
}

// checkLog refuses a log that a server of the target version could not read.
func checkLog(walDir string, target membership.Version) error {
	needs, err := logNeeds(walDir)
	if err == nil && target.Less(needs) {
		err = fmt.Errorf("cannot downgrade storage, WAL contains newer entries, "+
			"as the target version (%s) is lower than the version (%s) detected from WAL logs", target, needs)
	}
	return err
}

// logNeeds is the least version of a server that can apply every entry behind the newest mark of a log.
func logNeeds(walDir string) (needs membership.Version, err error) {
	recovered, err := wal.Read(wal.Config{FS: vfs.OS{}, Dir: walDir})
	if err != nil {
		return needs, err
	}
	for _, e := range recovered.Entries {
		v, err := entryNeeds(&e)
		if err != nil {
			return needs, fmt.Errorf("entry %d: %w", e.Index, err)
		}
		if needs.Less(v) {
			needs = v
		}
	}
	return needs, nil
}

// entryNeeds is the version in which what an entry says came to be.
func entryNeeds(e *wire.Entry) (membership.Version, error) {
	v := membership.Version{Major: 3}
	switch {
	case e.Type == wire.EntryConfChangeV2:
		v.Minor = 4
	case e.Type == wire.EntryNormal && len(e.Data) > 0:
		in, err := request.ParseInternal(e.Data)
		if _, old := request.ParseV2(e.Data); err != nil && old {
			return v, nil
		}
		if err != nil {
			return v, err
		}
		if test, ok := in.Request.(*request.DowngradeVersionTest); ok {
			return membership.ParseVersion(test.Version)
		}
		v.Minor = requestNeeds(in.Field)
	}
	return v, nil
}

// requestNeeds is the minor version in which a request came to be.
func requestNeeds(f request.Field) int {
	switch {
	case f == request.FieldLeaseCheckpoint:
		return 4
	case slices.Contains([]request.Field{request.FieldClusterVersionSet, request.FieldMemberAttrSet, request.FieldDowngradeInfoSet}, f):
		return 5
	}
	return 3
}

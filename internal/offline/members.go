package offline

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"go.etcd.io/bbolt"

	"github.com/quoin-kv/quoin/internal/datadir"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
)

// MemberState is a member as a data directory has it.
type MemberState struct {
	ID         string // hexadecimal
	Name       string
	PeerURLs   []string
	ClientURLs []string
	Learner    bool
	Self       bool   // the directory is this member's
	Problem    string // what its log says otherwise; empty if nothing
}

// MembersOptions say which members are looked at, and what is mended.
type MembersOptions struct {
	DataDir, WALDir string
	Mend            bool     // make the database file say what the log says
	Remove          []string // ids, hexadecimal, of members to remove, whatever the log says
}

// Members lists the members that a data directory has, with what is wrong with each: members that were removed long ago can have stayed in
// directories of etcd 3.5 and before. On request it mends the database file; then the members are those from before. The directory must not be
// in use.
func Members(o MembersOptions) (list []MemberState, err error) {
	paths := datadir.NewPaths(o.DataDir, o.WALDir)
	if _, err := os.Stat(paths.DB); err != nil {
		return nil, err
	}
	touch := read
	if o.changes() {
		dir, err := datadir.Open(vfs.OS{}, o.DataDir, o.WALDir)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, dir.Close()) }()
		touch = change
	}
	log, err := wal.Read(wal.Config{FS: vfs.OS{}, Dir: paths.WAL})
	if err != nil {
		return nil, err
	}
	err = touch(paths.DB, func(tx *bbolt.Tx) error {
		s, err := readMembers(tx, paths, log)
		if err != nil {
			return err
		}
		list = s.list(log.Metadata.NodeID)
		if o.changes() {
			return s.mend(tx, &o, log.Metadata.NodeID)
		}
		return nil
	})
	return list, err
}

func (o *MembersOptions) changes() bool { return o.Mend || len(o.Remove) > 0 }

// membersOf is what file and log say of the members.
type membersOf struct {
	cluster    *membership.Cluster
	evidence   membership.Evidence
	deviations []membership.Deviation
}

func readMembers(tx *bbolt.Tx, paths datadir.Paths, log *wal.Recovered) (s membersOf, err error) {
	s.cluster = membership.New()
	for _, b := range []schema.Bucket{schema.MembersRemoved, schema.Members, schema.Cluster} {
		stored, err := bucket(tx, b)
		if err != nil {
			return s, err
		}
		err = stored.ForEach(func(k, v []byte) error { return s.cluster.Load(b, slices.Clone(k), slices.Clone(v)) })
		if err != nil {
			return s, err
		}
	}
	meta, err := bucket(tx, schema.Meta)
	if err != nil {
		return s, err
	}
	s.evidence = membership.Evidence{Mark: log.Mark.Index, ConfState: log.Mark.ConfState, Entries: log.Entries}
	if index := meta.Get([]byte(schema.MetaConsistentIndex)); index != nil {
		if s.evidence.Applied, err = schema.ParseUint64(index); err != nil {
			return s, err
		}
	}
	if s.evidence.StoreJSON, err = datadir.ReadSnapFile(vfs.OS{}, paths, log.Mark.Term, log.Mark.Index); err != nil {
		return s, err
	}
	s.deviations, err = s.cluster.Deviations(s.evidence)
	return s, err
}

// list is everybody that the file or the log knows, by ascending id.
func (s *membersOf) list(self uint64) (list []MemberState) {
	problems := map[uint64]string{}
	members := s.cluster.Members()
	for _, d := range s.deviations {
		problems[d.ID()] = d.Kind.String()
		if _, there := s.cluster.Member(d.ID()); !there { // in neither of the file's lists that count
			one := d.Stored
			if one.ID == 0 {
				one = d.Logged
			}
			members = append(members, one)
		}
	}
	for _, m := range members {
		list = append(list, MemberState{
			ID: membership.FormatID(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, Learner: m.IsLearner,
			Self: m.ID == self, Problem: problems[m.ID],
		})
	}
	return list
}

// mend makes the file say what the log says, without those who are to be removed.
func (s *membersOf) mend(tx *bbolt.Tx, o *MembersOptions, self uint64) error {
	mended := s.cluster
	if o.Mend {
		var err error
		if mended, err = s.cluster.Mended(s.evidence); err != nil {
			return err
		}
	}
	for _, text := range o.Remove {
		id, err := strconv.ParseUint(text, 16, 64)
		if err != nil {
			return fmt.Errorf("%q is not the id of a member", text)
		}
		if _, err := mended.Apply(membership.RemoveChange(0, id), 0); err != nil {
			return fmt.Errorf("remove %s: %w", text, err)
		}
	}
	if me, ok := mended.Member(self); !ok {
		return fmt.Errorf("the directory belongs to member %s, which would be none of the members then", membership.FormatID(self))
	} else if len(mended.Voters()) == 0 {
		return fmt.Errorf("no voter would be left, only %s", me.Name)
	}
	return storeMembers(tx, mended)
}

// storeMembers replaces the members that a file holds.
func storeMembers(tx *bbolt.Tx, c *membership.Cluster) error {
	for _, b := range []schema.Bucket{schema.Members, schema.MembersRemoved} {
		if err := tx.DeleteBucket([]byte(b.Name())); err != nil {
			return err
		}
		if _, err := tx.CreateBucket([]byte(b.Name())); err != nil {
			return err
		}
	}
	for _, w := range c.Records() {
		if w.Bucket == schema.Cluster {
			continue
		}
		if err := tx.Bucket([]byte(w.Bucket.Name())).Put(w.Key, w.Value); err != nil {
			return err
		}
	}
	state := c.ConfState()
	stored := schema.ConfState{Voters: state.Voters, Learners: state.Learners}
	return tx.Bucket([]byte(schema.Meta.Name())).Put([]byte(schema.MetaConfState), stored.Append(nil))
}

package offline

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/datadir"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func version(minor int) membership.Version { return membership.Version{Major: 3, Minor: minor} }

// makeSnapshot writes a snapshot of a store in which a key was set at each revision from 2 to last.
func makeSnapshot(t *testing.T, last int64) string {
	t.Helper()
	b, err := backend.Open(backend.Config{Path: filepath.Join(t.TempDir(), "db")})
	must(t, err)
	for rev := int64(2); rev <= last; rev++ {
		kv := schema.KeyValue{Key: fmt.Appendf(nil, "key%d", rev), Value: []byte("value"), CreateRevision: rev, ModRevision: rev, Version: 1}
		b.Append(schema.Rev{Main: rev}, false, kv.Append(nil))
	}
	old := schema.Member{ID: 7, Name: "old", PeerURLs: []string{"http://old:2380"}}
	b.Put(schema.Members, schema.MemberKey(7), old.Append(nil))
	b.Put(schema.MembersRemoved, schema.MemberKey(8), []byte(schema.RemovedMember))
	b.Put(schema.Cluster, []byte(schema.ClusterVersionKey), []byte("3.7.0"))
	b.Put(schema.Meta, []byte(schema.MetaStorageVersion), []byte("3.7.0"))
	b.Commit(schema.Applied{Index: 900, Term: 9})
	_, err = b.Flush(900)
	must(t, err)
	path := filepath.Join(t.TempDir(), "snapshot")
	f, err := os.Create(path)
	must(t, err)
	sum := sha256.New()
	_, err = b.WriteSnapshot(func(int64, schema.Applied) (io.Writer, error) { return io.MultiWriter(f, sum), nil })
	must(t, err)
	_, err = f.Write(sum.Sum(nil))
	must(t, errors.Join(err, f.Close(), b.Close()))
	return path
}

// options are for one of three members.
func options(t *testing.T, snapshot, name string) RestoreOptions {
	return RestoreOptions{
		Snapshot: snapshot, DataDir: filepath.Join(t.TempDir(), name), Name: name, Token: "token",
		InitialCluster: "a=http://a:1,b=http://b:1,c=http://c:1", AdvertisePeerURLs: []string{"http://" + name + ":1"},
	}
}

func TestRestoreOneOfThree(t *testing.T) {
	snapshot := makeSnapshot(t, 20)
	var told []int64
	o := options(t, snapshot, "b")
	o.Progress = func(done, total int64) { told = append(told, done, total) }
	must(t, Restore(t.Context(), o))

	if n := len(told); n < 4 || told[n-1] != told[n-2] || told[0] != 0 {
		t.Errorf("progress %v", told)
	}
	paths := datadir.NewPaths(o.DataDir, "")
	log, err := wal.Read(wal.Config{FS: vfs.OS{}, Dir: paths.WAL})
	must(t, err)
	if log.Mark.Index != 3 || log.Mark.Term != 1 || log.HardState.Commit != 3 || log.HardState.Term != 1 || len(log.Mark.ConfState.Voters) != 3 {
		t.Errorf("log: mark %+v, state %+v", log.Mark, log.HardState)
	}
	cluster, err := membership.ParseInitialCluster(o.InitialCluster)
	must(t, err)
	members := cluster.Members("token")
	if log.Metadata.ClusterID != membership.InitialClusterID(members) || log.Metadata.NodeID != membership.MemberID([]string{"http://b:1"}, "token", nil) {
		t.Errorf("log of %x in %x", log.Metadata.NodeID, log.Metadata.ClusterID)
	}
	if _, err := os.Stat(paths.SnapFile(1, 3)); err != nil {
		t.Error(err)
	}
	b, err := backend.Open(backend.Config{Path: paths.DB})
	must(t, err)
	defer b.Close()
	if at := b.Flushed(); at.Index != 3 || at.Term != 1 {
		t.Errorf("the file has applied %+v", at)
	}
	var names []string
	must(t, b.ForEach(schema.Members, func(_, v []byte) error {
		var m schema.Member
		err := m.Unmarshal(v)
		names = append(names, m.Name)
		return err
	}))
	slices.Sort(names)
	if strings.Join(names, "") != "abc" || b.Get(schema.MembersRemoved, schema.MemberKey(8)) != nil {
		t.Errorf("members %v", names)
	}
}

// TestRestoreKeepsTheHistory: whatever a restoration does to the members, the key space hashes to the same.
func TestRestoreKeepsTheHistory(t *testing.T) {
	snapshot := makeSnapshot(t, 20)
	want, err := HashKV(snapshot, 0)
	must(t, err)
	o := options(t, snapshot, "a")
	must(t, Restore(t.Context(), o))
	got, err := HashKV(datadir.NewPaths(o.DataDir, "").DB, 0)
	must(t, err)
	if got != want || want.Rev != 20 || want.CompactRev != -1 {
		t.Errorf("hash %+v, want %+v", got, want)
	}
	if _, err := HashKV(snapshot, 21); !errors.Is(err, kverr.FutureRev) {
		t.Errorf("hash of a future revision: %v", err)
	}
}

func TestRestoreBump(t *testing.T) {
	o := options(t, makeSnapshot(t, 20), "a")
	o.BumpRevision = 1000
	if err := Restore(t.Context(), o); !errors.Is(err, ErrBumpAlone) {
		t.Fatalf("bump alone: %v", err)
	}
	o.MarkCompacted = true
	must(t, Restore(t.Context(), o))
	s, err := ReadStatus(datadir.NewPaths(o.DataDir, "").DB)
	must(t, err)
	if s.Revision != 1020 || s.TotalKeys != 20 {
		t.Errorf("status %+v", s)
	}
	h, err := HashKV(datadir.NewPaths(o.DataDir, "").DB, 0)
	must(t, err)
	if h.Rev != 1020 || h.CompactRev != 1020 {
		t.Errorf("hash %+v", h)
	}
}

// TestRestoreRefusals: what is refused is refused with the right words, and leaves nothing behind.
func TestRestoreRefusals(t *testing.T) {
	snapshot := makeSnapshot(t, 20)
	whole, err := os.ReadFile(snapshot)
	must(t, err)
	write := func(b []byte) string {
		path := filepath.Join(t.TempDir(), "damaged")
		must(t, os.WriteFile(path, b, 0o600))
		return path
	}
	flipped := slices.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	plain := whole[:len(whole)-sha256.Size]
	empty := func(*RestoreOptions) {}
	for _, c := range []struct {
		name, file, want string
		change           func(*RestoreOptions)
	}{
		{"missing file", filepath.Join(t.TempDir(), "none"), "no such file", empty},
		{"no hash", write(plain), "snapshot missing hash but --skip-hash-check=false", empty},
		{"wrong hash", write(flipped), "expected sha256 [", empty},
		{"short", write(slices.Concat(plain[:len(plain)/2], make([]byte, 32))), "", func(o *RestoreOptions) { o.SkipHashCheck = true }},
		{"not a database", write(make([]byte, 4096)), "", func(o *RestoreOptions) { o.SkipHashCheck = true }},
		{"unknown name", snapshot, `couldn't find local name "x"`, func(o *RestoreOptions) { o.Name = "x" }},
		{"other URLs", snapshot, "--initial-cluster has a=http://a:1 but missing from --initial-advertise-peer-urls=http://d:1 (resolved urls: ", func(o *RestoreOptions) {
			o.AdvertisePeerURLs = []string{"http://d:1"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(t, c.file, "a")
			c.change(&o)
			err := Restore(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if _, err := os.Stat(o.DataDir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("something is left: %v", err)
			}
		})
	}
	t.Run("directory in use", func(t *testing.T) {
		o := options(t, snapshot, "a")
		must(t, os.MkdirAll(filepath.Join(o.DataDir, "something"), 0o700))
		if err := Restore(t.Context(), o); err == nil || !strings.Contains(err.Error(), "not empty or could not be read") {
			t.Errorf("error %v", err)
		}
		if _, err := os.Stat(filepath.Join(o.DataDir, "something")); err != nil {
			t.Error("what was there is gone")
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		o := options(t, snapshot, "a")
		if err := Restore(ctx, o); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if _, err := os.Stat(o.DataDir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("something is left: %v", err)
		}
	})
}

// TestReadingLeavesTheFile: looking at a snapshot does not spoil its hash.
func TestReadingLeavesTheFile(t *testing.T) {
	snapshot := makeSnapshot(t, 20)
	before, err := os.ReadFile(snapshot)
	must(t, err)
	s, err := ReadStatus(snapshot)
	must(t, err)
	_, err = HashKV(snapshot, 5)
	must(t, err)
	after, err := os.ReadFile(snapshot)
	must(t, err)
	if !slices.Equal(before, after) {
		t.Error("the file has changed")
	}
	if s.Revision != 20 || s.TotalKeys != 19 || s.Version != "3.7.0" || s.TotalSize != int64(len(before)-sha256.Size) {
		t.Errorf("status %+v of %d bytes", s, len(before))
	}
}

// TestDamageIsAnError: a file in which one page is overwritten is either read or refused, and never ends the process.
func TestDamageIsAnError(t *testing.T) {
	whole, err := os.ReadFile(makeSnapshot(t, 2000))
	must(t, err)
	const page = 4096
	refused := 0
	for at := 0; at+page <= len(whole); at += page {
		damaged := slices.Clone(whole)
		for i := range page {
			damaged[at+i] ^= 0xa5
		}
		path := filepath.Join(t.TempDir(), "damaged")
		must(t, os.WriteFile(path, damaged, 0o600))
		_, err1 := ReadStatus(path)
		_, err2 := HashKV(path, 0)
		if err1 != nil || err2 != nil {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no damage was noticed")
	}
}

// restored is a restored data directory and its database file.
func restored(t *testing.T) (dir, db string) {
	t.Helper()
	o := options(t, makeSnapshot(t, 20), "a")
	must(t, Restore(t.Context(), o))
	return o.DataDir, datadir.NewPaths(o.DataDir, "").DB
}

func TestMigrate(t *testing.T) {
	dir, db := restored(t)
	for _, c := range []struct {
		target int
		steps  int
		stored string
	}{{6, 1, "3.6.0"}, {6, 0, "3.6.0"}, {5, 1, ""}, {7, 2, "3.7.0"}, {5, 2, ""}} {
		_, steps, err := Migrate(MigrateOptions{DataDir: dir, Target: version(c.target)})
		must(t, err)
		s, err := ReadStatus(db)
		must(t, err)
		if len(steps) != c.steps || s.Version != c.stored {
			t.Errorf("to 3.%d: steps %v, the file says %q", c.target, steps, s.Version)
		}
	}
	if _, _, err := Migrate(MigrateOptions{DataDir: dir, Target: version(8)}); err == nil || err.Error() != `cannot create migration plan: version "3.8.0" is not supported` {
		t.Errorf("to 3.8: %v", err)
	}
	if _, _, err := Migrate(MigrateOptions{DataDir: dir, Target: membership.Version{Major: 4}}); err == nil || !strings.Contains(err.Error(), "changing major") {
		t.Errorf("to 4.0: %v", err)
	}
}

// TestMigrateRefusesNewerLog: an entry that the target could not apply keeps the directory from it, unless that is forced.
func TestMigrateRefusesNewerLog(t *testing.T) {
	dir, db := restored(t)
	log, _, err := wal.Open(wal.Config{FS: vfs.OS{}, Dir: datadir.NewPaths(dir, "").WAL})
	must(t, err)
	data := request.AppendInternal(nil, request.Header{ID: 1}, request.FieldDowngradeVersionTest, (&request.DowngradeVersionTest{Version: "3.7.0"}).Append(nil))
	must(t, log.Write(wal.Batch{Entries: []wire.Entry{{Term: 1, Index: 4, Data: data}}, HardState: wire.HardState{Term: 1, Commit: 4}, Sync: true}))
	must(t, log.Close())
	_, _, err = Migrate(MigrateOptions{DataDir: dir, Target: version(6)})
	if err == nil || !strings.Contains(err.Error(), "cannot downgrade storage, WAL contains newer entries") {
		t.Fatalf("error %v", err)
	}
	_, _, err = Migrate(MigrateOptions{DataDir: dir, Target: version(6), Force: true})
	must(t, err)
	if s, err := ReadStatus(db); err != nil || s.Version != "3.6.0" {
		t.Errorf("version %q, %v", s.Version, err)
	}
}

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]string{
		"3.5": "", "3.7": "", "4.0": "", "3.4": `target version "3.4" not supported. Minimal "3.5"`, "x": `wrong target version format, expected "X.Y", got "x"`,
		"3.6.0": `wrong target version format, expected "X.Y", got "3.6.0"`,
	} {
		_, err := ParseTarget(text)
		if got := fmt.Sprint(err); err == nil && want != "" || err != nil && got != want {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestDefragment(t *testing.T) {
	dir, db := restored(t)
	must(t, change(db, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(schema.Alarm.Name())).Put([]byte("x"), make([]byte, 1<<20))
	}))
	must(t, change(db, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(schema.Alarm.Name())).Delete([]byte("x")) }))
	before, err := HashKV(db, 0)
	must(t, err)
	sizes, err := Defragment(t.Context(), dir, nil)
	must(t, err)
	after, err := HashKV(db, 0)
	must(t, err)
	if sizes.After >= sizes.Before || before != after {
		t.Errorf("sizes %+v, hash %+v before and %+v after", sizes, before, after)
	}
	if _, err := Defragment(t.Context(), filepath.Join(dir, "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

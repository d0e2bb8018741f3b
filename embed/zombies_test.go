package embed

import (
	"bytes"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/quoin-kv/quoin/internal/datadir"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
)

// changeFile changes the database file of a member that has stopped.
func changeFile(t *testing.T, dir string, fn func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(datadir.NewPaths(dir, "").DB, 0o600, nil)
	if err == nil {
		err = errors.Join(db.Update(fn), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// stopped returns the data directory of a member that ran once.
func stopped(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	m := start(t, testConfig(t, dir))
	stop(t, m)
	return dir
}

// TestZombie: a member in the database file that the log does not know is told of at the start, with what to do.
func TestZombie(t *testing.T) {
	dir := stopped(t)
	learner := schema.Member{ID: 0xbee, Name: "gone", PeerURLs: []string{"http://127.0.0.1:1"}, IsLearner: true}
	changeFile(t, dir, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(schema.Members.Name())).Put(schema.MemberKey(learner.ID), learner.Append(nil))
	})
	var log bytes.Buffer
	m, err := Start(t.Context(), testConfig(t, dir), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	<-m.Ready()
	stop(t, m)
	for _, want := range []string{"not a member any more", "member=bee", "name=gone", "role-in-file=learner role-in-log=none", "quoin util members --data-dir"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
}

// TestTooOld: a database file of etcd 3.4 is refused, with the way out.
func TestTooOld(t *testing.T) {
	dir := stopped(t)
	changeFile(t, dir, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(schema.Meta.Name())).Delete([]byte(schema.MetaTerm)) })
	_, err := Start(t.Context(), testConfig(t, dir), slog.New(slog.DiscardHandler))
	if !errors.Is(err, errTooOld) || !strings.Contains(err.Error(), "run etcd 3.5") {
		t.Errorf("error %v", err)
	}
}

func TestMarkFrom(t *testing.T) {
	old, err := hex.DecodeString("0882f6d4e8e5bfe8863912035055541a0a2f302f76657273696f6e2205332e352e30") // PUT /0/version 3.5.0
	if err != nil {
		t.Fatal(err)
	}
	entries := []wire.Entry{{Index: 6, Data: old}, {Index: 7, Data: []byte{0x22, 0}}, {Index: 8, Type: wire.EntryConfChange, Data: old}}
	for _, c := range []struct {
		version string
		entries []wire.Entry
		want    uint64
	}{
		{"", nil, 0},
		{clusterVersion, nil, 0},
		{"3.6.0", nil, 5},
		{"3.5.0", entries, 6},
		{clusterVersion, entries, 6},
		{"", entries[1:], 0},
	} {
		if got := markFrom(c.version, c.entries, 5); got != c.want {
			t.Errorf("version %q, %d entries: %d, expected %d", c.version, len(c.entries), got, c.want)
		}
	}
}

// TestFileBeforeMark: a database file from before the log's mark is refused, in the words that people search for.
func TestFileBeforeMark(t *testing.T) {
	dir := stopped(t)
	changeFile(t, dir, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(schema.Cluster.Name())).Put([]byte(schema.ClusterVersionKey), []byte("3.6.0")) // has the log marked
	})
	stop(t, start(t, testConfig(t, dir)))
	changeFile(t, dir, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(schema.Meta.Name())).Put([]byte(schema.MetaConsistentIndex), []byte{0, 0, 0, 0, 0, 0, 0, 1})
	})
	_, err := Start(t.Context(), testConfig(t, dir), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), missingSnapshot) || !strings.Contains(err.Error(), "has applied the log up to 1") {
		t.Errorf("error %v", err)
	}
}

// TestMarkAtStart: the log of a directory of another version is marked before anything else happens, so that etcd 3.7 need not read what stands
// before, however soon this member is killed.
func TestMarkAtStart(t *testing.T) {
	dir := stopped(t)
	paths := datadir.NewPaths(dir, "")
	changeFile(t, dir, func(tx *bbolt.Tx) error {
		return errors.Join(
			tx.Bucket([]byte(schema.Cluster.Name())).Put([]byte(schema.ClusterVersionKey), []byte("3.6.0")),
			tx.Bucket([]byte(schema.Meta.Name())).Put([]byte(schema.MetaStorageVersion), []byte("3.6.0")),
		)
	})
	before, err := wal.Read(wal.Config{FS: vfs.OS{}, Dir: paths.WAL})
	if err != nil || before.Mark.Index != 0 || len(before.Entries) == 0 {
		t.Fatalf("mark %d, %d entries, %v", before.Mark.Index, len(before.Entries), err)
	}
	start(t, testConfig(t, dir))
	after, err := wal.Read(wal.Config{FS: vfs.OS{}, Dir: paths.WAL})
	if err != nil || after.Mark.Index != uint64(len(before.Entries)) || len(after.Mark.ConfState.Voters) != 1 {
		t.Errorf("mark %+v, %v", after.Mark, err)
	}
	if data, err := datadir.ReadSnapFile(vfs.OS{}, paths, after.Mark.Term, after.Mark.Index); err != nil || data == nil {
		t.Errorf("beside the mark stands %q, %v", data, err)
	}
}

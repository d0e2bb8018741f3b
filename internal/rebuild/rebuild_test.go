package rebuild

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
	"github.com/quoin-kv/quoin/internal/wal"
	"github.com/quoin-kv/quoin/raft/wire"
)

const (
	clusterID = 0xc1
	memberID  = 0xa1
	freshID   = 0xa2
)

// others is a cluster that hands out one database file.
type others struct {
	file     []byte
	members  []Member
	settled  []uint64
	replaced []uint64
}

func (o *others) Members(context.Context) (uint64, []Member, error) { return clusterID, o.members, nil }

func (o *others) Snapshot(_ context.Context, self uint64) (io.ReadCloser, error) {
	if self != memberID {
		return nil, fmt.Errorf("asked for member %x", self)
	}
	return io.NopCloser(bytes.NewReader(o.file)), nil
}

func (o *others) Settle(_ context.Context, id uint64) error {
	o.settled = append(o.settled, id)
	return nil
}

func (o *others) Replace(_ context.Context, id uint64, peerURLs []string) (uint64, error) {
	if strings.Join(peerURLs, ",") != "http://m1:2380" {
		return 0, fmt.Errorf("peer URLs %v", peerURLs)
	}
	o.replaced = append(o.replaced, id)
	return freshID, nil
}

// database returns the bytes of a database file that ends at an entry.
func database(t *testing.T, at schema.Applied) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	b, err := backend.Open(backend.Config{Path: path, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	at.ConfState = (&schema.ConfState{Voters: []uint64{memberID}}).Append(nil)
	b.Append(schema.Rev{Main: 2}, false, (&schema.KeyValue{Key: []byte("k")}).Append(nil))
	b.Commit(at)
	if _, err := b.Flush(at.Index); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := b.WriteSnapshot(func(int64, schema.Applied) (io.Writer, error) { return &out, nil }); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// directory makes a data directory: a database file that is not one, and a log of entries 11 to 20, the last five of term 3, behind a mark at 10.
func directory(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(filepath.Join(dir, "member", "snap"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "member", "snap", "db"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	first := wal.Batch{Mark: &wal.Mark{Index: 10, Term: 2}, HardState: wire.HardState{Term: 3, Vote: memberID, Commit: 12}, Sync: true}
	for i := uint64(11); i <= 20; i++ {
		first.Entries = append(first.Entries, wire.Entry{Index: i, Term: 2 + (i-1)/15})
	}
	log, err := wal.CreateWith(wal.Config{FS: vfs.OS{}, Dir: walDir(dir)}, wal.Metadata{NodeID: memberID, ClusterID: clusterID}, first)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func walDir(dir string) string { return filepath.Join(dir, "member", "wal") }

// run rebuilds a directory and returns what was said.
func run(t *testing.T, dir string, c *others) (said string, err error) {
	t.Helper()
	if c.members == nil {
		c.members = []Member{{ID: memberID, PeerURLs: []string{"http://m1:2380"}}, {ID: 0xb1}}
	}
	o := Options{DataDir: dir, Now: time.Unix(0, 0), Say: func(format string, args ...any) { said += fmt.Sprintf(format+"\n", args...) }}
	err = Run(t.Context(), o, c)
	return said, err
}

func recovered(t *testing.T, dir string) *wal.Recovered {
	t.Helper()
	r, err := wal.Read(wal.Config{FS: vfs.OS{}, Dir: walDir(dir)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestFileIsReplaced: the log stays as it is, or goes on after the snapshot; vote and term are what they were unless the term is over.
func TestFileIsReplaced(t *testing.T) {
	for name, tc := range map[string]struct {
		at    schema.Applied
		mark  uint64
		state wire.HardState
		left  int
	}{
		"at the mark":        {schema.Applied{Index: 10, Term: 2}, 10, wire.HardState{Term: 3, Vote: memberID, Commit: 12}, 10},
		"within the log":     {schema.Applied{Index: 17, Term: 3}, 10, wire.HardState{Term: 3, Vote: memberID, Commit: 12}, 10},
		"at the end":         {schema.Applied{Index: 20, Term: 3}, 10, wire.HardState{Term: 3, Vote: memberID, Commit: 12}, 10},
		"behind the end":     {schema.Applied{Index: 25, Term: 3}, 25, wire.HardState{Term: 3, Vote: memberID, Commit: 25}, 0},
		"behind, later term": {schema.Applied{Index: 25, Term: 5}, 25, wire.HardState{Term: 5, Commit: 25}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir, c := directory(t), &others{file: database(t, tc.at)}
			said, err := run(t, dir, c)
			if err != nil || len(c.replaced) != 0 || len(c.settled) != 1 || c.settled[0] != memberID {
				t.Fatalf("%v, settled %x, replaced %x\n%s", err, c.settled, c.replaced, said)
			}
			at, err := backend.Check(filepath.Join(dir, "member", "snap", "db"))
			if err != nil || at.Index != tc.at.Index {
				t.Errorf("database file at %d: %v", at.Index, err)
			}
			kept, err := os.ReadFile(filepath.Join(dir, "member", "damaged-19700101-000000", "db"))
			if err != nil || string(kept) != "damaged" {
				t.Errorf("kept %q: %v", kept, err)
			}
			r := recovered(t, dir)
			if r.Mark.Index != tc.mark || r.HardState != tc.state || len(r.Entries) != tc.left {
				t.Errorf("log: mark %v, state %v, %d entries", r.Mark, r.HardState, len(r.Entries))
			}
		})
	}
}

// TestMemberIsReplaced: a log that is damaged, or went another way than the cluster, is not used any more.
func TestMemberIsReplaced(t *testing.T) {
	for name, tc := range map[string]struct {
		at    schema.Applied
		spoil bool
	}{
		"log damaged":    {schema.Applied{Index: 17, Term: 3}, true},
		"log of its own": {schema.Applied{Index: 17, Term: 4}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, c := directory(t), &others{file: database(t, tc.at)}
			if tc.spoil {
				spoil(t, dir)
			}
			said, err := run(t, dir, c)
			if err != nil || len(c.replaced) != 1 || c.replaced[0] != memberID || !strings.Contains(said, "promote a2") {
				t.Fatalf("%v, replaced %x\n%s", err, c.replaced, said)
			}
			r := recovered(t, dir)
			if r.Metadata != (wal.Metadata{NodeID: freshID, ClusterID: clusterID}) || len(r.Entries) != 0 || r.Mark.Index != 0 || r.HardState.Vote != 0 {
				t.Errorf("log: %+v", r)
			}
			if _, err := os.Stat(filepath.Join(dir, "member", "damaged-19700101-000000", "wal")); err != nil {
				t.Error(err)
			}
		})
	}
}

// spoil turns a bit of the log over.
func spoil(t *testing.T, dir string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(walDir(dir), "*.wal"))
	if err != nil || len(segments) != 1 {
		t.Fatal(segments, err)
	}
	b, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	b[150] ^= 4
	if err := os.WriteFile(segments[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRefusals: what is not certain is not done, and nothing changes.
func TestRefusals(t *testing.T) {
	good := database(t, schema.Applied{Index: 17, Term: 3})
	for name, c := range map[string]*others{
		"no such member":   {file: good, members: []Member{{ID: 0xb1}}},
		"snapshot too old": {file: database(t, schema.Applied{Index: 5, Term: 1})},
		"snapshot damaged": {file: good[:len(good)/2]},
	} {
		t.Run(name, func(t *testing.T) {
			dir := directory(t)
			if said, err := run(t, dir, c); err == nil || len(c.replaced)+len(c.settled) != 0 {
				t.Errorf("%v\n%s", err, said)
			}
			if b, err := os.ReadFile(filepath.Join(dir, "member", "snap", "db")); string(b) != "damaged" {
				t.Errorf("the database file has changed (%v)", err)
			}
		})
	}
	if _, err := run(t, t.TempDir(), &others{}); err == nil {
		t.Error("an empty directory was rebuilt")
	}
}

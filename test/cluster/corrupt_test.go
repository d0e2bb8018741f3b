package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// stock is what a damaged member must never get wrong: values that nobody writes any more.
type stock map[string]string

const bulkPrefix, bulkEnd = "bulk/", "bulk0"

// readBulk reads all of it from one member's own data.
func (m *member) readBulk(ctx context.Context) (stock, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := etcdserverpb.NewKVClient(m.conn).Range(ctx, &etcdserverpb.RangeRequest{
		Key: []byte(bulkPrefix), RangeEnd: []byte(bulkEnd), Serializable: true,
	})
	if err != nil {
		return nil, err
	}
	all := stock{}
	for _, kv := range r.Kvs {
		all[string(kv.Key)] = fmt.Sprintf("%d %d %s", kv.ModRevision, kv.Version, kv.Value)
	}
	return all, nil
}

// reads makes sure that the member answers with what it was given, which is true, or not at all.
func (want stock) reads(t *testing.T, m *member) bool {
	t.Helper()
	got, err := m.readBulk(t.Context())
	switch {
	case status.Code(err) == codes.DataLoss, status.Code(err) == codes.Unavailable, status.Code(err) == codes.DeadlineExceeded:
		return false
	case err != nil:
		t.Errorf("%s: unexpected error: %v", m.name, err)
		return false
	}
	for key, value := range want {
		if got[key] != value {
			t.Fatalf("%s served %q for %s, want %q", m.name, got[key], key, value)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s served %d keys, want %d", m.name, len(got), len(want))
	}
	return true
}

func (m *member) dataDir() string { return filepath.Join(m.dir, "data") }

func (m *member) database() string { return filepath.Join(m.dataDir(), "member", "snap", "db") }

// flipBit turns one bit of a file over, at a random place up to a length.
func flipBit(t *testing.T, path string, random *rand.Rand, from, to int64) int64 {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := from + random.Int64N(to-from)
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << random.IntN(8)
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	return at
}

// databaseBytes is the part of the database file that has been used: high-water mark times page size of the newer meta page.
func databaseBytes(t *testing.T, path string) (used int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var newest uint64
	for i := range int64(2) {
		var meta [80]byte
		if _, err := f.ReadAt(meta[:], i*4096); err != nil {
			t.Fatal(err)
		}
		le := binary.LittleEndian
		if txid := le.Uint64(meta[64:]); txid >= newest {
			newest, used = txid, int64(le.Uint64(meta[56:]))*int64(le.Uint32(meta[24:]))
		}
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return min(used, info.Size())
}

// flipsMost bounds the bits that are turned over until one of them matters: many places of a file hold nothing.
const flipsMost = 200

// whileRunning turns bits over under a member at work until it notices and ends.
func whileRunning(t *testing.T, victim *member, want stock, random *rand.Rand) (flips int) {
	t.Helper()
	for serves := true; serves && flips < flipsMost; flips++ {
		flipBit(t, victim.database(), random, 0, databaseBytes(t, victim.database()))
		serves = want.reads(t, victim)
	}
	hasEnded(t, nil, nil, victim)
	return flips
}

// whileStopped turns bits over while the member is stopped, one before each start, until it refuses to start.
func whileStopped(t *testing.T, victim *member, want stock, random *rand.Rand) (flips int) {
	t.Helper()
	for flips = 1; flips < flipsMost; flips++ {
		victim.signal(t, syscall.SIGTERM)
		<-victim.done
		flipBit(t, victim.database(), random, 0, databaseBytes(t, victim.database()))
		victim.restart(t)
		eventually(t, "a start or a refusal", func(ctx context.Context) error {
			if !victim.running() {
				return nil
			}
			return victim.serves(ctx)
		})
		if !victim.running() {
			return flips
		}
		want.reads(t, victim)
	}
	t.Errorf("%s serves after %d bits were turned over", victim.name, flips)
	return flips
}

// named makes sure that the member said what is damaged, and ended with the exit code for that.
func named(t *testing.T, victim *member, file string) {
	t.Helper()
	if code := victim.process.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if line := victim.damage(t); !strings.Contains(line, file) || !strings.Contains(line, `"offset"`) {
		t.Errorf("the damage is not named: %s", victim.tail(20))
	}
}

// rebuild runs the command for a member that has ended.
func (m *member) rebuild(t *testing.T, c *cluster) string {
	t.Helper()
	var endpoints []string
	for _, other := range c.others(m) {
		endpoints = append(endpoints, "http://"+other.at.client)
	}
	quoin := filepath.Join(m.dir, "quoin") // the name of a program says what it does
	if err := os.Symlink(program, quoin); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	cmd := c.network.command(m.index, quoin, "rebuild", "--data-dir="+m.dataDir(), "--endpoints="+strings.Join(endpoints, ","))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("rebuild: %v\n%s", err, out.String())
	}
	return out.String()
}

// TestFlippedBits turns single bits of one member's database file over, while clients work through all members: it is found, named and
// never served, and one command brings the member back.
func TestFlippedBits(t *testing.T) {
	c := newCluster(t, flags.network, 3, false)
	load(t, c.leader(t), 6000, 3000, 300)
	want, err := c.leader(t).readBulk(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed of the bits: %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWorkload(t, c)
	for _, m := range c.members {
		w.through(m)
	}
	w.warm(t, c)
	rounds := 4
	if flags.long {
		rounds = 40
	}
	for round := range rounds {
		strike := whileRunning
		if round%2 == 1 {
			strike = whileStopped
		}
		victim := c.members[random.IntN(len(c.members))]
		flips := strike(t, victim, want, random)
		named(t, victim, victim.database())
		t.Logf("round %d: %s found it after %d bits: %s", round, victim.name, flips, victim.damage(t))
		for _, m := range c.others(victim) {
			want.reads(t, m)
		}
		victim.rebuild(t, c)
		victim.restart(t)
		eventually(t, "serving again", victim.serves)
		want.reads(t, victim)
	}
	w.finish(t, c)
}

// damage is the last line in which a member names the damage.
func (m *member) damage(t *testing.T) (last string) {
	t.Helper()
	text, err := os.ReadFile(m.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "is damaged") && strings.Contains(line, `"remedy"`) {
			last = strings.TrimSpace(line)
		}
	}
	return last
}

// TestFlippedBitsInLog: a member whose log is damaged does not start; the command makes a learner of it, which gets everything anew.
func TestFlippedBitsInLog(t *testing.T) {
	c := newCluster(t, flags.network, 3, false)
	load(t, c.leader(t), 3000, 1000, 300)
	victim := c.others(c.leader(t))[0]
	victim.signal(t, syscall.SIGTERM)
	<-victim.done
	segments, err := filepath.Glob(filepath.Join(victim.dataDir(), "member", "wal", "*.wal"))
	if err != nil || len(segments) == 0 {
		t.Fatal(err, segments)
	}
	flipBit(t, segments[0], rand.New(rand.NewPCG(1, 2)), 100<<10, 101<<10)
	victim.restart(t)
	hasEnded(t, nil, nil, victim)
	named(t, victim, segments[0])
	said := victim.rebuild(t, c)
	if !strings.Contains(said, "learner") {
		t.Errorf("the command said:\n%s", said)
	}
	victim.restart(t)
	eventually(t, "learning its new id", func(ctx context.Context) error {
		status, err := victim.status(ctx)
		if err != nil {
			return err
		}
		if victim.id = status.Header.MemberId; !status.IsLearner {
			return errors.New("it is no learner")
		}
		return nil
	})
	c.network.identify(victim.index, victim.id)
	c.promote(t, victim)
	eventually(t, "serving again", victim.serves)
	c.sameHash(t, 0)
}

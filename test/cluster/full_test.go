package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/internal/model"
)

// A member's reserve is a sixteenth of its disk, 25 MB of the 400 MB here. It is read-only with less than that free beside it.
const (
	scant = 8 << 20  // free: too little
	ample = 64 << 20 // free: more than enough
)

// smallCluster starts members with small disks of their own, or returns nil if the flags say that there are none.
func smallCluster(t *testing.T, n int) *cluster {
	t.Helper()
	if !flags.small {
		t.Log("left out: -small-disks=false")
		return nil
	}
	if os.Getuid() != 0 {
		t.Fatal("only root can make the small file systems that this test needs; -small-disks=false leaves it out")
	}
	c := newClusterOf(t, &cluster{mount: true}, flags.network, n, true)
	for _, m := range c.members {
		eventually(t, "the next log segment of "+m.name, m.hasSpare)
	}
	return c
}

// hasSpare tells why the member has no room for the log in advance yet.
func (m *member) hasSpare(context.Context) error {
	info, err := os.Stat(filepath.Join(m.dir, "data/member/wal/0.tmp"))
	if err == nil && info.Size() < 64_000_000 {
		err = fmt.Errorf("it has %d bytes", info.Size())
	}
	return err
}

func (m *member) ballast() string { return filepath.Join(m.dir, "ballast") }

// leave lets others take the room on the member's disk, or give it back, until so many bytes are free.
func (m *member) leave(t *testing.T, free int64) {
	t.Helper()
	eventually(t, "ballast of "+m.name, func(context.Context) error { return m.load(free) })
}

// load makes the ballast as large as leaves so many bytes free. The member may take some of them meanwhile.
func (m *member) load(free int64) error {
	f, err := os.OpenFile(m.ballast(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return err
	}
	switch more := int64(fs.Bavail)*fs.Bsize - free; {
	case more < 0:
		return f.Truncate(max(0, info.Size()+more))
	case more > 0:
		return unix.Fallocate(int(f.Fd()), 0, info.Size(), more)
	}
	return nil
}

// release gives all room back.
func (m *member) release(t *testing.T) {
	t.Helper()
	if err := os.Remove(m.ballast()); err != nil {
		t.Fatal(err)
	}
}

// refusesGrowth tells why the member is not read-only.
func (w *workload) refusesGrowth(ctx context.Context, m *member) error {
	op, ok := w.recorder.session(m).do(ctx, model.Request{Kind: model.Put, Key: tracked + "growth", Value: "x"})
	if op.Response.Failure != model.FailureRefused {
		return fmt.Errorf("%s answers a put (%v) with %v; lost were %v", m.name, ok, op.Response.Failure, w.recorder.losses())
	}
	return nil
}

func isNoSpace(err error) bool {
	s := status.Convert(err)
	return s.Code() == codes.ResourceExhausted && s.Message() == "etcdserver: mvcc: database space exceeded"
}

// cmpErr is err, or an error that says that there is none.
func cmpErr(err error) error {
	if err == nil {
		return errors.New("success")
	}
	return err
}

// checkReadOnly expects a member to refuse what grows, and to do everything else.
func (m *member) checkReadOnly(t *testing.T, w *workload) {
	t.Helper()
	isReadOnly(t, nil, w, m)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	kv, lease := etcdserverpb.NewKVClient(m.conn), etcdserverpb.NewLeaseClient(m.conn)
	put := &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestPut{RequestPut: &etcdserverpb.PutRequest{Key: []byte("untracked")}}}
	if _, err := kv.Put(ctx, put.GetRequestPut()); !isNoSpace(err) {
		t.Errorf("a put through %s: %v", m.name, cmpErr(err))
	}
	if _, err := kv.Txn(ctx, &etcdserverpb.TxnRequest{Success: []*etcdserverpb.RequestOp{put}}); !isNoSpace(err) {
		t.Errorf("a transaction that puts, through %s: %v", m.name, cmpErr(err))
	}
	if _, err := lease.LeaseGrant(ctx, &etcdserverpb.LeaseGrantRequest{TTL: 60}); !isNoSpace(err) {
		t.Errorf("a grant through %s: %v", m.name, cmpErr(err))
	}
	s := w.recorder.session(m)
	s.timeout = 10 * time.Second
	for _, r := range []model.Request{
		{Kind: model.Range, Key: tracked, End: trackedEnd},
		{Kind: model.Range, Key: tracked, End: trackedEnd, Serializable: true},
		{Kind: model.Delete, Key: tracked + "a"},
		{Kind: model.Txn, Then: []model.Request{{Kind: model.Delete, Key: tracked + "b"}}},
		{Kind: model.Compact, AtRevision: w.recorder.past(10) + 1},
	} {
		eventually(t, fmt.Sprintf("%v through %s without room", r.Kind, m.name), func(context.Context) error {
			op, ok := s.do(ctx, r)
			// The leader may change meanwhile, and somebody else may have compacted further.
			if !ok || op.Failure != model.FailureNone && op.Failure != model.FailureCompacted {
				return fmt.Errorf("failure %q, answered %v", op.Failure, ok)
			}
			return nil
		})
	}
}

// saysShort expects the member to say of itself that its disk is nearly full.
func (m *member) saysShort(t *testing.T) {
	t.Helper()
	st, err := m.status(t.Context())
	if err != nil || !strings.Contains(strings.Join(st.Errors, "\n"), "disk space short") {
		t.Errorf("%s says %q, %v", m.name, st.GetErrors(), err)
	}
}

// returns waits until a member takes writes again, and reports how long that took.
func (w *workload) returns(t *testing.T, m *member) {
	t.Helper()
	since := w.recorder.now()
	w.writtenThrough(t, m, since)
	took := time.Duration(w.recorder.now() - since)
	t.Logf("writes through %s %v after there was room", m.name, took.Round(time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("%s took %v to come back", m.name, took)
	}
}

// smallAlone is a single member with a small disk, and the work that is done with it; nil if there can be none.
func smallAlone(t *testing.T) (*cluster, *member, *workload) {
	c := smallCluster(t, 1)
	if c == nil {
		return nil, nil, nil
	}
	m := c.members[0]
	w := newWorkload(t, c)
	w.through(m)
	w.warm(t, c)
	return c, m, w
}

// TestFullDiskAlone fills the disk of a single member in steps, kills it while it is full, and empties it.
func TestFullDiskAlone(t *testing.T) {
	c, m, w := smallAlone(t)
	if c == nil {
		return
	}

	m.leave(t, scant)
	m.checkReadOnly(t, w)
	m.saysShort(t)
	m.leave(t, ample)
	w.returns(t, m)

	m.leave(t, 0)
	m.checkReadOnly(t, w)
	for range 3 {
		m.kill(t)
		m.leave(t, 0)
		m.restart(t)
		eventually(t, "serving with a full disk", m.serves)
		m.checkReadOnly(t, w)
	}
	m.release(t)
	w.returns(t, m)
	w.finish(t, c)
}

// bulk is deletions that each take a megabyte of the log.
func bulk(ctx context.Context, m *member, n int) (err error) {
	for i := 0; i < n && err == nil; i++ {
		err = func() error {
			ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			key := append(make([]byte, 1<<20), fmt.Sprint(i)...)
			_, err := etcdserverpb.NewKVClient(m.conn).DeleteRange(ctx, &etcdserverpb.DeleteRangeRequest{Key: key})
			return err
		}()
	}
	return err
}

// TestFullLog uses up everything that a member has, the room that its log had reserved as well: it answers nothing that needs the log then,
// does not end, and goes on when there is room.
func TestFullLog(t *testing.T) {
	c, m, w := smallAlone(t)
	if c == nil {
		return
	}
	eventually(t, "the log having no room", func(ctx context.Context) error {
		m.leave(t, 0)
		if err := bulk(ctx, m, 200); status.Code(err) != codes.DeadlineExceeded && status.Code(err) != codes.Unavailable {
			return fmt.Errorf("deletions end with %w", cmpErr(err))
		}
		return nil
	})
	read := w.recorder.session(m)
	if _, ok := read.do(t.Context(), model.Request{Kind: model.Range, Key: tracked, End: trackedEnd, Serializable: true}); !ok {
		t.Error("no read without room for the log")
	}
	if !m.running() {
		t.Fatalf("it has ended:\n%s", m.tail(10))
	}
	m.release(t)
	w.returns(t, m)

	m.leave(t, 0)
	_ = bulk(t.Context(), m, 200)
	m.kill(t)
	m.leave(t, 0)
	m.restart(t)
	eventually(t, "serving or ending with a full disk", func(ctx context.Context) error {
		if !m.running() {
			return nil
		}
		return m.serves(ctx)
	})
	if !m.running() {
		t.Logf("it does not start:\n%s", m.tail(3))
		if tail := m.tail(3); !strings.Contains(tail, "too full to start") || !strings.Contains(tail, m.dir) {
			t.Error("it does not say why")
		}
	}
	m.release(t)
	if !m.running() {
		m.restart(t)
	}
	w.returns(t, m)
	w.finish(t, c)
}

// TestFullDisks fills the disks of three members, one after the other and all of them.
func TestFullDisks(t *testing.T) {
	c := smallCluster(t, 3)
	if c == nil {
		return
	}
	w := newWorkload(t, c)
	for _, m := range c.members {
		w.through(m)
	}
	w.warm(t, c)

	leader := c.leader(t)
	began := w.recorder.now()
	leader.leave(t, scant)
	leader.checkReadOnly(t, w)
	anotherLeads(t, c, w, leader)
	for _, m := range c.others(leader) {
		w.writtenThrough(t, m, w.recorder.now())
	}
	follower := c.others(c.leader(t))[0]
	follower.kill(t)
	follower.restart(t)
	eventually(t, "serving after a kill", follower.serves)
	leader.release(t)
	w.returns(t, leader)
	w.neverStopped(t, began)

	for _, m := range c.members {
		m.leave(t, scant)
	}
	for _, m := range c.members {
		m.checkReadOnly(t, w)
		m.saysShort(t)
	}
	c.members[0].kill(t)
	c.members[0].leave(t, 0)
	c.members[0].restart(t)
	eventually(t, "serving with a full disk", c.members[0].serves)

	// One with room is no majority: nobody takes what the others could not store.
	c.members[2].release(t)
	eventually(t, "knowing of room", func(ctx context.Context) error {
		st, err := c.members[2].status(ctx)
		if err != nil || len(st.Errors) > 0 {
			return fmt.Errorf("%s says %q, %w", c.members[2].name, st.GetErrors(), cmpErr(err))
		}
		return nil
	})
	isReadOnly(t, c, w, c.members[2])
	c.members[1].release(t)
	w.returns(t, c.members[1])
	w.writtenThrough(t, c.members[2], w.recorder.now())
	c.members[0].release(t)
	w.returns(t, c.members[0])
	w.finish(t, c)
}

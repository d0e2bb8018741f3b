package service_test

import (
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/node"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// rooms is which members are short of room, and that each knows of all.
type rooms struct {
	sync.Mutex
	short map[uint64]bool
}

func (r *rooms) set(short bool, ids ...uint64) {
	r.Lock()
	defer r.Unlock()
	for _, id := range ids {
		r.short[id] = short
	}
}

func (r *rooms) is(id uint64) bool {
	r.Lock()
	defer r.Unlock()
	return r.short[id]
}

func (r *rooms) use(o *servicetest.Options) {
	id := o.Service.MemberID
	o.Service.Short = r.is
	o.Node.Room = func() (node.Room, error) { return node.Room{Short: r.is(id), Dir: "/", Free: 1}, nil }
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	raw, err := proto.Marshal(m)
	check(t, err)
	return raw
}

// roomTime is what members need to see and to tell.
const roomTime = time.Second

func wantGrowth(t *testing.T, what string, m *servicetest.Member, want error) {
	t.Helper()
	request := &pb.PutRequest{Key: []byte("k"), Value: []byte("v")}
	raw := marshal(t, request)
	_, err := m.Put(t.Context(), raw)
	wantError(t, what+": a put", err, want)
	txn := &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: request}}}}
	_, err = m.Txn(t.Context(), marshal(t, txn))
	wantError(t, what+": a transaction", err, want)
	_, err = m.LeaseGrant(t.Context(), marshal(t, &pb.LeaseGrantRequest{TTL: 100}))
	wantError(t, what+": a grant", err, want)
	_, err = m.DeleteRange(t.Context(), marshal(t, &pb.DeleteRangeRequest{Key: []byte("k")}))
	wantError(t, what+": a deletion", err, nil)
	_, err = m.Range(t.Context(), marshal(t, &pb.RangeRequest{Key: []byte("k")}))
	wantError(t, what+": a read", err, nil)
}

// TestShortOfRoom: a member without room refuses growth and does not go on leading; if those with room are no majority all refuse it.
func TestShortOfRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rooms{short: map[uint64]bool{}}
		c := settled(t, 3, r.use)
		first := c.Leader()
		r.set(true, first.ID)
		after(roomTime)
		if now := c.Leader(); now == first {
			t.Error("a leader without room leads on")
		}
		wantGrowth(t, "without room", first, kverr.NoSpace)
		wantGrowth(t, "at another", c.Leader(), nil)
		if errs := strings.Join(first.Status().Errors, "\n"); !strings.Contains(errs, "disk space short") {
			t.Errorf("it says %q", errs)
		}
		if len(c.Leader().Status().Errors) > 0 {
			t.Errorf("another one says %q", c.Leader().Status().Errors)
		}

		second := c.Leader()
		r.set(true, second.ID)
		after(roomTime + 5*time.Second)
		third := c.Leader()
		if third == first || third == second {
			t.Errorf("%d leads", third.ID)
		}
		wantGrowth(t, "at the only one with room", third, kverr.NoSpace)
		r.set(true, third.ID)
		after(time.Minute)
		if c.Leader() != third {
			t.Error("leadership goes round although nobody has room")
		}
		r.set(false, 1, 2, 3)
		after(roomTime)
		for id := range uint64(3) {
			wantGrowth(t, "with room", c.Member(id+1), nil)
		}
	})
}

// TestShortOfRoomAlone: the same for a single member.
func TestShortOfRoomAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rooms{short: map[uint64]bool{}}
		c := settled(t, 1, r.use)
		m := c.Leader()
		r.set(true, m.ID)
		after(roomTime)
		wantGrowth(t, "without room", m, kverr.NoSpace)
		r.set(false, m.ID)
		after(roomTime)
		wantGrowth(t, "with room", m, nil)
	})
}

// TestFlushWithoutRoom: what needs the database file to be up to date says so when there is no room for that.
func TestFlushWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := servicetest.NewDisks(t, 1)
		m := startOn(t, d)
		put(t, m, "k", "v")
		d.DB.Fail(syscall.ENOSPC)
		put(t, m, "k", "v")
		_, err := m.HashFile(t.Context())
		wantError(t, "a hash of the file", err, kverr.NoSpace)
		d.DB.Fail(nil)
		_, err = m.HashFile(t.Context())
		wantError(t, "with room", err, nil)
		m.Stop(t)
	})
}

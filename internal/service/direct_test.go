package service_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
	"github.com/quoin-kv/quoin/internal/steps"
)

// directCall is a direct call and what became of it.
type directCall struct {
	kind   service.DirectKind
	raw    []byte
	token  string
	cancel service.Cancelled

	ended chan struct{} // closed then
	reply []byte
	err   error
	left  bool
	spent steps.Spent
}

func direct(kind service.DirectKind, in proto.Message) *directCall {
	raw, err := proto.Marshal(in)
	if err != nil {
		panic(err)
	}
	return &directCall{kind: kind, raw: raw, ended: make(chan struct{})}
}

func (c *directCall) Kind() service.DirectKind          { return c.kind }
func (c *directCall) Request() []byte                   { return c.raw }
func (c *directCall) Token() string                     { return c.token }
func (c *directCall) OnCancel(cancel service.Cancelled) { c.cancel = cancel }

func (c *directCall) Answer(response []byte, where service.Accounts) {
	c.reply = response
	where.Account(&c.spent)
	close(c.ended)
}

func (c *directCall) Fail(err error, where service.Accounts) {
	c.err = err
	where.Account(&c.spent)
	close(c.ended)
}

func (c *directCall) Leave() {
	c.left = true
	close(c.ended)
}

// serve serves calls together and waits for all.
func serve(m *servicetest.Member, calls ...*directCall) {
	var list []service.Direct
	for _, c := range calls {
		list = append(list, c)
	}
	m.ServeDirect(list)
	clear(list) // it is not kept
	for _, c := range calls {
		<-c.ended
	}
}

// ordinary is the call that a direct one stands for.
func ordinary(m *servicetest.Member, kind service.DirectKind) method {
	return map[service.DirectKind]method{
		service.DirectRange: m.Range, service.DirectPut: m.Put, service.DirectDeleteRange: m.DeleteRange, service.DirectTxn: m.Txn,
		service.DirectLeaseGrant: m.LeaseGrant,
	}[kind]
}

func putOp(key, value string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(key), Value: []byte(value)}}}
}

func rangeOp(key, end string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte(key), RangeEnd: []byte(end)}}}
}

// TestDirectAnswersLikeTheOthers makes every kind of call on two members, directly on one of them, many at a time: what they answer and what
// is there in the end is the same.
func TestDirectAnswersLikeTheOthers(t *testing.T) {
	one, other := start(t), start(t)
	key, large := []byte("k"), strings.Repeat("x", 20<<10)
	for i, group := range [][]*directCall{
		{
			direct(service.DirectPut, &pb.PutRequest{Key: key, Value: []byte("1")}),
			direct(service.DirectPut, &pb.PutRequest{Key: key, Value: []byte("2"), PrevKv: true}),
			direct(service.DirectPut, &pb.PutRequest{Key: []byte("l"), Value: []byte("3"), Lease: 5}),
			direct(service.DirectPut, &pb.PutRequest{}),
			direct(service.DirectPut, &pb.PutRequest{Key: []byte("large"), Value: []byte(large)}),
		},
		{
			direct(service.DirectRange, &pb.RangeRequest{Key: key}),
			direct(service.DirectRange, &pb.RangeRequest{Key: key, Revision: 2}),
			direct(service.DirectRange, &pb.RangeRequest{Key: key, Limit: 1, SortOrder: pb.RangeRequest_DESCEND}),
			direct(service.DirectRange, &pb.RangeRequest{Key: key, KeysOnly: true}),
			direct(service.DirectRange, &pb.RangeRequest{Key: key, MinModRevision: 99}),
			direct(service.DirectRange, &pb.RangeRequest{Key: key, Revision: 99}),
			direct(service.DirectRange, &pb.RangeRequest{Key: []byte("none"), Serializable: true}),
			direct(service.DirectRange, &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte("l"), Limit: 10, KeysOnly: true}),
			direct(service.DirectRange, &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte{0}, CountOnly: true}),
			direct(service.DirectRange, &pb.RangeRequest{}),
			direct(service.DirectRange, &pb.RangeRequest{Key: []byte("large")}),
		},
		{
			direct(service.DirectTxn, &pb.TxnRequest{Success: []*pb.RequestOp{putOp("t", "1"), rangeOp("k", "")}}),
			direct(service.DirectTxn, &pb.TxnRequest{Success: []*pb.RequestOp{putOp("t", "2"), rangeOp("a", "z")}}),
			direct(service.DirectTxn, &pb.TxnRequest{Success: []*pb.RequestOp{rangeOp("k", "")}}),
			direct(service.DirectTxn, &pb.TxnRequest{Compare: make([]*pb.Compare, 200)}),
		},
		{
			direct(service.DirectDeleteRange, &pb.DeleteRangeRequest{Key: key, PrevKv: true}),
			direct(service.DirectDeleteRange, &pb.DeleteRangeRequest{Key: []byte("a"), RangeEnd: []byte("z"), PrevKv: true}),
			direct(service.DirectDeleteRange, &pb.DeleteRangeRequest{}),
		},
		{
			direct(service.DirectLeaseGrant, &pb.LeaseGrantRequest{ID: 5, TTL: 100}),
			direct(service.DirectLeaseGrant, &pb.LeaseGrantRequest{ID: 5, TTL: 100}),
			direct(service.DirectLeaseGrant, &pb.LeaseGrantRequest{ID: 6, TTL: 1 << 40}),
			direct(service.DirectLeaseGrant, &pb.LeaseGrantRequest{ID: 7}),
		},
		{
			{kind: service.DirectRange, raw: []byte{10, 255}, ended: make(chan struct{})},
			{kind: service.DirectPut, raw: []byte{10, 255}, ended: make(chan struct{})},
			{kind: service.DirectDeleteRange, raw: []byte{10, 255}, ended: make(chan struct{})},
			{kind: service.DirectTxn, raw: []byte{10, 255}, ended: make(chan struct{})},
			{kind: service.DirectLeaseGrant, raw: []byte{8}, ended: make(chan struct{})},
		},
	} {
		serve(one, group...)
		left := 0
		for j, c := range group {
			if c.left {
				left++
				c.reply, c.err = ordinary(one, c.kind)(t.Context(), c.raw)
			}
			reply, err := ordinary(other, c.kind)(t.Context(), c.raw)
			if string(reply) != string(c.reply) || fmt.Sprint(err) != fmt.Sprint(c.err) {
				t.Errorf("group %d, call %d: %q, %v, want %q, %v", i, j, c.reply, c.err, reply, err)
			}
		}
		if want := []int{0, 1, 2, 1, 0, 0}[i]; left != want { // the large one, a list in a transaction, one that only reads, a list of what was
			t.Errorf("group %d: %d calls are left to the ordinary way, want %d", i, left, want)
		}
	}
}

// TestDirectGrantChoosesALease: a lease for which the client names no id gets one that no lease has.
func TestDirectGrantChoosesALease(t *testing.T) {
	m := start(t)
	var calls []*directCall
	for range 3 {
		calls = append(calls, direct(service.DirectLeaseGrant, &pb.LeaseGrantRequest{TTL: 100}))
	}
	serve(m, calls...)
	seen := map[int64]bool{}
	for _, c := range calls {
		var r pb.LeaseGrantResponse
		if err := proto.Unmarshal(c.reply, &r); err != nil || c.err != nil || r.ID <= 0 || r.TTL != 100 || seen[r.ID] {
			t.Fatalf("granted %v, %v, %v", &r, c.err, err)
		}
		seen[r.ID] = true
		if got := timeToLive(t, m, r.ID); got.GrantedTTL != 100 {
			t.Errorf("lease %x: %v", r.ID, got)
		}
	}
}

// TestDirectOfUsers: calls of users are served directly as far as it is sure who they are and that they may. The others get what the ordinary
// calls say, and what may not be written is refused when it is applied.
func TestDirectOfUsers(t *testing.T) {
	m := start(t)
	root := guard(t, m)
	addUser(t, m, root, "ada", "a", "c")
	addUser(t, m, root, "gone", "a", "c")
	ada, gone := logIn(t, m, "ada"), logIn(t, m, "gone")
	auth(t, m, root, request.FieldAuthUserDelete, &request.AuthUserDelete{Name: "gone"})
	read := func(key, end string) *directCall {
		return direct(service.DirectRange, &pb.RangeRequest{Key: []byte(key), RangeEnd: []byte(end)})
	}
	write := func(key string) *directCall { return direct(service.DirectPut, &pb.PutRequest{Key: []byte(key)}) }
	txn := func(key string) *directCall {
		return direct(service.DirectTxn, &pb.TxnRequest{Failure: []*pb.RequestOp{putOp(key, "")}, Success: []*pb.RequestOp{putOp("a", "")}})
	}
	remove := func(key, end string) *directCall {
		return direct(service.DirectDeleteRange, &pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end)})
	}
	grant := func() *directCall { return direct(service.DirectLeaseGrant, &pb.LeaseGrantRequest{TTL: 100}) }
	for i, c := range []struct {
		call  *directCall
		token string
		left  bool
		want  error
	}{
		{write("a"), ada, false, nil},
		{read("a", ""), ada, false, nil},
		{read("a", "c"), ada, false, nil},
		{txn("b"), ada, false, nil},
		{remove("a", "b"), ada, false, nil},
		{grant(), ada, false, nil},
		{write("c"), ada, false, kverr.PermissionDenied},
		{txn("c"), ada, false, kverr.PermissionDenied},
		{remove("b", "d"), ada, false, kverr.PermissionDenied},
		{read("c", ""), ada, true, kverr.PermissionDenied},
		{read("b", "d"), ada, true, kverr.PermissionDenied},
		{read("a", ""), "", true, kverr.UserEmpty},
		{write("a"), "", true, kverr.UserEmpty},
		{grant(), "", true, kverr.UserEmpty},
		{read("a", ""), "nonsense", true, kverr.InvalidAuthToken},
		{write("a"), "nonsense", true, kverr.InvalidAuthToken},
		{read("a", ""), gone, true, kverr.InvalidAuthToken},
		{write("a"), gone, true, kverr.InvalidAuthToken},
	} {
		c.call.token = c.token
		ally := write("b") // a call of somebody who may, before and after
		ally.token = ada
		last := write("b")
		last.token = ada
		serve(m, ally, c.call, last)
		if ally.err != nil || ally.left || last.err != nil || last.left {
			t.Errorf("%d: those beside it got %v and %v", i, ally.err, last.err)
		}
		if c.call.left != c.left {
			t.Errorf("%d: left %v, want %v", i, c.call.left, c.left)
		}
		err := c.call.err
		if c.call.left {
			_, err = ordinary(m, c.call.kind)(as(t, c.token), c.call.raw)
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%d: %v, want %v", i, err, c.want)
		}
	}
}

// TestDirectOfSignedTokens: what is remembered of a token that was verified makes no difference: it does not outlive the token, the key, the
// revision it names, or the users that it was made for.
func TestDirectOfSignedTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		change, key := signedBy(t)
		m := start(t, change)
		root := guard(t, m)
		addUser(t, m, root, "ada", "a", "b")
		ada := ""
		// expect makes the calls of a token twice: the second time it may be remembered.
		expect := func(what string, want error) {
			t.Helper()
			for range 2 {
				for _, c := range []*directCall{
					direct(service.DirectPut, &pb.PutRequest{Key: []byte("a")}), direct(service.DirectRange, &pb.RangeRequest{Key: []byte("a")}),
				} {
					c.token = ada
					serve(m, c)
					if c.left {
						_, c.err = ordinary(m, c.kind)(as(t, ada), c.raw)
					} else if want != nil && c.kind == service.DirectRange {
						t.Errorf("%s: read directly", what)
					}
					wantError(t, what, c.err, want)
				}
			}
		}
		renew := func() {
			t.Helper()
			ada = logIn(t, m, "ada")
			expect("a new token", nil)
		}
		renew()
		forbid(t, m, root, "ada", "a", "b")
		expect("another permission", kverr.AuthOldRevision)
		ada = logIn(t, m, "ada")
		expect("no permission", kverr.PermissionDenied)
		permit(t, m, root, "ada", "a", "b")
		renew()
		auth(t, m, root, request.FieldAuthUserChangePassword, &request.AuthUserChangePassword{Name: "ada", Password: everybodysPassword})
		expect("another password", kverr.AuthOldRevision)
		renew()
		auth(t, m, root, request.FieldAuthUserRevokeRole, &request.AuthUserRevokeRole{Name: "ada", Role: "ada"})
		expect("another role", kverr.AuthOldRevision)
		auth(t, m, root, request.FieldAuthUserGrantRole, &request.AuthUserGrantRole{User: "ada", Role: "ada"})
		renew()
		auth(t, m, root, request.FieldAuthDisable, &request.AuthDisable{})
		expect("while authentication is off", nil)
		auth(t, m, root, request.FieldAuthEnable, &request.AuthEnable{})
		expect("a token from before authentication was off", kverr.AuthOldRevision)
		renew()
		after(signedTTL)
		expect("a token that is over", kverr.InvalidAuthToken)
		renew()
		check(t, os.WriteFile(key, []byte("another key of sixteen or more bytes"), 0o600))
		after(time.Second)
		expect("a token by another key", kverr.InvalidAuthToken)
		renew()
		root = as(t, logIn(t, m, "root"))
		auth(t, m, root, request.FieldAuthUserDelete, &request.AuthUserDelete{Name: "ada"})
		expect("a user who is gone", kverr.AuthOldRevision)
	})
}

// TestDirectLeavesWhatIsUnusual: with permissions in force and no token, without space, and beyond the largest request nothing is decided here.
func TestDirectLeavesWhatIsUnusual(t *testing.T) {
	put := func() *directCall {
		return direct(service.DirectPut, &pb.PutRequest{Key: []byte("k"), Value: []byte("v")})
	}
	remove := func() *directCall { return direct(service.DirectDeleteRange, &pb.DeleteRangeRequest{Key: []byte("k")}) }
	read := func() *directCall { return direct(service.DirectRange, &pb.RangeRequest{Key: []byte("k")}) }

	m := start(t, func(o *servicetest.Options) { o.Service.QuotaBytes = 1 })
	p, d, r := put(), remove(), read()
	serve(m, p, d, r)
	if !p.left || d.left || d.err != nil || r.left || r.err != nil {
		t.Errorf("over the quota: put left %v; delete left %v, %v; get left %v, %v", p.left, d.left, d.err, r.left, r.err)
	}

	m = start(t, func(o *servicetest.Options) { o.Service.MaxRequestBytes = 20 })
	p = direct(service.DirectPut, &pb.PutRequest{Key: []byte("k"), Value: make([]byte, 20)})
	serve(m, p)
	wantError(t, "too large a put", p.err, kverr.RequestTooLarge)

	m = start(t)
	guard(t, m)
	p, r = put(), read()
	serve(m, p, r)
	if !p.left || !r.left {
		t.Errorf("with permissions in force: put left %v, get left %v", p.left, r.left)
	}
}

// TestDirectEnds: a call that cannot be served ends with its time, or when its client gives it up, or with the member.
func TestDirectEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := servicetest.Start(t, servicetest.NewDisks(t, 2)) // never has a leader
		puts := []*directCall{
			direct(service.DirectPut, &pb.PutRequest{Key: []byte("a")}), direct(service.DirectPut, &pb.PutRequest{Key: []byte("b")}),
		}
		read := direct(service.DirectRange, &pb.RangeRequest{Key: []byte("a")})
		old := direct(service.DirectRange, &pb.RangeRequest{Key: []byte("a"), Serializable: true})
		began := time.Now()
		m.ServeDirect([]service.Direct{puts[0], read, puts[1], old})
		<-old.ended
		puts[0].cancel.Cancelled(context.Canceled)
		<-puts[0].ended
		wantError(t, "put of a client that has gone", puts[0].err, context.Canceled)
		<-read.ended
		wantError(t, "read without a leader", read.err, kverr.Timeout)
		<-puts[1].ended
		wantError(t, "put without a leader", puts[1].err, context.DeadlineExceeded)
		if took := time.Since(began); old.err != nil || took < 7*time.Second || took > 8*time.Second {
			t.Errorf("it took %v", took)
		}
		if step := puts[1].spent.Close(0, 0); step != steps.Queue {
			t.Errorf("a put without a leader has waited in %v", step)
		}
		last := []*directCall{direct(service.DirectPut, &pb.PutRequest{Key: []byte("a")}), direct(service.DirectRange, &pb.RangeRequest{Key: []byte("a")})}
		m.ServeDirect([]service.Direct{last[0], last[1]})
		m.Stop(t)
		for _, c := range last {
			<-c.ended
			wantError(t, "call of a member that stops", c.err, kverr.Stopped)
		}
		after := direct(service.DirectRange, &pb.RangeRequest{Key: []byte("a"), Serializable: true})
		serve(m, after)
		wantError(t, "call of a member that has stopped", after.err, kverr.Stopped)
	})
}

// TestDirectReadsAreLinearizable reads on every member of a cluster what was just written.
func TestDirectReadsAreLinearizable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := servicetest.NewCluster(t, 3)
		c.Leader()
		for i := range 20 {
			value := fmt.Sprint(i)
			p := direct(service.DirectPut, &pb.PutRequest{Key: []byte("k"), Value: []byte(value)})
			serve(c.Member(uint64(i%3+1)), p)
			check(t, p.err)
			r := direct(service.DirectRange, &pb.RangeRequest{Key: []byte("k")})
			again := direct(service.DirectRange, &pb.RangeRequest{Key: []byte("k")})
			serve(c.Member(uint64((i+1)%3+1)), r, again)
			check(t, errors.Join(r.err, again.err))
			var out pb.RangeResponse
			check(t, proto.Unmarshal(again.reply, &out))
			if len(out.Kvs) != 1 || string(out.Kvs[0].Value) != value || string(r.reply) != string(again.reply) {
				t.Errorf("read %v, want %s", out.Kvs, value)
			}
		}
	})
}

// counted is a direct call of a benchmark. Its group is told when it ends.
type counted struct {
	kind  service.DirectKind
	raw   []byte
	token string
	sum   *sync.WaitGroup
}

func (c *counted) Kind() service.DirectKind           { return c.kind }
func (c *counted) Request() []byte                    { return c.raw }
func (c *counted) Token() string                      { return c.token }
func (c *counted) OnCancel(service.Cancelled)         {}
func (c *counted) Answer([]byte, service.Accounts)    { c.sum.Done() }
func (c *counted) Fail(err error, _ service.Accounts) { panic(err) }
func (c *counted) Leave()                             { panic("left") }

// batchCalls is how many calls of a benchmark come together.
const batchCalls = 64

// batch makes a batch of calls of one kind, to be served again and again.
func batch(kind service.DirectKind, in request.Request) (calls []service.Direct, sum *sync.WaitGroup) {
	sum = new(sync.WaitGroup)
	for range batchCalls {
		calls = append(calls, &counted{kind: kind, raw: in.Append(nil), sum: sum})
	}
	return calls, sum
}

// hotCalls are the calls that clients make most.
func hotCalls() map[string]func() ([]service.Direct, *sync.WaitGroup) {
	key, value := []byte("key"), make([]byte, 100)
	txn := &request.Txn{
		Compare: []request.Compare{{Key: key, Target: request.TargetVersion, Result: request.CompareGreater}},
		Success: []request.Op{{Put: &request.Put{Key: key, Value: value}}}, Failure: []request.Op{{Range: &request.Range{Key: key}}},
	}
	return map[string]func() ([]service.Direct, *sync.WaitGroup){
		"put": func() ([]service.Direct, *sync.WaitGroup) {
			return batch(service.DirectPut, &request.Put{Key: key, Value: value})
		},
		"get": func() ([]service.Direct, *sync.WaitGroup) {
			return batch(service.DirectRange, &request.Range{Key: key})
		},
		"txn": func() ([]service.Direct, *sync.WaitGroup) { return batch(service.DirectTxn, txn) },
	}
}

// showing has all calls show a token.
func showing(calls []service.Direct, text string) {
	for _, c := range calls {
		c.(*counted).token = text
	}
}

// benchmarkBatch measures calls of nobody, and of users with both kinds of tokens.
func benchmarkBatch(b *testing.B, what string) {
	for _, one := range []struct {
		name   string
		guard  bool
		change func(*servicetest.Options)
	}{{"off", false, func(*servicetest.Options) {}}, {"simple", true, func(*servicetest.Options) {}}, {"signed", true, signed(b)}} {
		m := start(b, one.change)
		put(b, m, "key", "value")
		calls, sum := hotCalls()[what]()
		if one.guard {
			addUser(b, m, guard(b, m), "ada", "a", "z")
			showing(calls, logIn(b, m, "ada"))
		}
		b.Run(one.name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%batchCalls == 0 {
					sum.Add(len(calls))
					m.ServeDirect(calls)
					sum.Wait()
				}
			}
		})
		m.Stop(b)
	}
}

// BenchmarkPutBatch measures one of 64 puts that come together, down to disks in memory.
func BenchmarkPutBatch(b *testing.B) { benchmarkBatch(b, "put") }

// BenchmarkGetBatch measures one of 64 gets that come together.
func BenchmarkGetBatch(b *testing.B) { benchmarkBatch(b, "get") }

// BenchmarkTxnBatch measures one of 64 transactions that come together.
func BenchmarkTxnBatch(b *testing.B) { benchmarkBatch(b, "txn") }

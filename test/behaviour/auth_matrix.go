package behaviour

import (
	"context"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// need is a right that a call asks for: to read or to write a range of
// logical names.
type need struct {
	write    bool
	key, end string
}

// level is who may make a call, apart from the ranges it names.
type level int

const (
	forUsers  level = iota // whoever has all the rights that are needed
	forAdmins              // users with the role root
	forAll                 // even without a user, unless the token is bad
	forAny                 // even with a bad token
)

// demand is one call and the rule by which it is refused or not. A call for
// administrators may fail for reasons of its own when it is not refused.
type demand struct {
	name  string
	level level
	needs []need
	lease bool // the rights are those to the keys of a lease, on which nothing is done but with it
	call  func(w *world, as context.Context) error
}

// actor is somebody who calls. What it may do it is told by its permissions.
type actor struct {
	name        string
	token       string // shown instead of one from a login; "none" for no token
	root        bool
	permissions []permission
}

func actors() []actor {
	const read, write, both = authpb.READ, authpb.WRITE, authpb.READWRITE
	return []actor{
		{name: "nobody", token: "none"},
		{name: "a bad token", token: "aaaaaaaaaaaaaaaa.1"},
		{name: "a token without form", token: "nonsense"},
		{name: "roleless"},
		{name: "reader", permissions: []permission{{read, "a", "m"}}},
		{name: "writer", permissions: []permission{{write, "a", "m"}}},
		{name: "owner", permissions: []permission{{both, "a", "m"}}},
		{name: "neighbour", permissions: []permission{{both, "a", "c"}, {both, "c", "m"}}},
		{name: "gapped", permissions: []permission{{both, "a", "c"}, {both, "d", "m"}}},
		{name: "single", permissions: []permission{{both, "b", ""}}},
		{name: "mixed", permissions: []permission{{read, "a", "d"}, {write, "c", "m"}}},
		{name: "open", permissions: []permission{{both, "b", fromKey}}},
		{name: "admin", root: true},
	}
}

// may reports whether one of the actor's permissions, or several that leave no
// gap between them, cover what is needed.
func (a actor) may(n need) bool {
	from := n.key
	for moved := true; moved; {
		moved = false
		for _, p := range a.permissions {
			if p.kind != authpb.READWRITE && (p.kind == authpb.WRITE) != n.write {
				continue
			}
			end := p.end
			if end == "" {
				end = p.key + "\x00"
			}
			if p.key > from || end != fromKey && end <= from {
				continue
			}
			if n.end == "" || end == fromKey || n.end != fromKey && n.end <= end {
				return true
			}
			from, moved = end, true
		}
	}
	return false
}

// wanted is how a demand of the actor ends: the refusal, or nothing.
func (a actor) wanted(d demand) refusal {
	bad := a.token != "" && a.token != "none"
	switch {
	case d.level == forAny, d.level == forAll && !bad, a.root:
		return refusal{}
	case bad:
		return badToken()
	case a.token == "none":
		return userEmpty()
	case d.level == forAdmins:
		return denied()
	}
	for _, n := range d.needs {
		if !a.may(n) {
			return denied()
		}
	}
	return refusal{}
}

// authMatrixCases calls everything as everybody.
func authMatrixCases() []testCase {
	var cases []testCase
	for _, a := range actors() {
		cases = append(cases, testCase{name: "matrix: " + a.name, run: guarded(func(w *world) {
			w.populate()
			as := w.enter(a)
			for _, d := range demands(w) {
				w.judge(a, d, w.demand(as, d))
			}
		})})
	}
	return cases
}

// populate makes keys inside and outside of what the actors may see.
func (w *world) populate() {
	w.Helper()
	for _, key := range []string{"a", "b", "c", "i", "x"} {
		w.ok(w.put(w.root, key))
	}
}

// enter makes the actor and returns how it calls.
func (w *world) enter(a actor) context.Context {
	w.Helper()
	switch {
	case a.token == "none":
		return w.ctx
	case a.token != "":
		return withToken(w.ctx, a.token)
	}
	as := w.user(a.name, a.permissions...)
	if a.root {
		w.giveRole(a.name, "root")
	}
	return as
}

// demandTimeout bounds one demand. A member of etcd forgets a change of members that reaches its leader before the leader has carried out the one
// before it, and then waits for it in vain: that the change was let through is all that a case wants to know.
const demandTimeout = 5 * time.Second

func (w *world) demand(as context.Context, d demand) error {
	as, cancel := context.WithTimeout(as, demandTimeout)
	defer cancel()
	return d.call(w, as)
}

func (w *world) judge(a actor, d demand, err error) {
	w.Helper()
	got, want := refusalOf(err), a.wanted(d)
	if want == (refusal{}) && d.level == forAdmins && got != userEmpty() && got != denied() && got != badToken() && got != oldRevision() {
		return
	}
	w.check(d.name, err, want)
}

func demands(w *world) []demand {
	list := keyDemands()
	list = append(list, leaseDemands(w)...)
	list = append(list, memberDemands(w)...)
	list = append(list, userDemands(w.auth)...)
	return append(list, openDemands(w.auth)...)
}

// operation is what stands alone in a call of its own or in a transaction.
type operation struct {
	name  string
	needs []need
	make  func() *pb.RequestOp // with logical names
}

func reads(key, end string) need  { return need{false, key, end} }
func writes(key, end string) need { return need{true, key, end} }

func operations() []operation {
	gets := func(key, end string) operation {
		return operation{"range " + key + ".." + end, []need{reads(key, end)}, func() *pb.RequestOp { return g(key, end) }}
	}
	puts := func(name, key string, change func(*pb.PutRequest), more ...need) operation {
		return operation{name + " " + key, append(more, writes(key, "")), func() *pb.RequestOp {
			r := put(key, "1")
			change(r)
			return putOp(r)
		}}
	}
	dels := func(key, end string, previous bool) operation {
		o := operation{"delete " + key + ".." + end, []need{writes(key, end)}, func() *pb.RequestOp {
			r := del(key, end)
			r.PrevKv = previous
			return deleteOp(r)
		}}
		if previous {
			o.name, o.needs = "delete and show "+key+".."+end, append(o.needs, reads(key, end))
		}
		return o
	}
	plain := func(*pb.PutRequest) {}
	previous := func(r *pb.PutRequest) { r.PrevKv = true }
	return []operation{
		gets("b", ""), gets("a", "m"), gets("a", "n"), gets("b", "d"), gets("b", fromKey), gets("x", ""), gets("m", ""),
		puts("put", "b", plain), puts("put", "m", plain), puts("put", "x", plain),
		puts("put and show", "b", previous, reads("b", "")), puts("put and show", "k", previous, reads("k", "")),
		puts("put and show", "x", previous, reads("x", "")),
		puts("put without value", "i", func(r *pb.PutRequest) { r.Value, r.IgnoreValue = nil, true }),
		dels("e", "", false), dels("e", "m", false), dels("e", "n", false), dels("e", fromKey, false), dels("y", "", false),
		dels("e", "", true), dels("b", "c", true), dels("e", "m", true),
	}
}

// nestings are the places of an operation in a transaction.
func nestings() map[string]func(op *pb.RequestOp) *pb.TxnRequest {
	list := func(ops ...*pb.RequestOp) []*pb.RequestOp { return ops }
	return map[string]func(op *pb.RequestOp) *pb.TxnRequest{
		"taken branch":     func(op *pb.RequestOp) *pb.TxnRequest { return &pb.TxnRequest{Success: list(op)} },
		"branch not taken": func(op *pb.RequestOp) *pb.TxnRequest { return &pb.TxnRequest{Failure: list(op)} },
		"nested taken":     func(op *pb.RequestOp) *pb.TxnRequest { return &pb.TxnRequest{Success: list(t(op))} },
		"nested not taken": func(op *pb.RequestOp) *pb.TxnRequest {
			inner := &pb.TxnRequest{Failure: list(t(op))}
			return &pb.TxnRequest{Success: list(txnOp(&pb.TxnRequest{Failure: list(txnOp(inner))}))}
		},
	}
}

func keyDemands() []demand {
	var list []demand
	for _, o := range operations() {
		list = append(list, demand{name: o.name, needs: o.needs, call: func(w *world, as context.Context) error { return w.alone(as, o.make()) }})
		for place, nest := range nestings() {
			list = append(list, demand{name: o.name + ", " + place, needs: o.needs, call: func(w *world, as context.Context) error {
				_, err := w.kv.Txn(as, w.realTxn(nest(o.make())))
				return err
			}})
		}
	}
	for _, r := range []need{reads("b", ""), reads("a", "m"), reads("a", "n"), reads("b", "d"), reads("b", fromKey), reads("x", "")} {
		list = append(list, rangeDemands(r)...)
	}
	return list
}

// alone carries out an operation in a call of its own.
func (w *world) alone(as context.Context, op *pb.RequestOp) (err error) {
	switch r := op.Request.(type) {
	case *pb.RequestOp_RequestRange:
		_, err = w.kv.Range(as, w.realRange(r.RequestRange))
	case *pb.RequestOp_RequestPut:
		_, err = w.kv.Put(as, w.realPut(r.RequestPut))
	case *pb.RequestOp_RequestDeleteRange:
		_, err = w.kv.DeleteRange(as, w.realDelete(r.RequestDeleteRange))
	}
	return err
}

// rangeDemands are the other ways to learn of a range.
func rangeDemands(n need) []demand {
	compare := func() []*pb.Compare {
		return []*pb.Compare{{Target: pb.Compare_VERSION, Result: pb.Compare_GREATER, Key: []byte(n.key), RangeEnd: []byte(n.end), TargetUnion: &pb.Compare_Version{Version: 9999}}}
	}
	txn := func(r func() *pb.TxnRequest) func(w *world, as context.Context) error {
		return func(w *world, as context.Context) error {
			_, err := w.kv.Txn(as, w.realTxn(r()))
			return err
		}
	}
	where := n.key + ".." + n.end
	return []demand{
		{name: "watch " + where, needs: []need{n}, call: func(w *world, as context.Context) error { return w.watchAs(as, n.key, n.end) }},
		{name: "stream " + where, needs: []need{n}, call: func(w *world, as context.Context) error {
			return received(w.kv.RangeStream(as, w.realRange(get(n.key, n.end))))
		}},
		{name: "stale range " + where, needs: []need{n}, call: func(w *world, as context.Context) error {
			r := get(n.key, n.end)
			r.Serializable = true
			_, err := w.kv.Range(as, w.realRange(r))
			return err
		}},
		{name: "count " + where, needs: []need{n}, call: func(w *world, as context.Context) error {
			r := get(n.key, n.end)
			r.CountOnly = true
			_, err := w.kv.Range(as, w.realRange(r))
			return err
		}},
		{name: "compare " + where, needs: []need{n}, call: txn(func() *pb.TxnRequest { return &pb.TxnRequest{Compare: compare()} })},
		{name: "compare and put " + where, needs: []need{n, writes("b", "")}, call: txn(func() *pb.TxnRequest {
			return &pb.TxnRequest{Compare: compare(), Success: []*pb.RequestOp{p("b")}}
		})},
		{name: "nested compare " + where, needs: []need{n}, call: txn(func() *pb.TxnRequest {
			return &pb.TxnRequest{Failure: []*pb.RequestOp{txnOp(&pb.TxnRequest{Compare: compare()})}}
		})},
	}
}

// leaseDemands are about leases with keys inside and outside of what the
// actors may see. Root grants them anew for each.
func leaseDemands(w *world) []demand {
	var list []demand
	for _, keys := range [][]string{nil, {"b"}, {"b", "k"}, {"b", "x"}} {
		var mayRead, mayWrite []need
		name := " of a lease with"
		for _, key := range keys {
			mayRead, mayWrite, name = append(mayRead, reads(key, "")), append(mayWrite, writes(key, "")), name+" "+key
		}
		add := func(what string, needs []need, call func(w *world, as context.Context, id int64) error) {
			list = append(list, demand{name: what + name, needs: needs, lease: !strings.HasPrefix(what, "put"), call: func(w *world, as context.Context) error { return call(w, as, w.lend(keys...)) }})
		}
		add("revocation", mayWrite, func(w *world, as context.Context, id int64) error {
			_, err := w.lease.LeaseRevoke(as, &pb.LeaseRevokeRequest{ID: id})
			return err
		})
		add("keep-alive", mayWrite, (*world).keepAlive)
		add("time to live", nil, func(w *world, as context.Context, id int64) error { return w.lives(as, id, false) })
		add("time to live and keys", mayRead, func(w *world, as context.Context, id int64) error { return w.lives(as, id, true) })
		add("put on b", append(mayWrite, writes("b", "")), func(w *world, as context.Context, id int64) error {
			_, err := w.kv.Put(as, w.realPut(&pb.PutRequest{Key: []byte("b"), Lease: id}))
			return err
		})
		add("put on b in a transaction", append(mayWrite, writes("b", "")), func(w *world, as context.Context, id int64) error {
			op := putOp(&pb.PutRequest{Key: []byte("b"), Lease: id})
			_, err := w.kv.Txn(as, w.realTxn(&pb.TxnRequest{Failure: []*pb.RequestOp{t(op)}}))
			return err
		})
	}
	return append(list, demand{name: "grant", call: func(w *world, as context.Context) error {
		resp, err := w.lease.LeaseGrant(as, &pb.LeaseGrantRequest{TTL: 600})
		if err == nil {
			_, err = w.lease.LeaseRevoke(w.root, &pb.LeaseRevokeRequest{ID: resp.ID})
		}
		return err
	}}, demand{name: "leases, one with x", needs: []need{reads("x", "")}, lease: true, call: func(w *world, as context.Context) error {
		w.lend("x")
		_, err := w.lease.LeaseLeases(as, &pb.LeaseLeasesRequest{})
		return err
	}})
}

func (w *world) lives(as context.Context, id int64, keys bool) error {
	_, err := w.lease.LeaseTimeToLive(as, &pb.LeaseTimeToLiveRequest{ID: id, Keys: keys})
	return err
}

// unary is a demand that calls one method of a client.
func unary[C, Q, A any](name string, who level, client C, method func(C, context.Context, Q, ...grpc.CallOption) (A, error), in Q) demand {
	return demand{name: name, level: who, call: func(_ *world, as context.Context) error {
		_, err := method(client, as, in)
		return err
	}}
}

// memberDemands are about the cluster and its members. None of them changes
// anything when it is let through.
func memberDemands(w *world) []demand {
	const unknown = 0x1234567
	kv, cluster, maint := w.kv, w.cluster, w.maint
	alarm := func(action pb.AlarmRequest_AlarmAction) *pb.AlarmRequest { return &pb.AlarmRequest{Action: action} }
	return []demand{
		unary("compact", forAdmins, kv, pb.KVClient.Compact, &pb.CompactionRequest{Revision: 1 << 40}),
		{name: "member add", level: forAdmins, call: func(w *world, as context.Context) error {
			list, err := cluster.MemberList(w.root, &pb.MemberListRequest{})
			w.ok(err)
			_, err = cluster.MemberAdd(as, &pb.MemberAddRequest{PeerURLs: list.Members[0].PeerURLs})
			return err
		}},
		unary("member remove", forAdmins, cluster, pb.ClusterClient.MemberRemove, &pb.MemberRemoveRequest{ID: unknown}),
		unary("member update", forAdmins, cluster, pb.ClusterClient.MemberUpdate, &pb.MemberUpdateRequest{ID: unknown, PeerURLs: []string{"http://127.0.0.1:1"}}),
		unary("member promote", forAdmins, cluster, pb.ClusterClient.MemberPromote, &pb.MemberPromoteRequest{ID: unknown}),
		unary("member list", forUsers, cluster, pb.ClusterClient.MemberList, &pb.MemberListRequest{}),
		unary("linearizable member list", forUsers, cluster, pb.ClusterClient.MemberList, &pb.MemberListRequest{Linearizable: true}),
		unary("status", forUsers, maint, pb.MaintenanceClient.Status, &pb.StatusRequest{}),
		unary("alarm get", forUsers, maint, pb.MaintenanceClient.Alarm, alarm(pb.AlarmRequest_GET)),
		unary("alarm activate", forAdmins, maint, pb.MaintenanceClient.Alarm, alarm(pb.AlarmRequest_ACTIVATE)),
		unary("alarm deactivate", forAdmins, maint, pb.MaintenanceClient.Alarm, alarm(pb.AlarmRequest_DEACTIVATE)),
		unary("defragment", forAdmins, maint, pb.MaintenanceClient.Defragment, &pb.DefragmentRequest{}),
		unary("hash", forAdmins, maint, pb.MaintenanceClient.Hash, &pb.HashRequest{}),
		unary("hash of keys", forAdmins, maint, pb.MaintenanceClient.HashKV, &pb.HashKVRequest{}),
		unary("move leader", forAdmins, maint, pb.MaintenanceClient.MoveLeader, &pb.MoveLeaderRequest{TargetID: unknown}),
		unary("downgrade", forAdmins, maint, pb.MaintenanceClient.Downgrade, &pb.DowngradeRequest{Action: pb.DowngradeRequest_VALIDATE, Version: "9.9.9"}),
		{name: "snapshot", level: forAdmins, call: func(w *world, as context.Context) error {
			return received(w.maint.Snapshot(as, &pb.SnapshotRequest{}))
		}},
	}
}

// userDemands are about users and roles. None of them changes anything when it
// is let through.
func userDemands(auth pb.AuthClient) []demand {
	const unknown = "unknown"
	return []demand{
		unary("enable", forAdmins, auth, pb.AuthClient.AuthEnable, &pb.AuthEnableRequest{}),
		unary("user add", forAdmins, auth, pb.AuthClient.UserAdd, &pb.AuthUserAddRequest{Name: "root", Password: password}),
		unary("user delete", forAdmins, auth, pb.AuthClient.UserDelete, &pb.AuthUserDeleteRequest{Name: unknown}),
		unary("user get", forAdmins, auth, pb.AuthClient.UserGet, &pb.AuthUserGetRequest{Name: "root"}),
		unary("user get of nobody", forAdmins, auth, pb.AuthClient.UserGet, &pb.AuthUserGetRequest{Name: unknown}),
		unary("user list", forAdmins, auth, pb.AuthClient.UserList, &pb.AuthUserListRequest{}),
		unary("change password", forAdmins, auth, pb.AuthClient.UserChangePassword, &pb.AuthUserChangePasswordRequest{Name: unknown, Password: password}),
		unary("grant role", forAdmins, auth, pb.AuthClient.UserGrantRole, &pb.AuthUserGrantRoleRequest{User: unknown, Role: unknown}),
		unary("revoke role", forAdmins, auth, pb.AuthClient.UserRevokeRole, &pb.AuthUserRevokeRoleRequest{Name: unknown, Role: unknown}),
		unary("role add", forAdmins, auth, pb.AuthClient.RoleAdd, &pb.AuthRoleAddRequest{}),
		unary("role delete", forAdmins, auth, pb.AuthClient.RoleDelete, &pb.AuthRoleDeleteRequest{Role: unknown}),
		unary("role get", forAdmins, auth, pb.AuthClient.RoleGet, &pb.AuthRoleGetRequest{Role: unknown}),
		unary("role list", forAdmins, auth, pb.AuthClient.RoleList, &pb.AuthRoleListRequest{}),
		unary("grant permission", forAdmins, auth, pb.AuthClient.RoleGrantPermission, &pb.AuthRoleGrantPermissionRequest{Name: unknown}),
		unary("revoke permission", forAdmins, auth, pb.AuthClient.RoleRevokePermission, &pb.AuthRoleRevokePermissionRequest{Role: unknown}),
	}
}

// openDemands need no user.
func openDemands(auth pb.AuthClient) []demand {
	return []demand{
		unary("auth status", forAll, auth, pb.AuthClient.AuthStatus, &pb.AuthStatusRequest{}),
		unary("authenticate", forAny, auth, pb.AuthClient.Authenticate, &pb.AuthenticateRequest{Name: "root", Password: password}),
		{name: "health", level: forAny, call: func(w *world, as context.Context) error {
			_, err := w.health.Check(as, &healthpb.HealthCheckRequest{})
			return err
		}},
	}
}

package interop

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/quoin-kv/quoin/interop/process"
	"github.com/quoin-kv/quoin/interop/workload"
	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// rootPassword is that of the user root where users are switched on.
const rootPassword = "root's own"

// login returns a context of calls that root makes, or plain calls if users are switched off.
func login(ctx context.Context, conn *grpc.ClientConn, users bool) (context.Context, error) {
	if !users {
		return ctx, nil
	}
	resp, err := pb.NewAuthClient(conn).Authenticate(ctx, &pb.AuthenticateRequest{Name: "root", Password: rootPassword})
	if err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	return metadata.AppendToOutgoingContext(ctx, "token", resp.Token), nil
}

// facts is everything that a member can be asked for and that must survive a change of program, one line each.
type facts struct {
	ctx   context.Context
	conn  *grpc.ClientConn
	lines []string
}

// factsOf asks a voter.
func factsOf(ctx context.Context, s *process.Server, conn *grpc.ClientConn, users bool) ([]string, error) {
	ctx, err := login(ctx, conn, users)
	if err != nil {
		return nil, err
	}
	f := &facts{ctx: ctx, conn: conn}
	for _, ask := range []func() error{f.members, f.history, f.leases, f.alarms, f.users} {
		if err := ask(); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Program().Name, err)
		}
	}
	return f.lines, nil
}

func (f *facts) note(form string, args ...any) { f.lines = append(f.lines, fmt.Sprintf(form, args...)) }

// text is a message in a form that does not differ between builds, as prototext's does on purpose.
func text(m proto.Message) string {
	return strings.Join(strings.Fields(prototext.MarshalOptions{}.Format(m)), " ")
}

func (f *facts) members() error {
	resp, err := pb.NewClusterClient(f.conn).MemberList(f.ctx, &pb.MemberListRequest{Linearizable: true})
	if err != nil {
		return err
	}
	f.note("cluster %x, member %x", resp.Header.ClusterId, resp.Header.MemberId)
	slices.SortFunc(resp.Members, func(a, b *pb.Member) int { return strings.Compare(fmt.Sprint(a.ID), fmt.Sprint(b.ID)) })
	for _, m := range resp.Members {
		f.note("member %s", text(m))
	}
	return nil
}

// history reads every change that is not compacted, and hashes it in several places. The hash at the revision that was compacted is none of
// them: a server remembers what it was before the compaction, until it stops.
func (f *facts) history() error {
	now, err := pb.NewKVClient(f.conn).Range(f.ctx, &pb.RangeRequest{Key: []byte{0}, Serializable: true})
	if err != nil {
		return err
	}
	newest := now.Header.Revision
	compacted, err := f.compacted()
	if err != nil {
		return err
	}
	f.note("revision %d, compacted %d", newest, compacted)
	for n := range int64(6) {
		revision := compacted + (newest-compacted)*n/5
		if revision <= compacted {
			continue
		}
		h, err := pb.NewMaintenanceClient(f.conn).HashKV(f.ctx, &pb.HashKVRequest{Revision: revision})
		if err != nil {
			return err
		}
		f.note("hash at %d: %d, compacted %d", revision, h.Hash, h.CompactRevision)
	}
	for _, revision := range []int64{max(compacted, 1), 0} {
		all, err := pb.NewKVClient(f.conn).Range(f.ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Revision: revision})
		if err != nil {
			return err
		}
		for _, kv := range all.Kvs {
			f.note("at %d: %s", revision, text(kv))
		}
	}
	return f.events(compacted+1, newest)
}

// compacted is the revision up to which history is compacted, 0 if it is not. A watcher from the first revision is told.
func (f *facts) compacted() (int64, error) {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	stream, err := pb.NewWatchClient(f.conn).Watch(ctx)
	if err != nil {
		return 0, err
	}
	create := &pb.WatchCreateRequest{Key: []byte("no such key"), StartRevision: 1}
	if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}); err != nil {
		return 0, err
	}
	for range 2 { // that it is created, and that it is canceled or how far it got
		resp, err := stream.Recv()
		if err != nil || resp.CompactRevision > 0 {
			return resp.GetCompactRevision(), err
		}
		if resp.Canceled {
			return 0, fmt.Errorf("watcher: %s", resp.CancelReason)
		}
		progress := &pb.WatchProgressRequest{}
		if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: progress}}); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

func (f *facts) events(oldest, newest int64) error {
	if oldest > newest {
		return nil
	}
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	w, err := workload.Follow(ctx, pb.NewWatchClient(f.conn), &pb.WatchCreateRequest{
		Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: oldest, PrevKv: true,
	})
	if err != nil {
		return err
	}
	if err := w.Reach(ctx, newest); err != nil {
		return err
	}
	for _, line := range w.Take() {
		f.note("event: %s", strings.Join(strings.Fields(line), " "))
	}
	cancel()
	<-w.Done()
	return nil
}

func (f *facts) leases() error {
	leases := pb.NewLeaseClient(f.conn)
	all, err := leases.LeaseLeases(f.ctx, &pb.LeaseLeasesRequest{})
	if err != nil {
		return err
	}
	var found []string
	for _, l := range all.Leases {
		one, err := leases.LeaseTimeToLive(f.ctx, &pb.LeaseTimeToLiveRequest{ID: l.ID, Keys: true})
		if err != nil {
			return err
		}
		if one.TTL <= 0 || one.TTL > one.GrantedTTL {
			return fmt.Errorf("lease %d has %d of %d seconds left", l.ID, one.TTL, one.GrantedTTL)
		}
		var keys []string
		for _, k := range one.Keys {
			keys = append(keys, fmt.Sprintf("%q", k))
		}
		slices.Sort(keys)
		found = append(found, fmt.Sprintf("lease %d: granted %d, keys %v", l.ID, one.GrantedTTL, keys))
	}
	slices.Sort(found)
	f.lines = append(f.lines, found...)
	return nil
}

func (f *facts) alarms() error {
	resp, err := pb.NewMaintenanceClient(f.conn).Alarm(f.ctx, &pb.AlarmRequest{})
	if err != nil {
		return err
	}
	var found []string
	for _, a := range resp.Alarms {
		found = append(found, fmt.Sprintf("alarm %s of %x", a.Alarm, a.MemberID))
	}
	slices.Sort(found)
	f.lines = append(f.lines, found...)
	return nil
}

func (f *facts) users() error {
	auth := pb.NewAuthClient(f.conn)
	status, err := auth.AuthStatus(f.ctx, &pb.AuthStatusRequest{})
	if err != nil {
		return err
	}
	f.note("users switched on: %t, revision %d", status.Enabled, status.AuthRevision)
	users, err := auth.UserList(f.ctx, &pb.AuthUserListRequest{})
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(slices.Values(users.Users)) {
		u, err := auth.UserGet(f.ctx, &pb.AuthUserGetRequest{Name: name})
		if err != nil {
			return err
		}
		f.note("user %s: roles %q", name, u.Roles)
		if status.Enabled {
			_, err := auth.Authenticate(f.ctx, &pb.AuthenticateRequest{Name: name, Password: passwordOf(name)})
			f.note("user %s logs in: %v", name, err)
		}
	}
	return f.roles(auth)
}

func (f *facts) roles(auth pb.AuthClient) error {
	roles, err := auth.RoleList(f.ctx, &pb.AuthRoleListRequest{})
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(slices.Values(roles.Roles)) {
		if name == "root" { // may do everything; etcd 3.5 does not say so
			continue
		}
		r, err := auth.RoleGet(f.ctx, &pb.AuthRoleGetRequest{Role: name})
		if err != nil {
			return err
		}
		for _, p := range r.Perm {
			f.note("role %s: %s", name, text(p))
		}
	}
	return nil
}

// passwordOf is the password of a user that this package makes.
func passwordOf(name string) string {
	if name == "root" {
		return rootPassword
	}
	return name + "'s password"
}

// makeUsers makes root and some users and roles, unless that was done before, and switches users on.
func makeUsers(ctx context.Context, conn *grpc.ClientConn) error {
	auth := pb.NewAuthClient(conn)
	if _, err := auth.UserGet(ctx, &pb.AuthUserGetRequest{Name: "ann"}); err == nil {
		_, err := auth.AuthEnable(ctx, &pb.AuthEnableRequest{})
		return err
	}
	_, err := auth.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "root"})
	for i, name := range []string{"root", "ann", "ben"} {
		if err == nil {
			_, err = auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: name, Password: passwordOf(name)})
		}
		role := name
		if err == nil && i > 0 {
			role = "role of " + name
			err = makeRole(ctx, auth, role, i)
		}
		if err == nil {
			_, err = auth.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: name, Role: role})
		}
	}
	if err == nil {
		_, err = auth.AuthEnable(ctx, &pb.AuthEnableRequest{})
	}
	return err
}

func makeRole(ctx context.Context, auth pb.AuthClient, name string, kind int) error {
	_, err := auth.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: name})
	for _, span := range []string{"ab", "cd", "f\x00"} {
		if err == nil {
			_, err = auth.RoleGrantPermission(ctx, &pb.AuthRoleGrantPermissionRequest{Name: name, Perm: &authpb.Permission{
				PermType: authpb.Permission_Type(kind), Key: []byte(span[:1]), RangeEnd: []byte(span[1:]),
			}})
		}
	}
	return err
}

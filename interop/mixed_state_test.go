package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/interop/process"
)

// TestMixedState: whichever kind leads, members of both kinds agree on all that is not a key: users and logins, alarms, leases, versions and
// the way down to an older one; and they hash the same for each other.
func TestMixedState(t *testing.T) {
	t.Parallel()
	quoin, etcd := process.Quoin(), process.Etcd()
	m := newMixed(t, []process.Program{quoin, etcd, quoin}, "--feature-gates=LeaseCheckpoint=true,LeaseCheckpointPersist=true,CompactHashCheck=true",
		"--corrupt-check-time=300ms", "--compact-hash-check-time=300ms", "--downgrade-check-time=500ms")
	m.work(mixedOps, -1)
	for leader := range 2 {
		m.lead(leader)
		for _, part := range []struct {
			name string
			run  func()
		}{{"users", m.users}, {"alarms", m.alarms}, {"leases", m.leases}, {"hashes", m.peerHashes}, {"downgrades", m.downgrades}} {
			m.lead(leader)
			began := time.Now()
			part.run()
			t.Logf("%s leads: %s: %v", m.members[leader].Program().Name, part.name, time.Since(began).Round(time.Millisecond))
		}
		m.agree()
	}
	m.wantKnownRequests()
}

// same waits until all members give one answer to a question. Header and member ids are no part of it.
func (m *mixed) same(what string, ask func(ctx context.Context, i int) (string, error)) string {
	m.t.Helper()
	var answers []string
	defer func() {
		if m.t.Failed() {
			m.t.Logf("%s: %q", what, answers)
		}
	}()
	m.until("agree on "+what, func(ctx context.Context) bool {
		answers = nil
		for i := range m.conns {
			answer, err := ask(ctx, i)
			if err != nil {
				answer = "error: " + status.Convert(err).Message()
			}
			answers = append(answers, answer)
		}
		return len(slices.Compact(slices.Clone(answers))) == 1
	})
	return answers[0]
}

// users turns logins on and off. A login at one member is one at all of them, everybody refuses the same, and all count the same changes.
func (m *mixed) users() {
	ctx := m.t.Context()
	auth := func(i int) pb.AuthClient { return pb.NewAuthClient(m.conns[i]) }
	m.must(auth(0).RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "reader"}))
	m.must(auth(1).RoleGrantPermission(ctx, &pb.AuthRoleGrantPermissionRequest{Name: "reader", Perm: &authpb.Permission{PermType: authpb.READ, Key: []byte("a"), RangeEnd: []byte("b")}}))
	for i, user := range []string{"root", "rita"} {
		m.must(auth(i).UserAdd(ctx, &pb.AuthUserAddRequest{Name: user, Password: "secret " + user, Options: &authpb.UserAddOptions{}}))
	}
	m.must(auth(0).RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "root"}))
	m.must(auth(1).UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"}))
	m.must(auth(2).UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "rita", Role: "reader"}))
	m.must(auth(1).AuthEnable(ctx, &pb.AuthEnableRequest{}))
	root := m.withLogins()
	for i := range m.conns {
		i := (i + 1) % len(m.conns) // someone else's change
		m.must(auth(i).UserChangePassword(root, &pb.AuthUserChangePasswordRequest{Name: "rita", Password: fmt.Sprint("secret ", i)}))
	}
	m.same("the state of logins", func(_ context.Context, i int) (string, error) {
		r, err := auth(i).AuthStatus(root, &pb.AuthStatusRequest{})
		return fmt.Sprint(r.GetEnabled(), r.GetAuthRevision()), err
	})
	m.must(auth(1).UserDelete(root, &pb.AuthUserDeleteRequest{Name: "rita"}))
	m.must(auth(2).AuthDisable(root, &pb.AuthDisableRequest{}))
	m.must(auth(1).UserDelete(ctx, &pb.AuthUserDeleteRequest{Name: "root"}))
	for i, role := range []string{"root", "reader"} {
		m.must(auth(i).RoleDelete(ctx, &pb.AuthRoleDeleteRequest{Role: role}))
	}
}

// withLogins logs in at each member and uses the login at all others. It returns a context with a login of root.
func (m *mixed) withLogins() (root context.Context) {
	ctx := m.t.Context()
	for at := range m.conns {
		root = m.login(at, "root", "secret root")
		rita := m.login(at, "rita", "secret rita")
		if at > 0 { // the first time round is enough to see who changes what
			rita = m.login(at, "rita", "secret rita")
		}
		m.same("what a reader may read", func(_ context.Context, i int) (string, error) { return m.get(rita, i, "a1") })
		m.same("what a reader may not read", func(_ context.Context, i int) (string, error) { return m.get(rita, i, "c") })
		m.same("what a reader may not write", func(_ context.Context, i int) (string, error) { return m.put(rita, i, "a1") })
		m.same("what nobody may", func(_ context.Context, i int) (string, error) { return m.put(ctx, i, "a1") })
		m.same("a wrong token", func(_ context.Context, i int) (string, error) {
			return m.put(metadata.AppendToOutgoingContext(ctx, "token", "made.up"), i, "a1")
		})
		m.same("a wrong password", func(ctx context.Context, i int) (string, error) {
			_, err := pb.NewAuthClient(m.conns[i]).Authenticate(ctx, &pb.AuthenticateRequest{Name: "rita", Password: "wrong"})
			return "", err
		})
		m.same("what root may", func(_ context.Context, i int) (string, error) { return m.put(root, i, "a1") })
	}
	return root
}

func (m *mixed) login(i int, user, password string) context.Context {
	m.t.Helper()
	r, err := pb.NewAuthClient(m.conns[i]).Authenticate(m.t.Context(), &pb.AuthenticateRequest{Name: user, Password: password})
	check(m.t, err)
	return metadata.AppendToOutgoingContext(m.t.Context(), "token", r.Token)
}

func (m *mixed) get(ctx context.Context, i int, key string) (string, error) {
	r, err := pb.NewKVClient(m.conns[i]).Range(ctx, &pb.RangeRequest{Key: []byte(key)})
	return fmt.Sprint(r.GetKvs()), err
}

func (m *mixed) put(ctx context.Context, i int, key string) (string, error) {
	_, err := pb.NewKVClient(m.conns[i]).Put(ctx, &pb.PutRequest{Key: []byte(key)})
	return "", err
}

// must fails the test with an error; the answer is of no interest.
func (m *mixed) must(_ any, err error) {
	m.t.Helper()
	check(m.t, err)
}

// alarms raises and clears each alarm through members of each kind. All know of it, and refuse the same.
func (m *mixed) alarms() {
	ctx := m.t.Context()
	for i, kind := range []pb.AlarmType{pb.AlarmType_NOSPACE, pb.AlarmType_CORRUPT} {
		victim, err := pb.NewMaintenanceClient(m.conns[2-i]).Status(ctx, &pb.StatusRequest{})
		check(m.t, err)
		change := func(through int, action pb.AlarmRequest_AlarmAction) {
			m.must(pb.NewMaintenanceClient(m.conns[through]).Alarm(ctx, &pb.AlarmRequest{Action: action, MemberID: victim.Header.MemberId, Alarm: kind}))
		}
		change(i, pb.AlarmRequest_ACTIVATE)
		got := m.same("the alarms", m.listAlarms)
		if !strings.Contains(got, kind.String()) {
			m.t.Errorf("alarms are %s, want %s", got, kind)
		}
		m.same("what is refused with "+kind.String(), func(ctx context.Context, i int) (string, error) { return m.put(ctx, i, "a1") })
		change(1-i, pb.AlarmRequest_DEACTIVATE)
		if got := m.same("no alarms", m.listAlarms); got != "[]" {
			m.t.Errorf("alarms are %s, want none", got)
		}
	}
}

func (m *mixed) listAlarms(ctx context.Context, i int) (string, error) {
	r, err := pb.NewMaintenanceClient(m.conns[i]).Alarm(ctx, &pb.AlarmRequest{})
	return fmt.Sprint(r.GetAlarms()), err
}

// leaseBase is beyond the leases of the workload.
const leaseBase = int64(1) << 50

// leases grants, renews and revokes through every member. All know the same leases and keys, wherever they are asked.
func (m *mixed) leases() {
	ctx := m.t.Context()
	lease := func(i int) pb.LeaseClient { return pb.NewLeaseClient(m.conns[i]) }
	for i := range m.conns {
		id := leaseBase + int64(i)
		m.must(lease(i).LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: id, TTL: 600}))
		_, err := pb.NewKVClient(m.conns[(i+1)%3]).Put(ctx, &pb.PutRequest{Key: fmt.Append(nil, "leased", i), Lease: id})
		check(m.t, err)
		m.same("a lease", func(ctx context.Context, i int) (string, error) {
			r, err := lease(i).LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: true})
			return fmt.Sprintf("%d %d %v %q", r.GetID(), r.GetGrantedTTL(), r.GetTTL() > 590, r.GetKeys()), err
		})
		m.same("a renewal", func(ctx context.Context, i int) (string, error) {
			stream, err := lease(i).LeaseKeepAlive(ctx)
			if err != nil || stream.Send(&pb.LeaseKeepAliveRequest{ID: id}) != nil {
				return "no stream", err
			}
			r, err := stream.Recv()
			return fmt.Sprint(r.GetTTL()), err
		})
	}
	m.same("the leases", func(ctx context.Context, i int) (string, error) {
		r, err := lease(i).LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
		var ids []int64
		for _, l := range r.GetLeases() {
			ids = append(ids, l.ID)
		}
		slices.Sort(ids)
		return fmt.Sprint(ids), err
	})
	for i := range m.conns {
		m.must(lease((i+2)%3).LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: leaseBase + int64(i)}))
	}
	m.same("a lease that is gone", func(ctx context.Context, i int) (string, error) {
		r, err := lease(i).LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: leaseBase})
		return fmt.Sprint(r.GetTTL()), err
	})
}

// peerHashes asks each member what members ask each other: the same hashes, and the same words when there is none.
func (m *mixed) peerHashes() {
	m.compact()
	m.work(mixedOps, -1)
	m.agree()
	now, err := pb.NewKVClient(m.conns[0]).Range(m.t.Context(), &pb.RangeRequest{Key: []byte("x")})
	check(m.t, err)
	for _, revision := range []int64{0, now.Header.Revision, now.Header.Revision - 10, 1, now.Header.Revision + 1000} {
		m.same(fmt.Sprint("the hash at revision ", revision), func(ctx context.Context, i int) (string, error) {
			return m.peerHash(ctx, i, now.Header.ClusterId, revision)
		})
	}
	m.same("the hash for another cluster", func(ctx context.Context, i int) (string, error) { return m.peerHash(ctx, i, 1, 0) })
	if ids := m.corrupt(); len(ids) > 0 {
		m.t.Errorf("members %x are called corrupt", ids)
	}
}

func (m *mixed) peerHash(ctx context.Context, i int, cluster uint64, revision int64) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.members[i].Peer()+"/members/hashkv", strings.NewReader(fmt.Sprintf(`{"revision":%d}`, revision)))
	check(m.t, err)
	r.Header.Set("X-Etcd-Cluster-ID", fmt.Sprintf("%x", cluster))
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return fmt.Sprintf("%d %s", answer.StatusCode, strings.TrimSpace(string(body))), err
}

// downgrades begins the way down through one member, of which all know and mark their storage, and takes it back through another.
func (m *mixed) downgrades() {
	ctx := m.t.Context()
	m.wantVersions("3.7.0 3.7.0")
	for _, action := range []pb.DowngradeRequest_DowngradeAction{pb.DowngradeRequest_VALIDATE, pb.DowngradeRequest_ENABLE} {
		m.must(pb.NewMaintenanceClient(m.conns[1]).Downgrade(ctx, &pb.DowngradeRequest{Action: action, Version: "3.6"}))
	}
	m.wantDowngrade("enabled:true target_version:\"3.6.0\"")
	m.wantVersions("3.6.0 3.6.0")
	m.must(pb.NewMaintenanceClient(m.conns[2]).Downgrade(ctx, &pb.DowngradeRequest{Action: pb.DowngradeRequest_CANCEL}))
	m.wantDowngrade("")
	m.wantVersions("3.7.0 3.7.0")
}

func (m *mixed) wantDowngrade(want string) {
	m.t.Helper()
	m.until("know of a downgrade: "+want, func(ctx context.Context) bool {
		for _, conn := range m.conns {
			s, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
			got := ""
			if s.GetDowngradeInfo().GetEnabled() {
				got = fmt.Sprintf("enabled:true target_version:%q", s.DowngradeInfo.TargetVersion)
			}
			if err != nil || got != want {
				return false
			}
		}
		return true
	})
}

// wantVersions waits until all members know the version of the cluster and have marked their storage.
func (m *mixed) wantVersions(want string) {
	m.t.Helper()
	m.until("know the versions "+want, func(ctx context.Context) bool {
		for i, conn := range m.conns {
			s, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
			var page struct{ Etcdcluster string }
			body := askPage(m.t, m.members[i], http.MethodGet, "/version").body
			if err != nil || json.Unmarshal([]byte(body), &page) != nil || page.Etcdcluster+" "+s.GetStorageVersion() != want {
				return false
			}
		}
		return true
	})
}

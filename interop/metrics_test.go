package interop

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/interop/process"
	"github.com/quoin-kv/quoin/test/metrics"
)

// TestMetrics: what a member tells of itself has the names, types, labels and buckets that a real etcd's has, when nobody has used it yet and
// after the same use; and what clients do is counted alike.
func TestMetrics(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{nil, {"--metrics=extensive"}} {
		t.Run(fmt.Sprint(flags), func(t *testing.T) {
			cfg := process.Config{Builder: builder, Volatile: true, Flags: flags}
			cfg.Program = process.Etcd()
			etcd := process.Start(t, cfg)
			cfg.Program = process.Quoin()
			quoin := process.Start(t, cfg)
			sameMetrics(t, settled(t, etcd), settled(t, quoin))
			for _, s := range []*process.Server{etcd, quoin} {
				useMember(t, s)
			}
			theirs, ours := settled(t, etcd), settled(t, quoin)
			sameMetrics(t, theirs, ours)
			sameCounts(t, theirs, ours)
		})
	}
}

// settled reads the metrics once the member has told its cluster about itself.
func settled(t *testing.T, s *process.Server) metrics.Page {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		page := readMetrics(t, s)
		if _, ok := page.Value("etcd_server_apply_duration_seconds_count", "op", "ClusterVersionSet"); ok {
			return page
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

func readMetrics(t *testing.T, s *process.Server) metrics.Page {
	t.Helper()
	body, _ := fetch(t, s, "/metrics")
	page, err := metrics.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// fetch is the body of a page and its status.
func fetch(t *testing.T, s *process.Server, path string) (string, int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(s.URL() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), resp.StatusCode
}

// sameMetrics compares names, types, labels and buckets.
func sameMetrics(t *testing.T, theirs, ours metrics.Page) {
	t.Helper()
	for name, want := range theirs {
		got := ours[name]
		switch {
		case got == nil:
			t.Errorf("%s is missing", name)
		case got.Type != want.Type:
			t.Errorf("%s is a %s, etcd's a %s", name, got.Type, want.Type)
		case !slices.Equal(got.Labels(), want.Labels()):
			t.Errorf("%s has the labels %v, etcd's %v", name, got.Labels(), want.Labels())
		case !slices.Equal(got.Bounds(), want.Bounds()):
			t.Errorf("%s has the buckets %v, etcd's %v", name, got.Bounds(), want.Bounds())
		}
	}
	for name := range ours {
		if theirs[name] == nil && name[:min(6, len(name))] != "quoin_" {
			t.Errorf("%s is not etcd's", name)
		}
	}
}

// useMember does something of everything.
func useMember(t *testing.T, s *process.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn := s.Dial(t)
	defer conn.Close()
	useKeys(ctx, t, pb.NewKVClient(conn))
	useWatch(ctx, t, pb.NewWatchClient(conn))
	useLease(ctx, t, pb.NewLeaseClient(conn), pb.NewKVClient(conn))
	useMaintenance(ctx, t, pb.NewMaintenanceClient(conn))
	_, err := pb.NewClusterClient(conn).MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
	check(t, err)
	for _, path := range []string{"/health", "/livez", "/readyz", "/livez/serializable_read"} {
		fetch(t, s, path)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func useKeys(ctx context.Context, t *testing.T, kv pb.KVClient) {
	t.Helper()
	for _, key := range []string{"a", "b", "c", "d", "a"} {
		_, err := kv.Put(ctx, &pb.PutRequest{Key: []byte(key), Value: []byte("value")})
		check(t, err)
	}
	all := &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}
	_, err := kv.Range(ctx, all)
	check(t, err)
	_, err = kv.Range(ctx, &pb.RangeRequest{Key: []byte("nothing"), Serializable: true})
	check(t, err)
	_, err = kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte("b"), RangeEnd: []byte("d")})
	check(t, err)
	_, err = kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte("nothing")})
	check(t, err)
	useTxns(ctx, t, kv)
	_, err = kv.Put(ctx, &pb.PutRequest{Key: []byte("x"), Lease: 12345})
	if err == nil {
		t.Error("a put under no lease")
	}
	_, err = kv.Compact(ctx, &pb.CompactionRequest{Revision: 4, Physical: true})
	check(t, err)
	if _, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("a"), Revision: 2}); err == nil {
		t.Error("a compacted revision can be read")
	}
}

func useTxns(ctx context.Context, t *testing.T, kv pb.KVClient) {
	t.Helper()
	exists := &pb.Compare{Result: pb.Compare_GREATER, Target: pb.Compare_VERSION, Key: []byte("a"), TargetUnion: &pb.Compare_Version{}}
	put := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("t")}}}
	put2 := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("t2")}}}
	get := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("t")}}}
	del := &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte("t2")}}}
	for _, txn := range []*pb.TxnRequest{
		{Success: []*pb.RequestOp{put}},
		{Compare: []*pb.Compare{exists}, Success: []*pb.RequestOp{put, put2, get}},
		{Compare: []*pb.Compare{exists}, Success: []*pb.RequestOp{get, del}},
		{Compare: []*pb.Compare{exists}, Success: []*pb.RequestOp{get, get}},
		{Success: []*pb.RequestOp{get}},
	} {
		_, err := kv.Txn(ctx, txn)
		check(t, err)
	}
}

func useWatch(ctx context.Context, t *testing.T, w pb.WatchClient) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.Watch(ctx)
	check(t, err)
	for _, r := range []*pb.WatchRequest{
		{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("a"), StartRevision: 5}}},
		{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}},
	} {
		check(t, stream.Send(r))
	}
	events := 0
	for events == 0 {
		resp, err := stream.Recv()
		check(t, err)
		events += len(resp.Events)
	}
}

func useLease(ctx context.Context, t *testing.T, l pb.LeaseClient, kv pb.KVClient) {
	t.Helper()
	lease, err := l.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 100})
	check(t, err)
	for _, key := range []string{"l1", "l2"} {
		_, err = kv.Put(ctx, &pb.PutRequest{Key: []byte(key), Lease: lease.ID})
		check(t, err)
	}
	stream, err := l.LeaseKeepAlive(ctx)
	check(t, err)
	check(t, stream.Send(&pb.LeaseKeepAliveRequest{ID: lease.ID}))
	_, err = stream.Recv()
	check(t, err)
	check(t, stream.CloseSend())
	_, err = l.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: lease.ID})
	check(t, err)
	_, err = l.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: lease.ID})
	check(t, err)
}

func useMaintenance(ctx context.Context, t *testing.T, m pb.MaintenanceClient) {
	t.Helper()
	status, err := m.Status(ctx, &pb.StatusRequest{})
	check(t, err)
	_, err = m.Hash(ctx, &pb.HashRequest{})
	check(t, err)
	_, err = m.HashKV(ctx, &pb.HashKVRequest{})
	check(t, err)
	_, err = m.Defragment(ctx, &pb.DefragmentRequest{})
	check(t, err)
	snapshot, err := m.Snapshot(ctx, &pb.SnapshotRequest{})
	check(t, err)
	for err == nil {
		_, err = snapshot.Recv()
	}
	for _, action := range []pb.AlarmRequest_AlarmAction{pb.AlarmRequest_ACTIVATE, pb.AlarmRequest_DEACTIVATE} {
		_, err = m.Alarm(ctx, &pb.AlarmRequest{Action: action, MemberID: status.Header.MemberId, Alarm: pb.AlarmType_NOSPACE})
		check(t, err)
	}
}

// counted are series that must have the same values after the same use.
var counted = [][]string{
	{"etcd_mvcc_put_total"},
	{"etcd_mvcc_delete_total"},
	{"etcd_mvcc_txn_total"},
	{"etcd_debugging_mvcc_total_put_size_in_bytes"},
	{"etcd_debugging_mvcc_keys_total"},
	{"etcd_debugging_mvcc_current_revision"},
	{"etcd_debugging_mvcc_compact_revision"},
	{"etcd_debugging_mvcc_db_compaction_keys_total"},
	{"etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count"},
	{"etcd_debugging_lease_granted_total"},
	{"etcd_debugging_lease_revoked_total"},
	{"etcd_debugging_lease_renewed_total"},
	{"etcd_debugging_lease_ttl_total_sum"},
	{"etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds_count"},
	{"etcd_debugging_server_watch_send_loop_control_stream_duration_seconds_count"},
	{"etcd_debugging_server_alarms"},
	{"etcd_disk_backend_defrag_duration_seconds_count"},
	{"etcd_disk_backend_snapshot_duration_seconds_count"},
	{"etcd_mvcc_hash_duration_seconds_count"},
	{"etcd_mvcc_hash_rev_duration_seconds_count"},
	{"etcd_server_has_leader"},
	{"etcd_server_is_leader"},
	{"etcd_server_leader_changes_seen_total"},
	{"etcd_server_proposals_failed_total"},
	{"etcd_server_health_success"},
	{"etcd_server_healthcheck"},
	{"etcd_server_healthchecks_total"},
	{"etcd_server_quota_backend_bytes"},
	{"etcd_server_range_duration_seconds_count", "success", "true"},
	{"etcd_server_range_duration_seconds_count", "success", "false"},
	{"etcd_server_apply_duration_seconds_count"},
	{"etcd_server_request_duration_seconds_count"},
	{"etcd_server_client_requests_total"},
	{"grpc_server_started_total"},
	{"grpc_server_handled_total", "grpc_code", "OK"},
	{"grpc_server_handled_total", "grpc_code", "NotFound"},
	{"grpc_server_msg_received_total"},
}

func sameCounts(t *testing.T, theirs, ours metrics.Page) {
	t.Helper()
	// etcd also counts a read that its compaction does.
	theirs["etcd_mvcc_range_total"].Series[0].Value--
	for _, one := range append(counted, []string{"etcd_mvcc_range_total"}) {
		want, _ := theirs.Value(one[0], one[1:]...)
		got, _ := ours.Value(one[0], one[1:]...)
		if got == want {
			continue
		}
		t.Errorf("%v is %v, etcd's %v", one, got, want)
		for name, page := range map[string]metrics.Page{"etcd": theirs, "quoin": ours} {
			for _, f := range page {
				for _, s := range f.Series {
					if s.Name == one[0] && s.Value != 0 {
						t.Logf("%s: %v %v", name, s.Labels, s.Value)
					}
				}
			}
		}
	}
}

// TestMetricsOfClusters: what members tell of each other has etcd's names and labels, one of three being away.
func TestMetricsOfClusters(t *testing.T) {
	t.Parallel()
	cfg := process.Config{Builder: builder, Volatile: true}
	clusters := map[string][]*process.Server{}
	for _, p := range []process.Program{process.Etcd(), process.Quoin()} {
		members := process.StartCluster(t, cfg, p, p, p)
		settled(t, members[0])
		members[2].Kill()
		clusters[p.Name] = members[:2]
	}
	tick, late := time.NewTicker(time.Second), time.After(time.Minute)
	defer tick.Stop()
	for {
		theirs, ours := together(t, clusters["etcd"]), together(t, clusters["quoin"])
		if complete(theirs) && complete(ours) {
			maps.DeleteFunc(ours, func(name string, _ *metrics.Family) bool { return timely(name) && theirs[name] == nil })
			maps.DeleteFunc(theirs, func(name string, _ *metrics.Family) bool { return timely(name) && ours[name] == nil })
			sameMetrics(t, theirs, ours)
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("etcd lacks", missing(theirs), "quoin lacks", missing(ours))
		}
	}
}

// peerMetrics are those that a cluster shows of which a member is away.
var peerMetrics = []string{
	"etcd_network_active_peers", "etcd_network_known_peers", "etcd_network_disconnected_peers_total", "etcd_network_peer_sent_bytes_total",
	"etcd_network_peer_received_bytes_total", "etcd_network_peer_sent_failures_total",
}

// timely are metrics of which chance decides when the first value is there.
func timely(name string) bool {
	switch name {
	case "etcd_network_peer_round_trip_time_seconds", "etcd_network_peer_received_failures_total", "etcd_network_server_stream_failures_total":
		return true
	}
	return false
}

func missing(page metrics.Page) (names []string) {
	for _, name := range peerMetrics {
		if page[name] == nil {
			names = append(names, name)
		}
	}
	return names
}

func complete(page metrics.Page) bool { return len(missing(page)) == 0 }

// together is what the members of a cluster tell after a write through each.
func together(t *testing.T, members []*process.Server) metrics.Page {
	t.Helper()
	all := metrics.Page{}
	for _, s := range members {
		writeSomething(t, s)
		for name, f := range readMetrics(t, s) {
			if all[name] == nil {
				all[name] = &metrics.Family{Name: name, Type: f.Type}
			}
			all[name].Series = append(all[name].Series, f.Series...)
		}
	}
	return all
}

func writeSomething(t *testing.T, s *process.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn := s.Dial(t)
	defer conn.Close()
	_, err := pb.NewKVClient(conn).Put(ctx, &pb.PutRequest{Key: []byte("a")})
	if err != nil {
		t.Log(err) // the leader may just have gone
	}
}

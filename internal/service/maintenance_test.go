package service_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

func alarm(t testing.TB, m *servicetest.Member, r request.Alarm) *pb.AlarmResponse {
	t.Helper()
	raw, err := m.Alarm(t.Context(), r)
	check(t, err)
	out := new(pb.AlarmResponse)
	check(t, proto.Unmarshal(raw, out))
	return out
}

// TestQuota fills the database to its quota: the alarm goes up by itself, what grows the database is refused and the rest is not, and the
// alarm stays, as it was asked to, until an operator clears it.
func TestQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, func(o *servicetest.Options) { o.Service.QuotaBytes, o.Service.KeepNoSpaceAlarm = 100_000, true })
		value := string(make([]byte, 10_000))
		var err error
		puts := 0
		for ; err == nil && puts < 20; puts++ {
			_, err = call(t.Context(), m.Put, &pb.PutRequest{Key: []byte("k"), Value: []byte(value)}, new(pb.PutResponse))
		}
		wantError(t, "the put over the quota", err, kverr.NoSpace)
		if puts < 9 || puts > 10 {
			t.Errorf("put %d of 10 kB was refused under a quota of 100 kB", puts)
		}
		synctest.Wait()
		if got := m.ActiveAlarms(); !slices.Equal(got, []string{"NOSPACE"}) {
			t.Errorf("alarms are %v", got)
		}
		if got := m.Status().Errors; !slices.Equal(got, []string{"memberID:1 alarm:NOSPACE"}) {
			t.Errorf("errors are %v", got)
		}
		wantNoSpace(t, m)
		must(t, m.DeleteRange, &pb.DeleteRangeRequest{Key: []byte("k")}, new(pb.DeleteRangeResponse))
		last := get(t, m, "k").Header.Revision
		must(t, m.Compact, &pb.CompactionRequest{Revision: last, Physical: true}, new(pb.CompactionResponse))
		check(t, m.Defragment(t.Context()))
		if st := m.Status(); st.DBSize > 50_000 || st.DBSizeQuota != 100_000 {
			t.Errorf("after a rewrite: %+v", st)
		}
		wantNoSpace(t, m)
		one := request.Alarm{MemberID: servicetest.MemberID, Kind: request.AlarmNoSpace}
		one.Action = request.AlarmGet
		if got := alarm(t, m, request.Alarm{Action: request.AlarmGet}).Alarms; len(got) != 1 || got[0].MemberID != 1 || got[0].Alarm != pb.AlarmType_NOSPACE {
			t.Errorf("alarms are %v", got)
		}
		if got := alarm(t, m, request.Alarm{Action: request.AlarmGet, Kind: request.AlarmCorrupt}).Alarms; len(got) != 0 {
			t.Errorf("alarms of the other kind are %v", got)
		}
		one.Action = request.AlarmDeactivate
		if got := alarm(t, m, one).Alarms; len(got) != 1 {
			t.Errorf("cleared %v", got)
		}
		if got := m.ActiveAlarms(); len(got) != 0 {
			t.Errorf("alarms are %v", got)
		}
		put(t, m, "k", "1")
	})
}

func wantNoSpace(t *testing.T, m *servicetest.Member) {
	t.Helper()
	empty := new(pb.PutResponse)
	key := []byte("s")
	putOp := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key}}}
	_, err := call(t.Context(), m.Put, &pb.PutRequest{Key: key}, empty)
	wantError(t, "small put", err, kverr.NoSpace)
	_, err = call(t.Context(), m.Txn, &pb.TxnRequest{Failure: []*pb.RequestOp{putOp}}, empty)
	wantError(t, "txn with a put", err, kverr.NoSpace)
	_, err = call(t.Context(), m.LeaseGrant, &pb.LeaseGrantRequest{TTL: 5}, empty)
	wantError(t, "grant", err, kverr.NoSpace)
	_, err = call(t.Context(), m.DeleteRange, &pb.DeleteRangeRequest{Key: key}, empty)
	check(t, err)
	_, err = call(t.Context(), m.Range, &pb.RangeRequest{Key: key}, empty)
	check(t, err)
}

func TestCorruptAlarm(t *testing.T) {
	m := start(t)
	alarm(t, m, request.Alarm{Action: request.AlarmActivate, MemberID: 9, Kind: request.AlarmCorrupt})
	empty := new(pb.PutResponse)
	for _, fn := range []method{m.Put, m.DeleteRange} {
		_, err := call(t.Context(), fn, &pb.PutRequest{Key: []byte("k")}, empty)
		wantError(t, "write", err, kverr.Corrupt)
	}
	get(t, m, "k")
	if got := m.Status().Errors; !slices.Equal(got, []string{"memberID:9 alarm:CORRUPT"}) {
		t.Errorf("errors are %v", got)
	}
}

func TestAlarmsSurviveARestart(t *testing.T) {
	d := servicetest.NewDisks(t, 1)
	m := startOn(t, d)
	alarm(t, m, request.Alarm{Action: request.AlarmActivate, MemberID: 1, Kind: request.AlarmNoSpace})
	m.Stop(t)
	m = startOn(t, d)
	if got := m.ActiveAlarms(); !slices.Equal(got, []string{"NOSPACE"}) {
		t.Errorf("alarms after a restart are %v", got)
	}
	wantNoSpace(t, m)
}

// TestStatusDoesNotWaitForTheApplier asks while the machine stands still.
func TestStatusDoesNotWaitForTheApplier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t)
		after(time.Second / 2) // it has announced itself
		m.Node.Inspect(func(*machine.Machine) {
			st := m.Status()
			if st.Version != "3.7.1" || st.StorageVersion != "3.7.0" || st.Leader != servicetest.MemberID || st.IsLearner || st.RaftAppliedIndex != st.RaftIndex || len(st.Errors) != 0 {
				t.Errorf("status is %+v", st)
			}
			members, err := m.Members(t.Context(), false)
			if err != nil || len(members) != 1 || members[0].Name != servicetest.Name {
				t.Errorf("members are %+v, %v", members, err)
			}
			check(t, m.Probe(t.Context(), true))
			if m.IsLearner() || m.KeySpace().Revision != 1 {
				t.Errorf("key space is %+v", m.KeySpace())
			}
		})
	})
}

func TestStatusWithoutALeader(t *testing.T) {
	m := servicetest.Start(t, servicetest.NewDisks(t, 2))
	if st := m.Status(); st.Leader != 0 || !slices.Equal(st.Errors, []string{"etcdserver: no leader"}) {
		t.Errorf("status is %+v", st)
	}
	if m.HasLeader() || m.IsLeader() {
		t.Error("has a leader")
	}
	wantError(t, "moving the leader", m.MoveLeader(t.Context(), servicetest.MemberID), kverr.NotLeader)
}

// TestHashVector is a history of which the hash is known.
func TestHashVector(t *testing.T) {
	m := start(t)
	if h, err := m.HashKV(t.Context(), 0); err != nil || h.Hash != 1084519789 || h.CompactRev != -1 || h.Rev != 1 {
		t.Errorf("hash of nothing is %+v, %v", h, err)
	}
	put(t, m, "a", "1")
	put(t, m, "b", "3")
	put(t, m, "a", "2")
	grant(t, m, 77, 1000)
	must(t, m.Put, &pb.PutRequest{Key: []byte("c"), Value: []byte("0"), Lease: 77}, new(pb.PutResponse))
	txn := new(pb.TxnRequest)
	for _, kv := range []string{"at", "n1"} {
		op := &pb.PutRequest{Key: []byte(kv[:1]), Value: []byte(kv[1:])}
		txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: op}})
	}
	must(t, m.Txn, txn, new(pb.TxnResponse))
	must(t, m.Compact, &pb.CompactionRequest{Revision: 5, Physical: true}, new(pb.CompactionResponse))
	for _, c := range []struct {
		rev        int64
		hash       uint32
		compactRev int64
	}{{5, 2695724927, -1}, {0, 3214497834, 5}} {
		h, err := m.HashKV(t.Context(), c.rev)
		if err != nil || h.Hash != c.hash || h.CompactRev != c.compactRev {
			t.Errorf("hash at %d is %+v, %v, want %d", c.rev, h, err, c.hash)
		}
	}
	for rev, want := range map[int64]error{4: kverr.Compacted, 7: kverr.FutureRev} {
		_, err := m.HashKV(t.Context(), rev)
		wantError(t, fmt.Sprint("hash at ", rev), err, want)
	}
	if h, err := m.HashFile(t.Context()); err != nil || h == 0 {
		t.Errorf("hash of the file is %d, %v", h, err)
	}
}

func TestSnapshot(t *testing.T) {
	m := start(t)
	put(t, m, "k", "in the snapshot")
	var file bytes.Buffer
	var size int64
	check(t, m.Snapshot(t.Context(), func(n int64, _ string) io.Writer {
		size = n
		return &file
	}))
	if int64(file.Len()) != size || !bytes.Contains(file.Bytes(), []byte("in the snapshot")) {
		t.Errorf("%d bytes were written, %d announced", file.Len(), size)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // the flusher may take the request before the end of the context is seen
		if err := m.Snapshot(gone, func(int64, string) io.Writer { return io.Discard }); err != nil {
			wantError(t, "snapshot for nobody", err, context.Canceled)
		}
	}
}

func TestMoveLeader(t *testing.T) {
	m := start(t)
	check(t, m.MoveLeader(t.Context(), servicetest.MemberID))
	wantError(t, "to a stranger", m.MoveLeader(t.Context(), 5), kverr.BadLeaderTransferee)
}

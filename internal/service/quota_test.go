package service_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// small is a quota that a test fills quickly.
func small(o *servicetest.Options) { o.Service.QuotaBytes = 100_000 }

// fillUp puts until the quota is used up.
func fillUp(t *testing.T, m *servicetest.Member) {
	t.Helper()
	value := make([]byte, 5000)
	for range 100 {
		_, err := call(t.Context(), m.Put, &pb.PutRequest{Key: []byte("k"), Value: value}, new(pb.PutResponse))
		if errors.Is(err, kverr.NoSpace) {
			synctest.Wait()
			return
		}
		check(t, err)
	}
	t.Fatal("the quota is never used up")
}

// empty deletes and compacts everything.
func empty(t *testing.T, m *servicetest.Member) {
	t.Helper()
	must(t, m.DeleteRange, &pb.DeleteRangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}, new(pb.DeleteRangeResponse))
	must(t, m.Compact, &pb.CompactionRequest{Revision: m.KeySpace().Revision, Physical: true}, new(pb.CompactionResponse))
}

// TestAlarmClearsItself: once the space is back, writes are accepted without anybody's doing, and not before.
func TestAlarmClearsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, small)
		for range 2 {
			fillUp(t, m)
			after(time.Minute)
			wantNoSpace(t, m)
			empty(t, m)
			after(3 * time.Second)
			if len(m.ActiveAlarms()) != 1 {
				t.Fatal("the alarm was cleared at once")
			}
			after(5 * time.Second)
			if got := m.ActiveAlarms(); len(got) != 0 {
				t.Fatalf("alarms are %v although there is space", got)
			}
			put(t, m, "k", "1")
		}
	})
}

// TestAlarmIsKept: with the option, only an operator clears it.
func TestAlarmIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, small, func(o *servicetest.Options) { o.Service.KeepNoSpaceAlarm = true })
		fillUp(t, m)
		empty(t, m)
		after(time.Minute)
		wantNoSpace(t, m)
		alarm(t, m, request.Alarm{Action: request.AlarmDeactivate, MemberID: servicetest.MemberID, Kind: request.AlarmNoSpace})
		put(t, m, "k", "1")
	})
}

// TestOnlyTheOwnAlarmIsCleared: alarms of other members and of other kinds stay, and after a restart the own one is cleared, too.
func TestOnlyTheOwnAlarmIsCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := servicetest.NewDisks(t, 1)
		m := startOn(t, d)
		for _, a := range []request.AlarmMember{{MemberID: 1, Kind: request.AlarmNoSpace}, {MemberID: 9, Kind: request.AlarmNoSpace}, {MemberID: 1, Kind: request.AlarmCorrupt}} {
			alarm(t, m, request.Alarm{Action: request.AlarmActivate, MemberID: a.MemberID, Kind: a.Kind})
		}
		m.Stop(t)
		m = startOn(t, d)
		after(time.Minute)
		left := alarm(t, m, request.Alarm{Action: request.AlarmGet}).Alarms
		if len(left) != 2 || left[0].MemberID != 1 || left[0].Alarm != pb.AlarmType_CORRUPT || left[1].MemberID != 9 {
			t.Errorf("left are %v", left)
		}
	})
}

// TestQuotaOfOneMember: a member with a smaller quota than the others goes on applying what they accept, so that they stay equal, and raises
// its alarm for all of them.
func TestQuotaOfOneMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := servicetest.NewCluster(t, 3, func(o *servicetest.Options) {
			if o.Service.MemberID == 2 {
				small(o)
			}
		})
		m := c.Member(1)
		c.Leader()
		var err error
		puts := 0
		for ; err == nil && puts < 100; puts++ {
			_, err = call(t.Context(), m.Put, &pb.PutRequest{Key: []byte("k"), Value: make([]byte, 5000)}, new(pb.PutResponse))
		}
		wantError(t, "put", err, kverr.NoSpace)
		list := alarm(t, m, request.Alarm{Action: request.AlarmGet}).Alarms
		if len(list) != 1 || list[0].MemberID != 2 || list[0].Alarm != pb.AlarmType_NOSPACE {
			t.Errorf("alarms are %v", list)
		}
		after(time.Second)
		want, err := m.HashKV(t.Context(), 0)
		check(t, err)
		for id := uint64(2); id <= 3; id++ {
			if got, err := c.Member(id).HashKV(t.Context(), 0); err != nil || got != want {
				t.Errorf("member %d: %+v, %v, want %+v", id, got, err, want)
			}
		}
		empty(t, m)
		after(10 * time.Second)
		put(t, m, "k", "1")
	})
}

// TestNoQuota: a negative quota is none.
func TestNoQuota(t *testing.T) {
	m := start(t, func(o *servicetest.Options) { o.Service.QuotaBytes = -1 })
	put(t, m, "k", string(bytes.Repeat([]byte("v"), 1<<20)))
	if st := m.Status(); st.DBSizeQuota != -1 || len(st.Errors) != 0 {
		t.Errorf("status is %+v", st)
	}
}

package service

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Status is a member's state as it sees it.
type Status struct {
	Version, StorageVersion            string
	DBSize, DBSizeInUse, DBSizeQuota   int64 // bytes
	Leader                             uint64
	RaftIndex, RaftTerm                uint64
	RaftAppliedIndex                   uint64
	Errors                             []string
	IsLearner                          bool
	Downgrade                          membership.Downgrade
	Keys, Revision, CompactionRevision int64
}

// Status reports the state without asking anybody.
func (s *Service) Status() Status {
	st, sizes := s.member.Status(), s.backend.Sizes()
	out := Status{
		Version: s.cfg.Version, StorageVersion: s.storageVersion(),
		DBSize: sizes.FileBytes, DBSizeInUse: sizes.InUseBytes, DBSizeQuota: s.cfg.QuotaBytes,
		Leader: st.Lead, RaftIndex: st.Commit, RaftTerm: st.Term, RaftAppliedIndex: st.Applied,
		IsLearner: s.IsLearner(), Downgrade: s.cluster.Load().downgrade,
	}
	if st.Lead == 0 {
		out.Errors = append(out.Errors, kverr.NoLeader.Text)
	}
	if st.Short {
		out.Errors = append(out.Errors, fmt.Sprintf("memberID:%d disk space short", s.cfg.MemberID))
	}
	for _, a := range *s.alarms.Load() {
		out.Errors = append(out.Errors, fmt.Sprintf("memberID:%d alarm:%s", a.MemberID, alarmName(a.Kind)))
	}
	return out
}

// HasLeader reports whether this member knows a leader.
func (s *Service) HasLeader() bool { return s.member.Status().Lead != 0 }

// IsLeader reports whether this member thinks it leads.
func (s *Service) IsLeader() bool { return s.member.Status().Lead == s.cfg.MemberID }

func alarmName(kind int32) string {
	switch kind {
	case request.AlarmNoSpace:
		return "NOSPACE"
	case request.AlarmCorrupt:
		return "CORRUPT"
	}
	return "UNKNOWN"
}

// ActiveAlarms names the alarms that any member has raised.
func (s *Service) ActiveAlarms() []string {
	var names []string
	for _, a := range *s.alarms.Load() {
		names = append(names, alarmName(a.Kind))
	}
	return names
}

// Alarm lists, raises or clears alarms and returns the encoded response. Listing by kind 0 lists all.
func (s *Service) Alarm(ctx context.Context, r request.Alarm) (reply []byte, err error) {
	if r.Action == request.AlarmGet {
		return request.AppendAlarmResponse(nil, s.Header(), s.listAlarms(r.Kind)), nil
	}
	start := s.clock.Now()
	defer func() { s.observe("Alarm", start, err) }()
	return s.propose(ctx, request.FieldAlarm, r.Append(nil))
}

func (s *Service) listAlarms(kind int32) []machine.Alarm {
	var out []machine.Alarm
	for _, a := range *s.alarms.Load() {
		if kind == request.AlarmNone || a.Kind == kind {
			out = append(out, a)
		}
	}
	return out
}

// HashKV hashes the key space as of a revision, 0 for the current one.
func (s *Service) HashKV(_ context.Context, revision int64) (mvcc.Hash, error) {
	view, err := s.member.View()
	if err != nil {
		return mvcc.Hash{}, err
	}
	defer view.Release()
	defer s.measure(s.cfg.Metrics.HashedRevision)()
	return view.HashKV(revision)
}

// HashFile is the CRC-32C of the names, keys and values of all buckets of the database file, in name order, without what says how far the
// file is. It depends on how the file came to be; equal histories need not give equal hashes.
func (s *Service) HashFile(ctx context.Context) (uint32, error) {
	if err := s.flush(ctx); err != nil {
		return 0, err
	}
	defer s.measure(s.cfg.Metrics.HashedFile)()
	hash := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for _, bucket := range bucketsByName() {
		_, _ = io.WriteString(hash, bucket.Name()) // a hash takes everything
		err := s.backend.ForEach(bucket, func(key, value []byte) error {
			if bucket == schema.Meta && slices.Contains(unhashedMeta, string(key)) {
				return nil
			}
			_, _ = hash.Write(key)
			_, _ = hash.Write(value)
			return ctx.Err()
		})
		if err != nil {
			return 0, err
		}
	}
	return hash.Sum32(), nil
}

var unhashedMeta = []string{schema.MetaConsistentIndex, schema.MetaTerm, schema.MetaStorageVersion}

func bucketsByName() []schema.Bucket {
	var buckets []schema.Bucket
	for b := range schema.NumBuckets {
		buckets = append(buckets, b)
	}
	slices.SortFunc(buckets, func(a, b schema.Bucket) int { return strings.Compare(a.Name(), b.Name()) })
	return buckets
}

// Snapshot writes the database file, with everything applied so far, as of one moment. begin is told its size in bytes and the version of
// the storage, and returns where to write it.
func (s *Service) Snapshot(ctx context.Context, begin func(size int64, version string) io.Writer) error {
	if err := s.flush(ctx); err != nil {
		return err
	}
	version := s.cluster.Load().storage
	_, err := s.backend.WriteSnapshot(func(size int64, _ schema.Applied) (io.Writer, error) {
		return begin(size, version), nil
	})
	return err
}

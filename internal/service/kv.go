package service

import (
	"context"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
)

// Range answers a RangeRequest in one piece.
func (s *Service) Range(ctx context.Context, raw []byte) ([]byte, error) {
	a, err := s.AnswerRange(ctx, raw)
	return a.Whole(), err
}

// AnswerRange answers a RangeRequest. The caller closes what is large.
func (s *Service) AnswerRange(ctx context.Context, raw []byte) (a Answer, err error) {
	start := s.clock.Now()
	var r request.Range
	if err := r.Unmarshal(raw); err != nil {
		return a, err
	}
	if err := r.Validate(); err != nil {
		return a, err
	}
	defer func() { s.observe("Range", start, err) }()
	view, pass, err := s.readFor(ctx, !r.Serializable, &r)
	if err != nil {
		return a, err
	}
	a, err = s.answerRange(ctx, view, machine.Query(&r))
	if s.cfg.Metrics.Range != nil {
		s.cfg.Metrics.Range(s.since(start), err)
	}
	return pass.stamp(a, err)
}

// readFor is read for a request whose permission has to be looked at.
func (s *Service) readFor(ctx context.Context, linearizable bool, r request.Request) (*mvcc.View, pass, error) {
	view, err := s.read(ctx, linearizable)
	if err != nil {
		return nil, pass{}, err
	}
	p, err := s.admit(ctx, r)
	if err != nil {
		view.Release()
		return nil, pass{}, err
	}
	return view, p, nil
}

// read returns a view to read from, linearizable if so asked. The caller releases it.
func (s *Service) read(ctx context.Context, linearizable bool) (*mvcc.View, error) {
	if linearizable {
		if err := s.readIndex(ctx); err != nil {
			return nil, err
		}
	}
	return s.member.View()
}

func (s *Service) headerAt(revision int64) request.ResponseHeader {
	return request.ResponseHeader{ClusterID: s.cfg.ClusterID, MemberID: s.cfg.MemberID, Revision: revision, RaftTerm: s.member.Status().Term}
}

// since is the time that has passed.
func (s *Service) since(start time.Time) time.Duration { return s.clock.Now().Sub(start) }

// measure begins to measure something; what it returns ends it. hook may be nil.
func (s *Service) measure(hook func(took time.Duration)) (ends func()) {
	start := s.clock.Now()
	return func() {
		if hook != nil {
			hook(s.since(start))
		}
	}
}

// observe counts a request.
func (s *Service) observe(kind string, start time.Time, err error) {
	if s.cfg.Metrics.Request == nil {
		return
	}
	if kind != "Range" && kind != "ReadonlyTxn" && refusedWhenApplied(err) {
		err = nil
	}
	s.cfg.Metrics.Request(kind, s.since(start), err)
}

// refusedWhenApplied reports whether a proposal was decided, though not as its client wished. For measurements it has succeeded then.
func refusedWhenApplied(err error) bool {
	known, ok := kverr.From(err)
	if !ok {
		return false
	}
	switch known.Code {
	case kverr.CodeUnavailable, kverr.CodeCanceled, kverr.CodeDeadlineExceeded, kverr.CodeUnknown:
		return false
	}
	return known != kverr.TooManyRequests && known != kverr.RequestTooLarge
}

// Put answers a PutRequest.
func (s *Service) Put(ctx context.Context, raw []byte) (reply []byte, err error) {
	start := s.clock.Now()
	var r request.Put
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := s.checkQuota(ctx, r.QuotaCost()); err != nil {
		return nil, err
	}
	defer func() { s.observe("Put", start, err) }()
	return s.propose(ctx, request.FieldPut, raw)
}

// DeleteRange answers a DeleteRangeRequest in one piece.
func (s *Service) DeleteRange(ctx context.Context, raw []byte) ([]byte, error) {
	a, err := s.AnswerDeleteRange(ctx, raw)
	return a.Whole(), err
}

// AnswerDeleteRange answers a DeleteRangeRequest. The caller closes what is large.
func (s *Service) AnswerDeleteRange(ctx context.Context, raw []byte) (a Answer, err error) {
	start := s.clock.Now()
	var r request.DeleteRange
	if err := r.Unmarshal(raw); err != nil {
		return a, err
	}
	if err := r.Validate(); err != nil {
		return a, err
	}
	defer func() { s.observe("DeleteRange", start, err) }()
	var h hold
	if r.PrevKV && len(r.RangeEnd) > 0 {
		if h, err = s.admitWrite(ctx, &request.Txn{Success: []request.Op{{DeleteRange: &r}}}); err != nil {
			return a, err
		}
	}
	return s.proposeAnswer(ctx, request.FieldDeleteRange, raw, h)
}

// proposeAnswer is propose for what was charged for its answer.
func (s *Service) proposeAnswer(ctx context.Context, field request.Field, raw []byte, h hold) (Answer, error) {
	reply, err := s.propose(ctx, field, raw)
	if err != nil {
		h.release()
		return Answer{}, err
	}
	return encoded(reply, h), nil
}

// Txn answers a TxnRequest in one piece.
func (s *Service) Txn(ctx context.Context, raw []byte) ([]byte, error) {
	a, err := s.AnswerTxn(ctx, raw)
	return a.Whole(), err
}

// AnswerTxn answers a TxnRequest. One that only reads is not replicated. The caller closes what is large.
func (s *Service) AnswerTxn(ctx context.Context, raw []byte) (a Answer, err error) {
	start := s.clock.Now()
	var r request.Txn
	if err := r.Unmarshal(raw); err != nil {
		return a, err
	}
	if err := r.Validate(s.cfg.MaxTxnOps); err != nil {
		return a, err
	}
	if r.ReadOnly() {
		defer func() { s.observe("ReadonlyTxn", start, err) }()
		view, pass, err := s.readFor(ctx, !r.Serializable(), &r)
		if err != nil {
			return a, err
		}
		return pass.stamp(s.answerReadTxn(ctx, view, &r))
	}
	if r.HasPut() {
		if err := s.checkQuota(ctx, r.QuotaCost()); err != nil {
			return a, err
		}
	}
	defer func() { s.observe("Txn", start, err) }()
	h, err := s.admitWrite(ctx, &r)
	if err != nil {
		return a, err
	}
	return s.proposeAnswer(ctx, request.FieldTxn, raw, h)
}

// Compact answers a CompactionRequest. A physical one waits until this member has removed the data from its file.
func (s *Service) Compact(ctx context.Context, raw []byte) (reply []byte, err error) {
	start := s.clock.Now()
	var r request.Compaction
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	defer func() { s.observe("Compaction", start, err) }()
	reply, err = s.propose(ctx, request.FieldCompaction, raw)
	if err != nil || !r.Physical {
		return reply, err
	}
	if err := s.member.WaitCompacted(ctx); err != nil {
		return nil, err
	}
	return reply, s.flush(ctx)
}

// Probe does a one-key read, for health checks.
func (s *Service) Probe(ctx context.Context, linearizable bool) error {
	view, err := s.read(ctx, linearizable)
	if err != nil {
		return err
	}
	defer view.Release()
	_, err = view.Range(mvcc.Query{Key: []byte{0}, Limit: 1, KeysOnly: true})
	return err
}

// KeySpace is the size and the revisions of the published view.
type KeySpace struct {
	Keys                int
	Revision, Compacted int64
}

// KeySpace describes the published view; it is empty once the member has stopped.
func (s *Service) KeySpace() KeySpace {
	view, err := s.member.View()
	if err != nil {
		return KeySpace{}
	}
	defer view.Release()
	return KeySpace{Keys: view.Keys(), Revision: view.Rev(), Compacted: view.CompactRev()}
}

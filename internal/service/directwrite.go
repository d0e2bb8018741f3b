package service

import (
	"time"

	"github.com/quoin-kv/quoin/internal/auth"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/steps"
)

// directWrite is a direct call whose proposal is under way.
type directWrite struct {
	replica.Proposal
	svc   *Service
	call  Direct
	kind  DirectKind
	start time.Time
}

// write is what a method that writes is called in metrics, and the field of its request.
func (k DirectKind) write() (name string, field request.Field) {
	switch k {
	case DirectPut:
		return "Put", request.FieldPut
	case DirectDeleteRange:
		return "DeleteRange", request.FieldDeleteRange
	case DirectLeaseGrant:
		return "LeaseGrant", request.FieldLeaseGrant
	}
	return "Txn", request.FieldTxn
}

// writeBatch is the writes of some calls before they are proposed.
type writeBatch struct {
	svc    *Service
	start  time.Time
	writes []directWrite // of which there is room for all, so that none moves
	list   []*replica.Proposal
	data   []byte // room for all entries
	cost   int64  // what they add to the database
	full   bool   // nothing is taken that would add more
	who    callers
}

// serveWrites proposes what the calls write.
func (s *Service) serveWrites(calls []Direct, start time.Time) {
	count, bytes := 0, 0
	for _, c := range calls {
		if c.Kind() != DirectRange {
			count++
			bytes += len(c.Request()) + entryOverhead
		}
	}
	b := writeBatch{
		svc: s, start: start, writes: make([]directWrite, 0, count), list: make([]*replica.Proposal, 0, count), data: make([]byte, 0, bytes),
		full: s.checkRoom() != nil,
	}
	used := s.backend.Used()
	for _, c := range calls {
		if c.Kind() == DirectRange {
			continue
		}
		who, known := b.who.of(s, c)
		if !known {
			c.Leave()
			continue
		}
		cost, usual, err := s.checkDirect(c.Kind(), c.Request())
		switch {
		case err != nil:
			c.Fail(err, nothing{})
		case !usual || cost > 0 && (b.full || s.cfg.QuotaBytes > 0 && used+b.cost+cost >= s.cfg.QuotaBytes):
			c.Leave()
		default:
			b.cost += cost
			b.add(c, who)
		}
	}
	if len(b.list) > 0 {
		s.member.Offer(b.list)
	}
}

// entryOverhead is about how much larger an entry is than its request, the name of a user included.
const entryOverhead = 64

// checkDirect validates a request that writes. cost is what it adds to the database, by the quota's estimate; what is not usual is
// one that has to be charged for its answer or does not write after all.
func (s *Service) checkDirect(kind DirectKind, raw []byte) (cost int64, usual bool, err error) {
	switch kind {
	case DirectPut:
		var r request.Put
		if err := r.Unmarshal(raw); err != nil {
			return 0, false, err
		}
		return r.QuotaCost(), true, r.Validate()
	case DirectDeleteRange:
		var r request.DeleteRange
		if err := r.Unmarshal(raw); err != nil {
			return 0, false, err
		}
		return 0, !r.PrevKV || len(r.RangeEnd) == 0, r.Validate()
	case DirectLeaseGrant:
		var r request.LeaseGrant
		err := r.Unmarshal(raw)
		return r.QuotaCost(), true, err
	}
	var r request.Txn
	if err := r.Unmarshal(raw); err != nil {
		return 0, false, err
	}
	if err := r.Validate(s.cfg.MaxTxnOps); err != nil {
		return 0, false, err
	}
	if r.HasPut() {
		cost = r.QuotaCost()
	}
	return cost, !r.ReadOnly() && !readsRanges(&r), nil
}

// add makes a proposal of a call. Its entry wraps the bytes of the request, and says who makes it: what that may do is decided when it is applied; to grant a
// lease it is enough to be somebody.
func (b *writeBatch) add(c Direct, who auth.Identity) {
	s, raw := b.svc, c.Request()
	if c.Kind() == DirectLeaseGrant {
		raw = s.withLeaseID(raw)
	}
	name, field := c.Kind().write()
	h := request.Header{ID: s.ids.next(), Username: who.User, AuthRevision: who.Revision}
	if request.SizeInternal(h, field, len(raw)) > s.cfg.MaxRequestBytes {
		s.observe(name, b.start, kverr.RequestTooLarge)
		c.Fail(kverr.RequestTooLarge, nothing{})
		return
	}
	from := len(b.data)
	b.data = request.AppendInternal(b.data, h, field, raw)
	b.writes = append(b.writes, directWrite{svc: s, call: c, kind: c.Kind(), start: b.start})
	w := &b.writes[len(b.writes)-1]
	w.Proposal = replica.Proposal{ID: h.ID, Data: b.data[from:len(b.data):len(b.data)], Within: s.requestTimeout(), Asker: w}
	c.OnCancel(w)
	b.list = append(b.list, &w.Proposal)
}

// Answered implements replica.Asker.
func (w *directWrite) Answered(p *replica.Proposal) {
	name, _ := w.kind.write()
	w.svc.observe(name, w.start, p.Err)
	if p.Err != nil {
		w.call.Fail(p.Err, w)
		return
	}
	w.call.Answer(p.Reply, w)
}

// Cancelled implements Cancelled.
func (w *directWrite) Cancelled(cause error) { w.svc.member.Abandon(&w.Proposal, cause) }

// Account implements Accounts.
func (w *directWrite) Account(spent *steps.Spent) { w.svc.member.Account(&w.Proposal, spent) }

// nothing is where the time of a call went that waited for nothing.
type nothing struct{}

// Account implements Accounts.
func (nothing) Account(*steps.Spent) {}

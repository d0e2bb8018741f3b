package service

import (
	"context"
	"errors"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
)

// firstChunkKeys is the number of keys in the first chunk of a stream. From there on the number follows the size of the chunks.
const firstChunkKeys = 10

// What a stream cannot do.
var (
	errStreamSort   = &kverr.Error{Symbol: "StreamSort", Code: kverr.CodeUnimplemented, Text: "RangeStream does not support custom sort orders"}
	errStreamFilter = &kverr.Error{Symbol: "StreamFilter", Code: kverr.CodeUnimplemented, Text: "RangeStream does not support revision filters"}
)

// RangeStream answers a RangeRequest in chunks, each handed to send in wire form.
func (s *Service) RangeStream(ctx context.Context, raw []byte, send func(chunk []byte) error) error {
	return s.AnswerRangeStream(ctx, raw, func(chunk Answer) error { return send(chunk.Whole()) })
}

// AnswerRangeStream answers a RangeRequest in chunks, each handed to send, which closes what is large. The chunks merged are what Range
// answers; header, count and more come with the last one. A chunk is encoded piece by piece as the client takes it, each piece from the newest
// view, so a slow client costs a piece of each chunk that it has not taken, and for those there must be room.
func (s *Service) AnswerRangeStream(ctx context.Context, raw []byte, send func(chunk Answer) error) error {
	var r request.Range
	if err := r.Unmarshal(raw); err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return err
	}
	if err := streamable(&r); err != nil {
		return err
	}
	view, pass, err := s.readFor(ctx, !r.Serializable, &r)
	if err != nil {
		return err
	}
	checked := func(chunk Answer) error {
		if err := pass.recheck(); err != nil {
			chunk.Close()
			return err
		}
		return send(chunk)
	}
	if r.SortTarget != request.SortByKey && !r.CountOnly {
		defer view.Release()
		return s.streamSorted(view, &r, checked)
	}
	return s.streamInOrder(ctx, view, &r, checked)
}

// streamInOrder sends a range in key order, each chunk from the newest view. It takes over view.
func (s *Service) streamInOrder(ctx context.Context, view *mvcc.View, r *request.Range, send func(Answer) error) error {
	q := s.pages.query(machine.Query(r), view)
	pager, err := view.Pager(q)
	if err != nil {
		view.Release()
		return err
	}
	s.pages.remember(q, view, pager.More())
	chunks := chunker{svc: s, pager: pager, revision: view.Rev(), left: toCome(r, pager), size: chunkSize{s.cfg.MaxRequestBytes, firstChunkKeys}}
	var room hold
	for {
		chunk, bytes, last, err := chunks.next(&reading{svc: s, ctx: ctx, view: view, hold: room})
		if err != nil {
			return err
		}
		if err := send(chunk); err != nil || last {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if room, err = s.roomForChunk(ctx, bytes); err != nil {
			return err
		}
		if view, err = s.member.View(); err != nil {
			room.release()
			return err
		}
		if err := pager.Move(view); err != nil {
			room.release()
			view.Release()
			return err
		}
	}
}

// roomForChunk charges the next chunk, which is at most twice as large as the last one, or nearly so, and of which two pieces are in memory.
func (s *Service) roomForChunk(ctx context.Context, last int) (hold, error) {
	if last <= smallAnswerBytes {
		return hold{}, nil
	}
	return s.charge(ctx, int64(min(2*last, 2*pieceBytes)))
}

// streamable refuses what cannot be answered piece by piece.
func streamable(r *request.Range) error {
	ascending := r.SortOrder == request.SortAscend && r.SortTarget == request.SortByKey
	switch {
	case r.SortOrder != request.SortNone && !ascending:
		return errStreamSort
	case r.MinModRevision|r.MaxModRevision|r.MinCreateRevision|r.MaxCreateRevision != 0:
		return errStreamFilter
	}
	return nil
}

// streamSorted answers a request that names another target than the key but no order: what Range answers, cut into chunks. (etcd sorts
// each chunk by itself and goes on from its last key, and so repeats and loses keys when there is more than one chunk.)
func (s *Service) streamSorted(view *mvcc.View, r *request.Range, send func(Answer) error) error {
	all, err := machine.Range(view, machine.Query(r))
	if err != nil {
		return err
	}
	keys := chunkSize{target: s.cfg.MaxRequestBytes, keys: firstChunkKeys}
	for len(all.KVs) > keys.keys {
		piece := request.RangeResult{KVs: all.KVs[:keys.keys]}
		all.KVs = all.KVs[keys.keys:]
		chunk := request.AppendRangeChunk(nil, nil, &piece)
		keys.adapt(len(chunk))
		if err := send(Answer{Bytes: chunk}); err != nil {
			return err
		}
	}
	h := s.headerAt(view.Rev())
	return send(Answer{Bytes: request.AppendRangeChunk(nil, &h, &all)})
}

// toCome is the number of keys that the stream will carry.
func toCome(r *request.Range, p *mvcc.Pager) int64 {
	switch {
	case r.CountOnly:
		return 0
	case r.Limit > 0:
		return min(r.Limit, p.Count())
	}
	return p.Count()
}

// chunker cuts a stream into chunks.
type chunker struct {
	svc      *Service
	pager    *mvcc.Pager
	revision int64 // of the store when the stream began
	left     int64 // keys not sent yet
	size     chunkSize
}

// next plans the next chunk, and encodes it if it is small. It takes over what r has.
func (c *chunker) next(r *reading) (chunk Answer, bytes int, last bool, err error) {
	defer r.end()
	from := &pagerSource{c.pager.Clone()}
	p, records, err := r.measure(c.pager, min(int64(c.size.keys), c.left))
	switch {
	case err != nil:
		return Answer{}, 0, false, err
	case records == 0 && c.left > 0:
		return Answer{}, 0, false, errors.New("service: a range ended before its count was reached")
	}
	c.left -= records
	last = c.left == 0
	head, tail := c.frame(p.total, last)
	l := p.large(c.svc, from, head, tail)
	c.size.adapt(l.bytes)
	if l.bytes > smallAnswerBytes && (!r.hold.empty() || len(l.plan) > 1) {
		return r.keep(l), l.bytes, last, nil
	}
	b, err := l.encode(make([]byte, 0, l.bytes), l.plan[0])
	return r.whole(b), l.bytes, last, err
}

// frame is what stands before and behind so many bytes of records.
func (c *chunker) frame(records int, last bool) (head, tail []byte) {
	if !last {
		return request.AppendRangeChunkStart(nil, nil, records), nil
	}
	end := request.RangeResult{Count: c.pager.Count(), More: c.pager.More()}
	h := c.svc.headerAt(c.revision)
	tail = request.AppendRangeEnd(nil, &end)
	return request.AppendRangeChunkStart(nil, &h, records+len(tail)), tail
}

// chunkSize is the number of keys of the next chunk. It follows the bytes of the ones before, to keep chunks near the size of a request.
type chunkSize struct {
	target int // bytes
	keys   int
}

func (c *chunkSize) adapt(chunkBytes int) {
	switch {
	case chunkBytes < c.target/2:
		c.keys *= 2
	case chunkBytes > 2*c.target:
		c.keys = max(1, c.keys/2)
	}
}

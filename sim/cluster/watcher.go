package cluster

import (
	"context"
	"time"

	"github.com/quoin-kv/quoin/internal/model"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/watch"
	"github.com/quoin-kv/quoin/sim/client"
	"github.com/quoin-kv/quoin/sim/plan"
)

// watcher is a client that watches a range. When its stream ends it goes on with another member where it was; now and then it changes the
// member for no reason.
type watcher struct {
	caller
	config plan.Client
	log    *model.WatchLog // of the present watcher, nil before the first
	next   int64           // revision to go on with, 0 if nothing is known yet
	stream *stream         // the present one, nil between two
}

// stream is a watch stream as its client sees it.
type stream struct {
	arrival int64 // of the latest message: they keep their order
	created bool  // the member has answered
	ended   bool  // what still arrives counts no more
	cancel  func()
}

// Times of a watcher, in virtual nanoseconds.
const (
	watchPause    = 100e6 // between two streams
	createTimeout = 5e9   // for the answer to the beginning of one
)

func (v *watcher) begin() { v.w.engine.After(v.rng.Int64N(5e9), v.open) }

func (v *watcher) busy() bool { return false }

// open begins a stream at some member.
func (v *watcher) open() {
	if v.log == nil {
		v.log = v.draw()
	}
	s := &stream{}
	v.stream = s
	req := v.request()
	m, delay := v.choose().member, v.w.network.delay
	v.w.engine.After(delay(), func() {
		if m == nil || !m.ready || !m.proc.Alive() {
			v.w.engine.After(delay(), func() { v.lost(s) })
			return
		}
		m.proc.Exec(func() { m.proc.Go(func() { v.serve(m, s, req) }) })
	})
	v.w.engine.After(createTimeout, func() {
		if !s.created {
			v.lost(s)
		}
	})
	if v.config.Think > 0 {
		v.w.engine.After(v.config.Think/2+v.rng.Int64N(v.config.Think), func() { v.leave(s) })
	}
}

// draw decides what to watch and how.
func (v *watcher) draw() *model.WatchLog {
	log := &model.WatchLog{Client: v.index, Key: "k", End: "m", PrevKV: v.rng.IntN(2) == 0}
	switch v.rng.IntN(5) {
	case 0:
		log.Key, log.End = "k00", ""
	case 1:
		log.NoDelete = true
	case 2:
		log.NoPut = true
	}
	if v.next = 0; v.rng.IntN(2) == 0 {
		v.next = 1 + v.rng.Int64N(50)
		log.Start = v.next
	}
	return log
}

func (v *watcher) request() watch.CreateRequest {
	return watch.CreateRequest{
		Key: []byte(v.log.Key), RangeEnd: []byte(v.log.End), StartRevision: v.next,
		PrevKV: v.log.PrevKV, NoPut: v.log.NoPut, NoDelete: v.log.NoDelete, ProgressNotify: v.rng.IntN(2) == 0,
	}
}

// serve is the member's side of a stream.
func (v *watcher) serve(m *member, s *stream, req watch.CreateRequest) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer func() { v.deliver(s, func() { v.lost(s) }) }() // also if the member ends meanwhile
	s.cancel = func() { m.proc.Exec(cancel) }
	ws := m.service.Watch()
	defer ws.Close()
	if ws.Create(ctx, req) != nil {
		return
	}
	v.ask(m, ws, ctx)
	slow := v.rng.IntN(3) == 0
	for {
		raw, err := ws.Next(ctx)
		if err != nil {
			return
		}
		v.deliver(s, func() { v.receive(s, m.host, raw) })
		if slow && !v.w.healed && v.rng.IntN(4) == 0 { // its connection is full
			if m.proc.Wait(ctx, nil, time.Duration(v.rng.Int64N(2e9))) != nil {
				return
			}
		}
	}
}

// ask asks for progress now and then.
func (v *watcher) ask(m *member, ws *service.WatchStream, ctx context.Context) {
	m.proc.After(time.Duration(50e6+v.rng.Int64N(2e9)), func() {
		if ctx.Err() == nil {
			ws.Progress()
			v.ask(m, ws, ctx)
		}
	})
}

// deliver lets something arrive at the client, in order.
func (v *watcher) deliver(s *stream, fn func()) {
	s.arrival = max(s.arrival, v.w.engine.Now()+v.w.network.delay())
	v.w.engine.At(s.arrival, func() {
		if !s.ended {
			fn()
		}
	})
}

// lost goes on with another stream after a while.
func (v *watcher) lost(s *stream) {
	if s.ended {
		return
	}
	s.ended, v.host = true, nil
	v.w.engine.After(watchPause, v.open)
}

// leave gives a stream up, unless the simulation comes to its end.
func (v *watcher) leave(s *stream) {
	if s.ended || v.w.closing {
		return
	}
	v.lost(s)
	if cancel := s.cancel; cancel != nil {
		v.w.engine.After(v.w.network.delay(), cancel)
	}
}

// receive takes in a message.
func (v *watcher) receive(s *stream, from *host, raw []byte) {
	msg, err := client.DecodeWatch(raw)
	if err != nil {
		v.w.fail("codec", "%v", err)
		return
	}
	v.w.engine.Note("watched", v.index, uint64(msg.Revision), uint64(len(msg.Events)))
	if v.w.engine.Traced() {
		v.w.engine.Comment(v.index, "watch from %x: created %v canceled %v %q rev %d events %v",
			from.id, msg.Created, msg.Canceled, msg.Reason, msg.Revision, msg.Events)
	}
	s.created = true
	if msg.Created && !msg.Canceled {
		v.created(&msg)
		return
	}
	msg.Time = v.w.engine.Now()
	v.log.Responses = append(v.log.Responses, msg.WatchResponse)
	switch n := len(msg.Events); {
	case msg.Canceled:
		v.finish()
		v.lost(s)
	case n > 0:
		v.next = msg.Events[n-1].KV.Mod + 1
	default:
		v.next = max(v.next, msg.Revision+1)
	}
}

// created notes where a watcher begins that did not ask for a revision.
func (v *watcher) created(msg *client.WatchMessage) {
	if v.next == 0 {
		v.log.Created, v.next = msg.Revision, msg.Revision+1
	}
}

// finish hands the log of a watcher over and forgets it.
func (v *watcher) finish() {
	if v.log != nil && (v.log.Start > 0 || v.log.Created > 0) {
		v.w.recorder.history.Watches = append(v.w.recorder.history.Watches, *v.log)
	}
	v.log, v.next = nil, 0
}

package cluster

import (
	"context"

	"github.com/quoin-kv/quoin/internal/model"
	"github.com/quoin-kv/quoin/internal/service"
)

// direct is a call that the member serves together with others that come at about the same time. The coroutine that waits for it stands for the
// connection.
type direct struct {
	kind  service.DirectKind
	raw   []byte
	done  bool
	left  bool // to the ordinary call
	reply []byte
	err   error
}

// serveDirect is serve for the operations that may be called directly; the others are called as ever.
func serveDirect(m *member, kind model.Kind, raw []byte) ([]byte, error) {
	c := &direct{raw: raw}
	switch kind {
	case model.Put:
		c.kind = service.DirectPut
	case model.Delete:
		c.kind = service.DirectDeleteRange
	case model.Range:
		c.kind = service.DirectRange
	case model.Txn:
		c.kind = service.DirectTxn
	default:
		return serve(m, kind, raw)
	}
	m.offerDirect(c)
	if err := m.proc.Await(context.Background(), &c.done); err != nil {
		return nil, err
	}
	if c.left {
		return serve(m, kind, raw)
	}
	return c.reply, c.err
}

// offerDirect has a call served soon, with all that come until then.
func (m *member) offerDirect(c *direct) {
	m.direct = append(m.direct, c)
	if len(m.direct) > 1 {
		return
	}
	m.proc.AfterVirtual(m.think(), func() {
		calls := m.direct
		m.direct = nil
		m.service.ServeDirect(calls)
	})
}

// Kind implements service.Direct.
func (c *direct) Kind() service.DirectKind { return c.kind }

// Request implements service.Direct.
func (c *direct) Request() []byte { return c.raw }

// Token implements service.Direct.
func (c *direct) Token() string { return "" }

// OnCancel implements service.Direct. Nobody here gives a call up.
func (c *direct) OnCancel(service.Cancelled) {}

// Answer implements service.Direct.
func (c *direct) Answer(response []byte, _ service.Accounts) { c.end(response, nil) }

// Fail implements service.Direct.
func (c *direct) Fail(err error, _ service.Accounts) { c.end(nil, err) }

// Leave implements service.Direct.
func (c *direct) Leave() {
	c.left = true
	c.end(nil, nil)
}

func (c *direct) end(reply []byte, err error) {
	if c.done {
		panic("expected a call that is ended once, found one that has ended already")
	}
	c.done, c.reply, c.err = true, reply, err
}

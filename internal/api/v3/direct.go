package v3

import (
	"context"
	"time"
	"unicode/utf8"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/grpcwire"
	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/steps"
)

// CallCounts counts the calls of one method.
type CallCounts interface {
	Began()
	Ended(err error, took time.Duration)
}

// direct serves the calls that clients make most, many at a time and without a goroutine each. It does what the interceptors of the ordinary
// calls do; a call of which anything is unusual is left to these.
//
// Invariant: a call is counted either here or, if it was left, by the interceptors.
type direct struct {
	svc     *service.Service
	observe func(kind, clientVersion string)
	slow    SlowCalls
	rate    *rate // nil for no bound
	methods map[string]*directMethod
}

// directMethod is a method that may be called directly.
type directMethod struct {
	name   string
	kind   service.DirectKind
	counts CallCounts // may be nil
}

// directKinds is the methods by their full names.
func directKinds() map[string]service.DirectKind {
	return map[string]service.DirectKind{
		pb.KV_Range_FullMethodName: service.DirectRange, pb.KV_Put_FullMethodName: service.DirectPut,
		pb.KV_DeleteRange_FullMethodName: service.DirectDeleteRange, pb.KV_Txn_FullMethodName: service.DirectTxn,
		pb.Lease_LeaseGrant_FullMethodName: service.DirectLeaseGrant,
	}
}

func newDirect(svc *service.Service, opts *Options, limit *rate) *direct {
	d := &direct{svc: svc, observe: opts.Observe, slow: opts.Slow, rate: limit, methods: map[string]*directMethod{}}
	for name, kind := range directKinds() {
		m := &directMethod{name: name, kind: kind}
		if opts.Count != nil {
			m.counts = opts.Count(name)
		}
		d.methods[name] = m
	}
	return d
}

// Serve implements grpcwire.DirectHandler.
func (d *direct) Serve(calls []*grpcwire.Call) { serveDirect(d, calls) }

// directWire is a call as the connection has it: a *grpcwire.Call, which says what the methods do.
type directWire interface {
	Method() string
	Request() []byte
	Context() context.Context
	Deadline() (time.Time, bool)
	Metadata(name string) string
	OnCancel(f func())
	Answer(message []byte)
	Fail(err error)
	Go()
}

var _ directWire = (*grpcwire.Call)(nil)

func serveDirect[C directWire](d *direct, calls []C) {
	if d.svc.IsLearner() {
		for _, c := range calls {
			c.Go()
		}
		return
	}
	start := time.Now()
	all, list := make([]directCall, 0, len(calls)), make([]service.Direct, 0, len(calls))
	for _, c := range calls {
		version, ok := d.admit(c)
		if !ok {
			c.Go()
			continue
		}
		all = append(all, directCall{direct: d, wire: c, method: d.methods[c.Method()], version: version, start: start})
		list = append(list, &all[len(all)-1])
	}
	if len(list) > 0 {
		d.svc.ServeDirect(list)
	}
}

// admit reports whether a call may be served directly, and the version of its client. The ordinary way has the words for those that may not.
func (d *direct) admit(c directWire) (version string, ok bool) {
	if version = c.Metadata(metaAPIVersion); version == "" {
		version = unknownVersion
	} else if !utf8.ValidString(version) {
		return "", false
	}
	if c.Metadata(metaHasLeader) == "true" && !d.svc.HasLeader() {
		return "", false
	}
	return version, d.rate == nil || d.rate.take()
}

// directCall is a call on its way through the service.
type directCall struct {
	*direct
	wire    directWire
	method  *directMethod
	version string // of the client
	start   time.Time
	begun   bool // it was counted

	cancelled service.Cancelled
	deadline  time.Time // zero: none
}

// Kind implements service.Direct.
func (c *directCall) Kind() service.DirectKind { return c.method.kind }

// Request implements service.Direct.
func (c *directCall) Request() []byte { return c.wire.Request() }

// Token implements service.Direct.
func (c *directCall) Token() string { return shownToken(c.wire.Metadata) }

// OnCancel implements service.Direct.
func (c *directCall) OnCancel(to service.Cancelled) {
	c.begin()
	c.cancelled = to
	deadline, _ := c.wire.Deadline()
	c.deadline = deadline
	c.wire.OnCancel(c.cancel)
}

// cancel tells the service that the client waits no longer, and why.
func (c *directCall) cancel() {
	cause := context.Canceled
	if !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
		cause = context.DeadlineExceeded
	}
	c.cancelled.Cancelled(cause)
}

// begin counts the call.
func (c *directCall) begin() {
	if c.begun {
		return
	}
	c.begun = true
	if c.observe != nil {
		c.observe(unaryCall, c.version)
	}
	if c.method.counts != nil {
		c.method.counts.Began()
	}
}

// Answer implements service.Direct.
func (c *directCall) Answer(response []byte, where service.Accounts) {
	c.end(response, nil, where)
	c.wire.Answer(response)
}

// Fail implements service.Direct.
func (c *directCall) Fail(err error, where service.Accounts) {
	err = toStatus(err)
	c.end(nil, err, where)
	c.wire.Fail(err)
}

// end counts what became of the call, and warns if that took long.
func (c *directCall) end(response []byte, err error, where service.Accounts) {
	c.begin()
	took := time.Since(c.start)
	if c.method.counts != nil {
		c.method.counts.Ended(err, took)
	}
	if c.slow.After <= 0 || took <= c.slow.After {
		return
	}
	var spent steps.Spent
	where.Account(&spent)
	call := slowCall{method: c.method.name, req: &frame{bytes: c.wire.Request()}, err: err}
	if err == nil {
		call.resp = &frame{bytes: response}
	}
	c.slow.warn(c.wire.Context(), &call, &spent, took, took)
}

// Leave implements service.Direct.
func (c *directCall) Leave() {
	if c.rate != nil {
		c.rate.giveBack()
	}
	c.wire.Go()
}

package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// maxErrorBytes bounds what is read of an answer that says why not.
const maxErrorBytes = 4 << 10

// read opens a stream of the peer and takes in what it says, again and again until the session ends. A stream that has stood for a while is
// opened again at once, unless it broke by being silent: if its process has ended, the answer tells.
func (p *peer) read(k streamKind) {
	stood := false // and has not been opened again since it broke
	for {
		began := time.Now()
		opened, err := p.readStream(k)
		if p.ctx.Err() != nil {
			return
		}
		p.status.down(err)
		if !opened && stood && errors.Is(err, syscall.ECONNREFUSED) {
			stood = false
			p.t.cfg.Local.Gone(p.id)
		}
		stood = stood || opened
		if opened && time.Since(began) >= p.t.cfg.Timing.Redial && !errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if !wait(p.ctx, p.t.cfg.Timing.Redial) {
			return
		}
	}
}

// readStream reports whether the stream was opened, and returns why not or why it ended.
func (p *peer) readStream(k streamKind) (opened bool, err error) {
	resp, err := p.dial(k)
	if err != nil {
		return false, fmt.Errorf("open the %s stream: %w", k, err)
	}
	defer resp.Body.Close()
	p.status.up()
	err = p.takeIn(k, resp.Body)
	if p.ctx.Err() == nil {
		reportOne(p.t.cfg.Metrics.ReceiveFailed, p.id)
		p.log.Info("lost the connection of a stream from the peer", "stream", k.String(), "error", err)
	}
	return true, fmt.Errorf("read the %s stream: %w", k, err)
}

// takeIn hands over what body says until it ends.
func (p *peer) takeIn(k streamKind, body io.Reader) error {
	f := newFrames(body)
	dec := newDecoder(k, f, p.id, p.t.cfg.ID)
	for {
		m, err := dec.decode()
		if err != nil {
			return err
		}
		from := p.id
		if isLinkHeartbeat(&m) {
			from = 0
		} else {
			p.deliver(m)
		}
		report(p.t.cfg.Metrics.Received, from, f.read)
		f.read = 0
	}
}

// dial opens a stream. The body of the response is the stream.
func (p *peer) dial(k streamKind) (*http.Response, error) {
	u, err := p.urls.pick()
	if err != nil {
		return nil, err
	}
	req := p.request(p.ctx, http.MethodGet, u, "/raft/stream/"+k.String()+"/"+hexID(p.t.cfg.ID), nil)
	req.Header.Set(headerTo, hexID(p.id))
	resp, err := p.t.clients.stream.Do(req)
	if err != nil {
		p.urls.failed(u)
		return nil, withoutURL(err)
	}
	if err := p.checkStream(resp); err != nil {
		resp.Body.Close()
		p.urls.failed(u)
		return nil, err
	}
	return resp, nil
}

// checkStream says why the answer is not a stream.
func (p *peer) checkStream(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusOK:
		if v := resp.Header.Get(headerVersion); !atLeast(v, minStreams) {
			return fmt.Errorf("the peer's version %q has no such stream", v)
		}
		return nil
	case http.StatusGone:
		return p.sayRemoved()
	default:
		return refusal(resp)
	}
}

// refusal is what an answer that says no says.
func refusal(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	return fmt.Errorf("the peer answered %d: %s", resp.StatusCode, strings.TrimSpace(string(text)))
}

// request builds a request to the peer at one of its URLs.
func (p *peer) request(ctx context.Context, method string, base *url.URL, path string, body io.Reader) *http.Request {
	u := *base
	u.Path = strings.TrimSuffix(u.Path, "/") + path
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		panic(fmt.Sprintf("transport: a request from a checked URL: %v, want none", err))
	}
	for name, values := range p.t.headers {
		req.Header[name] = values
	}
	return req
}

// withoutURL takes off what net/http puts in front of errors: method and URL, which the reader of the log knows.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// deadlineReader reads a request's body; every read has its time. At the end of the body the deadline is gone: from there on the
// server reads, to learn of the connection's end, and must not be disturbed.
type deadlineReader struct {
	ctx  context.Context
	rc   *http.ResponseController
	body io.Reader
	time time.Duration
	read func(n int) // nil: nobody counts
}

// Read reads as io.Reader says.
func (d *deadlineReader) Read(b []byte) (int, error) {
	if err := d.rc.SetReadDeadline(time.Now().Add(d.time)); err != nil {
		return 0, err
	}
	if err := d.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := d.body.Read(b)
	if err == io.EOF {
		_ = d.rc.SetReadDeadline(time.Time{})
	}
	if n > 0 && d.read != nil {
		d.read(n)
	}
	return n, err
}

// timePast is a deadline that ends reads and writes at once.
func timePast() time.Time { return time.Unix(1, 0) }

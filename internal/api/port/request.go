package port

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// MaxHeaderBytes bounds the header of one request, in all protocols.
const MaxHeaderBytes = 64 << 10

// What a client may do before its first request: maxHeld bytes of frames are kept for the server behind, and pings are answered, some at
// once and then one a second.
const (
	maxHeld   = 2*MaxHeaderBytes + 16<<10
	freePings = 20
)

// awaitRequest holds the connection of a client that speaks HTTP/2 until its first request says whether it is gRPC. Many clients connect
// long before they ask something, and some of them say nothing before the server has shown its settings. So settings are exchanged and
// pings answered here; the server behind sees the rest from the beginning, and the client sees nothing twice.
func (s *Splitter) awaitRequest(c *Conn) (grpc bool, err error) {
	w := &waiter{conn: c, in: bufio.NewReader(c), since: time.Now()}
	w.frames = http2.NewFramer(c, io.TeeReader(w.in, &w.held))
	w.frames.SetMaxReadFrameSize(16 << 10)
	w.frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	w.frames.MaxHeaderListSize = MaxHeaderBytes
	if err := w.greet(s.opts.MaxStreams); err != nil {
		return false, err
	}
	request, err := w.await()
	if err != nil {
		return false, err
	}
	rest, _ := w.in.Peek(w.in.Buffered())
	c.head = append(w.held.Bytes(), rest...)
	c.in = &inbound{preface: len(clientPreface), drop: 1}
	if w.confirmed > 0 {
		c.out = &outbound{drop: w.confirmed}
	}
	return isGRPC(request), c.SetReadDeadline(time.Time{})
}

func isGRPC(request *http2.MetaHeadersFrame) bool {
	for _, f := range request.RegularFields() {
		if f.Name == "content-type" {
			return strings.Contains(f.Value, "application/grpc")
		}
	}
	return false
}

// held is a buffer of at most maxHeld bytes.
type held struct{ bytes.Buffer }

// Write adds p, or fails.
func (h *held) Write(p []byte) (int, error) {
	if h.Len()+len(p) > maxHeld {
		return 0, errors.New("too much before the first request")
	}
	return h.Buffer.Write(p)
}

// waiter is a client of HTTP/2 before its first request.
type waiter struct {
	conn      *Conn
	in        *bufio.Reader
	frames    *http2.Framer
	held      held // what the server behind is to read
	confirmed int  // settings of the client
	pings     int
	since     time.Time
}

// greet exchanges prefaces.
func (w *waiter) greet(maxStreams uint32) error {
	settings := []http2.Setting{{ID: http2.SettingMaxHeaderListSize, Val: MaxHeaderBytes}}
	if maxStreams < math.MaxUint32 {
		settings = append(settings, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams})
	}
	if err := w.frames.WriteSettings(settings...); err != nil {
		return err
	}
	if err := w.conn.SetReadDeadline(time.Now().Add(prefaceTimeout)); err != nil {
		return err
	}
	got := make([]byte, len(clientPreface))
	if _, err := io.ReadFull(w.in, got); err != nil {
		return err
	}
	if string(got) != clientPreface {
		return errors.New("no preface of HTTP/2")
	}
	if _, err := w.held.Write(got); err != nil {
		return err
	}
	return w.frame(w.settings)
}

// await reads frames until the first request.
func (w *waiter) await() (request *http2.MetaHeadersFrame, err error) {
	for request == nil && err == nil {
		if err := w.conn.SetReadDeadline(time.Time{}); err != nil {
			return nil, err
		}
		if _, err := w.in.Peek(1); err != nil {
			return nil, err
		}
		if err := w.conn.SetReadDeadline(time.Now().Add(headerTimeout)); err != nil {
			return nil, err
		}
		err = w.frame(func(f http2.Frame) error {
			if meta, ok := f.(*http2.MetaHeadersFrame); ok {
				request = meta
				return nil
			}
			return w.answer(f)
		})
	}
	return request, err
}

// frame reads a frame for take. Pings are answered and not held.
func (w *waiter) frame(take func(http2.Frame) error) error {
	start := w.held.Len()
	f, err := w.frames.ReadFrame()
	if err != nil {
		return err
	}
	if err := take(f); err != nil {
		return err
	}
	if _, ok := f.(*http2.PingFrame); ok {
		w.held.Truncate(start)
	}
	return nil
}

// settings takes the first frame of the client, which must be its settings.
func (w *waiter) settings(f http2.Frame) error {
	if s, ok := f.(*http2.SettingsFrame); !ok || s.IsAck() {
		return fmt.Errorf("the first frame is a %s frame", f.Header().Type)
	}
	return w.answer(f)
}

// answer answers what cannot wait.
func (w *waiter) answer(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		w.confirmed++
		return w.frames.WriteSettingsAck()
	case *http2.PingFrame:
		if w.pings++; w.pings > freePings+int(time.Since(w.since).Seconds()) {
			return errors.New("too many pings")
		}
		if f.IsAck() {
			return nil
		}
		return w.frames.WritePing(true, f.Data)
	}
	return nil
}

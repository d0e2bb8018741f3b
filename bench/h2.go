package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

const (
	// prefixBytes is the length of the flag and size before each gRPC message.
	prefixBytes = 5
	// receiveWindow is how much a server may send before it hears from us:
	// enough that it never waits for the generator's bookkeeping.
	receiveWindow = 1<<31 - 1
	// defaultWindow is HTTP/2's window before any settings.
	defaultWindow = 65535
	// frameBytes is the largest frame that every server takes.
	frameBytes = 16 << 10
)

// A conn is one HTTP/2 connection that carries gRPC calls as bytes. It is made
// for generating load: one goroutine drives it, what is sent gathers in a
// buffer until flush, and what comes back is handed on without being copied or
// decoded. No method may be called from two goroutines at once.
type conn struct {
	raw    net.Conn
	in     *bufio.Reader
	out    *bufio.Writer
	framer *http2.Framer

	block    bytes.Buffer // header block under construction
	token    string       // shown with every call, if not empty
	encoder  *hpack.Encoder
	decoder  *hpack.Decoder
	authName string

	nextID       uint32
	window       int                // bytes that may be sent on the connection
	owed         int                // bytes received and not yet given back to the server's window
	long         map[uint32]*stream // the streams that carry many messages, or a large one
	large        int                // of these, streams with a message that is not sent whole
	streamWindow int                // the initial window of a stream, set by the server

	status, message string // of the trailers being read
	trailersOf      uint32
	trailersEnd     bool

	// onData gets the pieces of a stream's messages as they arrive; the bytes
	// are valid during the call.
	onData func(id uint32, piece []byte)
	// onEnd gets the end of a stream; err is nil for grpc-status 0.
	onEnd func(id uint32, err error)
}

// A stream is the flow control of one long-lived stream.
type stream struct {
	window int    // bytes that may be sent
	owed   int    // bytes received and not yet given back
	unsent []byte // of a large message
}

// dial connects and sends the preface. timeout bounds the whole life of the
// connection, so that a server that hangs ends a measurement with an error.
func dial(address string, timeout time.Duration) (*conn, error) {
	raw, err := net.DialTimeout("tcp", address, timeout)
	if err != nil {
		return nil, err
	}
	if err := raw.SetDeadline(time.Now().Add(timeout)); err != nil {
		raw.Close()
		return nil, err
	}
	c := &conn{
		raw:          raw,
		in:           bufio.NewReaderSize(raw, 256<<10),
		out:          bufio.NewWriterSize(raw, 64<<10),
		authName:     address,
		nextID:       1,
		window:       defaultWindow,
		long:         map[uint32]*stream{},
		streamWindow: defaultWindow,
		onData:       func(uint32, []byte) {},
		onEnd:        func(uint32, error) {},
	}
	c.framer = http2.NewFramer(c.out, c.in)
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(1 << 20)
	c.encoder = hpack.NewEncoder(&c.block)
	c.decoder = hpack.NewDecoder(4096, c.field)
	if err := c.preface(); err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

func (c *conn) preface() error {
	if _, err := c.out.WriteString(http2.ClientPreface); err != nil {
		return err
	}
	err := c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: receiveWindow},
		http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20},
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
	)
	if err != nil {
		return err
	}
	if err := c.framer.WriteWindowUpdate(0, receiveWindow-defaultWindow); err != nil {
		return err
	}
	return c.out.Flush()
}

// close ends the connection.
func (c *conn) close() { c.raw.Close() }

// flush sends what has gathered.
func (c *conn) flush() error { return c.out.Flush() }

// start opens a stream with one message on it and says that no more follow. It
// returns 0 if the server's window has no room now: try again after a read.
func (c *conn) start(path string, message []byte) (uint32, error) {
	size := prefixBytes + len(message)
	if size > c.streamWindow {
		return c.startLarge(path, message)
	}
	if size > c.window {
		return 0, nil
	}
	id, err := c.headersOf(path)
	if err != nil {
		return 0, err
	}
	return id, c.writeMessage(id, message, true)
}

// startLarge is start for a message that goes as the server makes room for it.
func (c *conn) startLarge(path string, message []byte) (uint32, error) {
	id, err := c.headersOf(path)
	if err != nil {
		return 0, err
	}
	whole := binary.BigEndian.AppendUint32(make([]byte, 1, prefixBytes+len(message)), uint32(len(message)))
	s := &stream{window: c.streamWindow, unsent: append(whole, message...)}
	c.long[id] = s
	c.large++
	return id, c.sendRest(id, s)
}

// sendRest sends what there is room for of a large message.
func (c *conn) sendRest(id uint32, s *stream) error {
	for len(s.unsent) > 0 {
		n := min(len(s.unsent), s.window, c.window, frameBytes)
		if n <= 0 {
			return nil
		}
		s.window, c.window = s.window-n, c.window-n
		if err := c.framer.WriteData(id, n == len(s.unsent), s.unsent[:n]); err != nil {
			return err
		}
		if s.unsent = s.unsent[n:]; len(s.unsent) == 0 {
			c.large--
		}
	}
	return nil
}

// sendRests goes on with large messages, the oldest first.
func (c *conn) sendRests() error {
	if c.large == 0 {
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(c.long)) {
		if err := c.sendRest(id, c.long[id]); err != nil {
			return err
		}
	}
	return nil
}

// open opens a long-lived stream without a message.
func (c *conn) open(path string) (uint32, error) {
	id, err := c.headersOf(path)
	c.long[id] = &stream{window: c.streamWindow}
	return id, err
}

// send puts one message on a long-lived stream; false if there is no room now.
func (c *conn) send(id uint32, message []byte) (bool, error) {
	size := prefixBytes + len(message)
	s := c.long[id]
	if s == nil {
		return false, errors.New("the stream has ended")
	}
	if size > min(c.window, s.window) {
		return false, nil
	}
	s.window -= size
	return true, c.writeMessage(id, message, false)
}

func (c *conn) headersOf(path string) (uint32, error) {
	id := c.nextID
	c.nextID += 2
	c.block.Reset()
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: path},
		{Name: ":authority", Value: c.authName},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "user-agent", Value: "quoin-bench"},
		{Name: "te", Value: "trailers"},
		{Name: "token", Value: c.token},
	} {
		if f.Value == "" {
			continue
		}
		if err := c.encoder.WriteField(f); err != nil {
			return 0, err
		}
	}
	return id, c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: c.block.Bytes(), EndHeaders: true,
	})
}

func (c *conn) writeMessage(id uint32, message []byte, end bool) error {
	c.window -= prefixBytes + len(message)
	var prefix [prefixBytes]byte
	binary.BigEndian.PutUint32(prefix[1:], uint32(len(message)))
	c.block.Reset()
	c.block.Write(prefix[:])
	c.block.Write(message)
	for c.block.Len() > frameBytes {
		if err := c.framer.WriteData(id, false, c.block.Next(frameBytes)); err != nil {
			return err
		}
	}
	return c.framer.WriteData(id, end, c.block.Bytes())
}

// waiting says whether a read would have to wait for the server.
func (c *conn) waiting() bool { return c.in.Buffered() == 0 }

// read takes in one frame, after flushing if it has to wait for it.
func (c *conn) read() error {
	if c.waiting() {
		if err := c.flush(); err != nil {
			return err
		}
	}
	frame, err := c.framer.ReadFrame()
	if err != nil {
		return err
	}
	switch f := frame.(type) {
	case *http2.DataFrame:
		return c.data(f)
	case *http2.HeadersFrame:
		c.status, c.message = "", ""
		c.trailersOf, c.trailersEnd = f.StreamID, f.StreamEnded()
		return c.headers(f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.ContinuationFrame:
		return c.headers(f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.window += int(f.Increment)
		} else if s := c.long[f.StreamID]; s != nil {
			s.window += int(f.Increment)
		}
		return c.sendRests()
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.framer.WritePing(true, f.Data)
		}
	case *http2.RSTStreamFrame:
		c.end(f.StreamID, fmt.Errorf("stream reset: %v", f.ErrCode))
	case *http2.GoAwayFrame:
		return fmt.Errorf("server went away: %v %s", f.ErrCode, f.DebugData())
	}
	return nil
}

func (c *conn) data(f *http2.DataFrame) error {
	c.onData(f.StreamID, f.Data())
	if err := c.giveBack(0, &c.owed, int(f.Length)); err != nil {
		return err
	}
	if f.StreamEnded() {
		c.end(f.StreamID, errors.New("stream ended without a status"))
	} else if s := c.long[f.StreamID]; s != nil {
		return c.giveBack(f.StreamID, &s.owed, int(f.Length))
	}
	return nil
}

// giveBack returns received bytes to the server's window, in few large pieces.
func (c *conn) giveBack(id uint32, owed *int, received int) error {
	*owed += received
	if *owed < receiveWindow/2 {
		return nil
	}
	increment := uint32(*owed)
	*owed = 0
	return c.framer.WriteWindowUpdate(id, increment)
}

// field is told every header that the decoder meets.
func (c *conn) field(f hpack.HeaderField) {
	switch f.Name {
	case "grpc-status":
		c.status = f.Value
	case "grpc-message":
		c.message = f.Value
	}
}

func (c *conn) headers(fragment []byte, complete bool) error {
	if _, err := c.decoder.Write(fragment); err != nil {
		return err
	}
	if !complete {
		return nil
	}
	if err := c.decoder.Close(); err != nil {
		return err
	}
	if !c.trailersEnd {
		return nil
	}
	if c.status != "0" {
		c.end(c.trailersOf, fmt.Errorf("grpc-status %s: %s", c.status, c.message))
	} else {
		c.end(c.trailersOf, nil)
	}
	return nil
}

func (c *conn) end(id uint32, err error) {
	if s := c.long[id]; s != nil && len(s.unsent) > 0 {
		c.large--
	}
	delete(c.long, id)
	c.onEnd(id, err)
}

func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if value, ok := f.Value(http2.SettingInitialWindowSize); ok {
		for _, s := range c.long {
			s.window += int(value) - c.streamWindow
		}
		c.streamWindow = int(value)
	}
	if err := c.framer.WriteSettingsAck(); err != nil {
		return err
	}
	return c.sendRests()
}

// call makes one unary call and waits for its answer. It is for preparing, not
// for measuring.
func (c *conn) call(path string, request, answer proto.Message) error {
	message, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	var reply []byte
	var failure error
	done := false
	c.onData = func(_ uint32, piece []byte) { reply = append(reply, piece...) }
	c.onEnd = func(_ uint32, err error) { failure, done = err, true }
	id := uint32(0)
	for !done {
		if id == 0 {
			if id, err = c.start(path, message); err != nil {
				return err
			}
		}
		if err := c.read(); err != nil {
			return err
		}
	}
	if failure != nil {
		return fmt.Errorf("%s: %w", path, failure)
	}
	if len(reply) < prefixBytes {
		return fmt.Errorf("%s: no message in the answer", path)
	}
	return proto.Unmarshal(reply[prefixBytes:], answer)
}

// call dials, makes one call and hangs up.
func call(ctx context.Context, address, path string, request, answer proto.Message) error {
	timeout := 30 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	c, err := dial(address, timeout)
	if err != nil {
		return err
	}
	defer c.close()
	return c.call(path, request, answer)
}

// A messages cuts the pieces of a stream into messages.
type messages struct {
	pending []byte
}

// feed takes in a piece and hands on each message that it completes. The bytes
// are valid during the call.
func (m *messages) feed(piece []byte, each func(message []byte)) {
	if len(m.pending) > 0 {
		m.pending = append(m.pending, piece...)
		piece = m.pending
	}
	m.pending = append(m.pending[:0], whole(piece, each)...)
}

// whole hands on the messages that are complete and returns the rest.
func whole(piece []byte, each func(message []byte)) []byte {
	for len(piece) >= prefixBytes {
		size := prefixBytes + int(binary.BigEndian.Uint32(piece[1:]))
		if len(piece) < size {
			break
		}
		each(piece[prefixBytes:size])
		piece = piece[size:]
	}
	return piece
}

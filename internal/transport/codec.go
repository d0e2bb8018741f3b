package transport

import (
	"encoding/binary"
	"fmt"
	"io"
	"unsafe"

	"github.com/quoin-kv/quoin/raft/wire"
)

// streamKind says which of a session's two streams is meant.
type streamKind uint8

const (
	messageStream streamKind = iota
	msgAppStream
)

// String returns the name of the stream in URLs.
func (k streamKind) String() string {
	if k == msgAppStream {
		return "msgapp"
	}
	return "message"
}

// An encoder writes messages in a stream's format. It has the state of one connection.
type encoder interface {
	// encode appends m to b.
	encode(b []byte, m *wire.Message) []byte
	// heartbeat appends the sign that the connection lives.
	heartbeat(b []byte) []byte
}

// A decoder reads what an encoder wrote. It has the state of one connection. After an error it must not be used again.
type decoder interface {
	// decode returns the next message; one that isLinkHeartbeat is no message of raft. It returns io.EOF at the end between two messages.
	decode() (wire.Message, error)
}

func newEncoder(k streamKind) encoder {
	if k == msgAppStream {
		return &msgAppEncoder{}
	}
	return messageEncoder{}
}

// newDecoder returns a decoder for a stream from one member to another.
func newDecoder(k streamKind, f *frames, from, to uint64) decoder {
	if k == msgAppStream {
		return &msgAppDecoder{f: f, from: from, to: to}
	}
	return messageDecoder{f}
}

// isLinkHeartbeat tells the sign of life of a connection from a leader's heartbeat, which has a sender.
func isLinkHeartbeat(m *wire.Message) bool {
	return m.Type == wire.MsgHeartbeat && m.From == 0 && m.To == 0
}

// messageEncoder writes each message behind its length.
type messageEncoder struct{}

func (messageEncoder) encode(b []byte, m *wire.Message) []byte {
	at := len(b)
	b = m.Append(append(b, 0, 0, 0, 0, 0, 0, 0, 0))
	binary.BigEndian.PutUint64(b[at:], uint64(len(b)-at-8))
	return b
}

func (e messageEncoder) heartbeat(b []byte) []byte {
	return e.encode(b, &wire.Message{Type: wire.MsgHeartbeat})
}

type messageDecoder struct{ f *frames }

func (d messageDecoder) decode() (wire.Message, error) {
	n, err := d.f.uint64()
	if err != nil {
		return wire.Message{}, err
	}
	return d.f.message(n, maxMessageBytes)
}

// message reads a message of n bytes.
func (f *frames) message(n, limit uint64) (m wire.Message, err error) {
	b, err := f.bytes(n, limit)
	if err != nil {
		return m, err
	}
	return m, m.Unmarshal(b)
}

// The first byte of what stands in a msgapp stream.
const (
	appHeartbeat byte = iota // nothing follows
	appEntries               // what follows the previous message: entries and commit index only
	appMessage               // a whole message
)

// logEnd is what both ends of a msgapp stream remember: where the entries sent so far end, and the leader's term. A MsgApp that
// begins there and has only entries of that term need not say so.
type logEnd struct{ term, index uint64 }

func (l *logEnd) note(m *wire.Message) {
	l.term, l.index = m.Term, m.Index
	if n := len(m.Entries); n > 0 {
		l.index = m.Entries[n-1].Index
	}
}

type msgAppEncoder struct{ end logEnd }

func (e *msgAppEncoder) heartbeat(b []byte) []byte { return append(b, appHeartbeat) }

func (e *msgAppEncoder) encode(b []byte, m *wire.Message) []byte {
	if m.Term == 0 || e.end.term != m.Term || m.LogTerm != m.Term || e.end.index != m.Index {
		e.end.note(m)
		return messageEncoder{}.encode(append(b, appMessage), m)
	}
	b = append(b, appEntries)
	b = binary.BigEndian.AppendUint64(b, uint64(len(m.Entries)))
	for i := range m.Entries {
		at := len(b)
		b = m.Entries[i].Append(append(b, 0, 0, 0, 0, 0, 0, 0, 0))
		binary.BigEndian.PutUint64(b[at:], uint64(len(b)-at-8))
	}
	e.end.index += uint64(len(m.Entries))
	return binary.BigEndian.AppendUint64(b, m.Commit)
}

type msgAppDecoder struct {
	f        *frames
	from, to uint64
	end      logEnd
}

func (d *msgAppDecoder) decode() (wire.Message, error) {
	kind, err := d.f.byte()
	if err != nil {
		return wire.Message{}, err
	}
	switch kind {
	case appHeartbeat:
		return wire.Message{Type: wire.MsgHeartbeat}, nil
	case appEntries:
		m, err := d.entries()
		return m, noEOF(err)
	case appMessage:
		m, err := d.message()
		return m, noEOF(err)
	}
	return wire.Message{}, fmt.Errorf("a msgapp stream has no kind %#x", kind)
}

func (d *msgAppDecoder) message() (wire.Message, error) {
	n, err := d.f.uint64()
	if err != nil {
		return wire.Message{}, err
	}
	m, err := d.f.message(n, maxMessageBytes)
	if err == nil && m.Type != wire.MsgApp {
		err = fmt.Errorf("message of type %d in a msgapp stream", m.Type)
	}
	if err == nil {
		d.end.note(&m)
	}
	return m, err
}

// entrySize is what an entry costs besides its data.
const entrySize = uint64(unsafe.Sizeof(wire.Entry{}))

func (d *msgAppDecoder) entries() (wire.Message, error) {
	if d.end.term == 0 {
		return wire.Message{}, fmt.Errorf("entries in a msgapp stream before a message that says where they begin")
	}
	m := wire.Message{Type: wire.MsgApp, From: d.from, To: d.to, Term: d.end.term, LogTerm: d.end.term, Index: d.end.index}
	count, err := d.f.uint64()
	if err != nil {
		return m, err
	}
	if count > maxMessageBytes/entrySize {
		return m, fmt.Errorf("message of %d entries, at most %d are accepted", count, maxMessageBytes/entrySize)
	}
	m.Entries = make([]wire.Entry, 0, min(count, 1024))
	left := uint64(maxMessageBytes)
	for range count {
		e, cost, err := d.entry(left)
		if err != nil {
			return m, err
		}
		m.Entries, left = append(m.Entries, e), left-min(left, cost)
	}
	if m.Commit, err = d.f.uint64(); err != nil {
		return m, err
	}
	d.end.index += count
	return m, nil
}

// entry reads one entry of at most left bytes and says what it cost.
func (d *msgAppDecoder) entry(left uint64) (e wire.Entry, cost uint64, err error) {
	n, err := d.f.uint64()
	if err != nil {
		return e, 0, err
	}
	b, err := d.f.bytes(n, left)
	if err != nil {
		return e, 0, noEOF(err)
	}
	return e, n + entrySize, e.Unmarshal(b)
}

// readEnvelope reads the message in front of a snapshot's file. It takes from r not a byte more.
func readEnvelope(r io.Reader) (m wire.Message, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return m, noEOF(err)
	}
	n := binary.BigEndian.Uint64(head[:])
	if n > maxEnvelopeBytes {
		return m, fmt.Errorf("snapshot message of %d bytes, at most %d are accepted", n, maxEnvelopeBytes)
	}
	return newFrames(io.LimitReader(r, int64(n))).message(n, n)
}

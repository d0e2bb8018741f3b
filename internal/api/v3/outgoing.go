package v3

import (
	"encoding/binary"
	"sync"

	"google.golang.org/grpc"
)

const (
	prefixBytes   = 5        // what gRPC puts before each message: whether it is compressed, and its length
	outgoingBytes = 64 << 10 // from here on what was gathered is sent
)

// Streams of many small messages look below the wrappings that interceptors have put around them for a transport that handles several at once.

// messageSender is a stream that takes many messages at once, each with its prefix. What it is given belongs to the caller again afterwards.
type messageSender interface {
	SendMessages(b []byte) error
}

// messageReceiver is a stream that hands over at once all messages that have arrived, without their prefixes.
type messageReceiver interface {
	RecvMessages(messages [][]byte) ([][]byte, error)
}

// incoming takes the messages of a stream. It belongs to the goroutine that receives.
type incoming struct {
	stream   grpc.ServerStream
	many     messageReceiver // nil if one message is handed over at a time
	counted  *countedStream  // may be nil
	messages [][]byte
}

func newIncoming(stream grpc.ServerStream) *incoming {
	i := &incoming{stream: stream, counted: countedOf(stream)}
	if i.counted == nil || !i.counted.apart {
		i.many, _ = grpc.ServerTransportStreamFromContext(stream.Context()).(messageReceiver)
	}
	return i
}

// next waits for messages and returns at least one. The list is good until the next call.
func (i *incoming) next() ([][]byte, error) {
	if i.many != nil {
		return i.nextOfMany()
	}
	in := new(frame)
	if err := i.stream.RecvMsg(in); err != nil {
		return nil, err
	}
	i.messages = append(i.messages[:0], in.bytes)
	return i.messages, nil
}

func (i *incoming) nextOfMany() (_ [][]byte, err error) {
	clear(i.messages)
	if s, ok := i.stream.(*streamWithContext); ok {
		var messages [][]byte // belong to what still receives if the context ends
		err := unless(s.ctx, func() (err error) {
			messages, err = i.receive(nil)
			return err
		})
		if err != nil {
			return nil, err
		}
		return messages, nil
	}
	i.messages, err = i.receive(i.messages[:0])
	return i.messages, err
}

func (i *incoming) receive(messages [][]byte) ([][]byte, error) {
	messages, err := i.many.RecvMessages(messages)
	i.counted.received(len(messages), err)
	return messages, err
}

// outgoing gathers the messages of a stream that are sent together. It belongs to the goroutine that sends.
//
// Invariant: b holds messages one behind the other, each with its prefix; ends[i] is the end of the i-th.
type outgoing struct {
	stream  grpc.ServerStream
	many    messageSender  // nil if the transport takes one message at a time, which it keeps
	counted *countedStream // may be nil
	large   *largeArrays
	b       []byte
	ends    []int
	much    bool // was sent last time
}

// largeArrays are for messages of more than twice outgoingBytes: streams share them, so that none holds one that it does not fill.
type largeArrays struct{ pool sync.Pool } // of *[]byte

// get returns an empty array, or nil.
func (l *largeArrays) get() []byte {
	if b, ok := l.pool.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return nil
}

func (l *largeArrays) put(b []byte) { l.pool.Put(&b) }

func newOutgoing(stream grpc.ServerStream, large *largeArrays) *outgoing {
	o := &outgoing{stream: stream, counted: countedOf(stream), large: large}
	if o.counted == nil || !o.counted.apart {
		o.many, _ = grpc.ServerTransportStreamFromContext(stream.Context()).(messageSender)
	}
	return o
}

func (o *outgoing) messages() int { return len(o.ends) }

func (o *outgoing) full() bool { return len(o.b) >= outgoingBytes }

// open is what the next message is to be appended to.
func (o *outgoing) open() []byte {
	if o.b == nil && o.much {
		o.b = o.large.get()
	}
	return append(o.b, make([]byte, prefixBytes)...)
}

// close takes what open has given, with a message behind it.
func (o *outgoing) close(b []byte) {
	prefix := b[len(o.b):]
	binary.BigEndian.PutUint32(prefix[1:], uint32(len(prefix)-prefixBytes))
	o.b, o.ends = b, append(o.ends, len(b))
}

// send sends the messages, if there are any, and forgets them.
func (o *outgoing) send() error {
	defer o.reset()
	if len(o.ends) == 0 {
		return nil
	}
	if o.many != nil {
		err := o.many.SendMessages(o.b)
		o.counted.sent(len(o.ends), err)
		return err
	}
	start := 0
	for _, end := range o.ends {
		if err := o.stream.SendMsg(&frame{bytes: o.b[start+prefixBytes : end : end]}); err != nil {
			return err
		}
		start = end
	}
	return nil
}

func (o *outgoing) reset() {
	o.ends, o.much = o.ends[:0], len(o.b) > 2*outgoingBytes
	switch {
	case o.many == nil && len(o.b) > 0:
		o.b = make([]byte, 0, min(len(o.b), outgoingBytes)) // the library has the old one
	case cap(o.b) > 2*outgoingBytes:
		o.large.put(o.b)
		o.b = nil
	default:
		o.b = o.b[:0]
	}
}

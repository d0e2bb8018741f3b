package v3

import (
	"context"
	"encoding/binary"

	"google.golang.org/grpc"
)

const (
	prefixBytes   = 5        // what gRPC puts before each message: whether it is compressed, and its length
	outgoingBytes = 64 << 10 // from here on what was gathered is sent
)

// messageSender is a stream that takes many messages at once, each with its prefix. What it is given belongs to the caller again afterwards.
type messageSender interface {
	SendMessages(b []byte) error
}

// outgoing gathers the messages of a stream that are sent together. It belongs to the goroutine that sends.
//
// Invariant: b holds messages one behind the other, each with its prefix; ends[i] is the end of the i-th.
type outgoing struct {
	stream grpc.ServerStream
	many   messageSender // nil if the transport takes one message at a time, which it keeps
	b      []byte
	ends   []int
}

func newOutgoing(stream grpc.ServerStream) *outgoing {
	return &outgoing{stream: stream, many: messageSenderOf(stream.Context())}
}

// messageSenderOf is the stream below all wrappings, if it can do that.
func messageSenderOf(ctx context.Context) messageSender {
	many, _ := grpc.ServerTransportStreamFromContext(ctx).(messageSender)
	return many
}

func (o *outgoing) messages() int { return len(o.ends) }

func (o *outgoing) full() bool { return len(o.b) >= outgoingBytes }

// open is what the next message is to be appended to.
func (o *outgoing) open() []byte { return append(o.b, make([]byte, prefixBytes)...) }

// close takes what open has given, with a message behind it.
func (o *outgoing) close(b []byte) {
	prefix := b[len(o.b):]
	binary.BigEndian.PutUint32(prefix[1:], uint32(len(prefix)-prefixBytes))
	o.b, o.ends = b, append(o.ends, len(b))
}

// send sends the messages and forgets them.
func (o *outgoing) send() error {
	defer o.reset()
	if o.many != nil {
		return o.many.SendMessages(o.b)
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
	o.ends = o.ends[:0]
	switch {
	case o.many == nil:
		o.b = make([]byte, 0, min(len(o.b), outgoingBytes)) // the library has the old one
	case cap(o.b) > 2*outgoingBytes:
		o.b = nil
	default:
		o.b = o.b[:0]
	}
}

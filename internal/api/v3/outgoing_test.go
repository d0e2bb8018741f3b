package v3

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// oneByOne is a stream that takes one message at a time and keeps it.
type oneByOne struct {
	grpc.ServerStream
	ctx  context.Context
	kept [][]byte
	err  error
}

func (s *oneByOne) Context() context.Context { return s.ctx }

func (s *oneByOne) SendMsg(m any) error {
	s.kept = append(s.kept, m.(*frame).bytes)
	return s.err
}

// allAtOnce is the stream of a transport that takes many.
type allAtOnce struct {
	calls int
	got   []string
}

func (*allAtOnce) Method() string               { return "" }
func (*allAtOnce) SetHeader(metadata.MD) error  { return nil }
func (*allAtOnce) SendHeader(metadata.MD) error { return nil }
func (*allAtOnce) SetTrailer(metadata.MD) error { return nil }

func (s *allAtOnce) SendMessages(b []byte) error {
	s.calls++
	for len(b) > 0 {
		n := prefixBytes + int(binary.BigEndian.Uint32(b[1:]))
		s.got = append(s.got, string(b[prefixBytes:n]))
		if b[0] != 0 {
			return errors.New("compressed")
		}
		b = b[n:]
	}
	return nil
}

// add gathers a message.
func (o *outgoing) add(message string) { o.close(append(o.open(), message...)) }

func TestOutgoingKeepsMessagesApart(t *testing.T) {
	one, all := &oneByOne{ctx: t.Context()}, &allAtOnce{}
	wrapped := &oneByOne{ctx: grpc.NewContextWithServerTransportStream(t.Context(), all)}
	var want []string
	for _, stream := range []*oneByOne{one, wrapped} {
		out := newOutgoing(stream, new(largeArrays))
		want = nil
		for round := range 50 {
			for n := range round % 4 {
				m := fmt.Sprint("message ", round, " ", n)
				want = append(want, m)
				out.add(m)
			}
			if out.messages() != round%4 {
				t.Fatalf("%d messages, want %d", out.messages(), round%4)
			}
			check(t, out.send())
		}
	}
	var got []string
	for _, b := range one.kept {
		got = append(got, string(b))
	}
	if !slices.Equal(got, want) {
		t.Errorf("one by one: %q", got)
	}
	if !slices.Equal(all.got, want) || len(wrapped.kept) != 0 || all.calls > 50 {
		t.Errorf("all at once, in %d calls: %q", all.calls, all.got)
	}
}

func TestOutgoingIsBounded(t *testing.T) {
	out := newOutgoing(&oneByOne{ctx: t.Context(), err: errors.New("gone")}, new(largeArrays))
	n := 0
	for ; !out.full(); n++ {
		out.add(string(make([]byte, 1000)))
	}
	if n != outgoingBytes/1005+1 {
		t.Errorf("full after %d messages", n)
	}
	if err := out.send(); err == nil || err.Error() != "gone" {
		t.Errorf("sent: %v", err)
	}
	if out.messages() != 0 || out.full() {
		t.Error("what was not sent is still there")
	}
}

// TestLargeMessagesShareArrays: no stream keeps the array of a large message, another fills it again, and sends nothing of what was in it.
func TestLargeMessagesShareArrays(t *testing.T) {
	large, all := new(largeArrays), &allAtOnce{}
	stream := &oneByOne{ctx: grpc.NewContextWithServerTransportStream(t.Context(), all)}
	streams := []*outgoing{newOutgoing(stream, large), newOutgoing(stream, large)}
	arrays, rounds := map[*byte]bool{}, 50
	var want []string
	for i := range rounds {
		out := streams[i%2]
		m := strings.Repeat(fmt.Sprint(i%10), 3*outgoingBytes)
		want = append(want, m)
		out.add(m)
		arrays[&out.b[0]] = true
		check(t, out.send())
		if streams[0].b != nil || streams[1].b != nil {
			t.Fatal("a stream keeps the array")
		}
	}
	if !slices.Equal(all.got, want) {
		t.Error("messages are mixed up")
	}
	if len(arrays) > rounds/2 { // the race detector has pools forget some
		t.Errorf("%d arrays for %d messages", len(arrays), rounds)
	}
}

// TestNothingToSendKeepsNothing: a stream whose last message was large takes an array, and gives it back if there is nothing to put into it.
func TestNothingToSendKeepsNothing(t *testing.T) {
	large := new(largeArrays)
	out := newOutgoing(&oneByOne{ctx: grpc.NewContextWithServerTransportStream(t.Context(), &allAtOnce{})}, large)
	out.add(string(make([]byte, 3*outgoingBytes)))
	check(t, out.send())
	for range 10 {
		large.put(make([]byte, 0, 3*outgoingBytes))
	}
	out.open()
	check(t, out.send())
	if cap(out.b) > 2*outgoingBytes {
		t.Errorf("the stream keeps %d bytes", cap(out.b))
	}
}

// tally counts messages.
type tally struct{ received, sent int }

func (c *tally) Received(n int) { c.received += n }
func (c *tally) Sent(n int)     { c.sent += n }

// RecvMessages hands over three messages and then fails.
func (s *allAtOnce) RecvMessages(messages [][]byte) ([][]byte, error) {
	if s.calls++; s.calls > 1 {
		return messages, errors.New("broken")
	}
	return append(messages, []byte("a"), []byte("b"), []byte("c")), nil
}

// What goes together is counted as it would be one by one, and does not go together if interceptors have to see it.
func TestTogetherIsCounted(t *testing.T) {
	var counts tally
	var failed []string
	opts := Options{
		CountMessages: func(string) MessageCounts { return &counts },
		StreamFailed:  func(doing, _ string) { failed = append(failed, doing) },
	}
	for _, apart := range []bool{false, true} {
		opts.InterceptAll = apart
		all := &allAtOnce{}
		stream := &oneByOne{ctx: grpc.NewContextWithServerTransportStream(t.Context(), all)}
		info := &grpc.StreamServerInfo{FullMethod: "/etcdserverpb.Watch/Watch"}
		check(t, opts.countStreams(nil, stream, info, func(_ any, s grpc.ServerStream) error {
			s = &streamWithContext{s, s.Context()}
			out, in := newOutgoing(s, new(largeArrays)), newIncoming(s)
			if (out.many == nil) != apart || (in.many == nil) != apart {
				t.Errorf("apart %v: %v, %v", apart, out.many, in.many)
			}
			out.add("x")
			out.add("y")
			check(t, out.send())
			all.calls = 0
			if !apart {
				got, err := in.next()
				if check(t, err); len(got) != 3 {
					t.Errorf("received %q", got)
				}
				if _, err := in.next(); err == nil {
					t.Error("the failure is lost")
				}
			}
			return nil
		}))
	}
	if counts != (tally{received: 3, sent: 2}) || !slices.Equal(failed, []string{"receive"}) {
		t.Errorf("counted %+v, failed %q", counts, failed)
	}
}

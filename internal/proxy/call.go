package proxy

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// edit changes the messages of a method on their way; a nil function leaves them as they are. The functions keep nothing of what they are
// given.
type edit struct{ request, answer func([]byte) ([]byte, error) }

// serve is the handler of all calls.
func (r *Relay) serve(_ any, client grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(client) // gRPC knows the method of every stream that it hands out
	counts := r.counts.start(method)
	err := r.answer(method, counted{client, counts})
	counts.done(err)
	return err
}

func (r *Relay) answer(method string, client grpc.ServerStream) error {
	switch {
	case method == memberListMethod && r.roll != nil:
		return r.roll.answer(client)
	case r.ordered[method] != nil:
		return r.forwardOrdered(method, client)
	case r.methods[method].single:
		return r.forwardSingle(method, client)
	}
	return r.forward(method, client)
}

// forwardSingle passes on a call with one request.
func (r *Relay) forwardSingle(method string, client grpc.ServerStream) error {
	req, err := r.request(method, client)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(outgoing(client.Context()))
	defer cancel()
	member, err := r.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method, grpc.ForceCodecV2(frameCodec{}))
	if err == nil {
		err = member.SendMsg(&req)
	}
	req.free()
	if err != nil && !errors.Is(err, io.EOF) { // the member has ended the call, and says why to who receives
		return err
	}
	return passDown(member, client, r.edits[method].answer)
}

// request returns the only request of a call as the member is to see it.
func (r *Relay) request(method string, client grpc.ServerStream) (req frame, err error) {
	switch err := client.RecvMsg(&req); {
	case errors.Is(err, io.EOF):
		return req, status.Error(codes.Internal, "cardinality violation: received no request message from non-client-streaming RPC")
	case err != nil:
		return req, err
	}
	if err = req.change(r.edits[method].request); err != nil {
		req.free()
	}
	return req, err
}

// forward passes a call on to a member, and what the member says to the client. It ends when both have; what the client had said before that
// and was not passed on by then is dropped.
func (r *Relay) forward(method string, client grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(outgoing(client.Context()))
	defer cancel()
	member, err := r.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, grpc.ForceCodecV2(frameCodec{}))
	if err != nil {
		return err
	}
	refused := make(chan error, 1)
	r.calls.Go(func() {
		if err := passUp(client, member, r.edits[method].request); err != nil {
			refused <- err
			cancel()
		}
	})
	err = passDown(member, client, r.edits[method].answer)
	select {
	case why := <-refused:
		return why
	default:
		return err
	}
}

// passUp passes on what the client sends until it has nothing more to send. nil: the call goes on, or its end is known to the other direction.
func passUp(client grpc.ServerStream, member grpc.ClientStream, change func([]byte) ([]byte, error)) error {
	for {
		var f frame
		if err := client.RecvMsg(&f); errors.Is(err, io.EOF) {
			return member.CloseSend()
		} else if err != nil {
			return err
		}
		err := f.change(change)
		if err == nil {
			err = member.SendMsg(&f)
		}
		f.free()
		if errors.Is(err, io.EOF) {
			return nil // the member has ended the call, and says why to who receives
		} else if err != nil {
			return err
		}
	}
}

// passDown passes on what the member answers, its metadata and the status it ends with.
func passDown(member grpc.ClientStream, client grpc.ServerStream, change func([]byte) ([]byte, error)) error {
	if header, err := member.Header(); err == nil && header != nil {
		if err := client.SendHeader(header); err != nil {
			return err
		}
	}
	for {
		var f frame
		if err := member.RecvMsg(&f); err != nil {
			client.SetTrailer(member.Trailer())
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		err := f.change(change)
		if err == nil {
			err = client.SendMsg(&f)
		}
		f.free()
		if err != nil {
			return err
		}
	}
}

// outgoing returns the context of a call to a member for that of a client's: same metadata, deadline and end.
func outgoing(ctx context.Context) context.Context {
	md, _ := metadata.FromIncomingContext(ctx) // a copy
	for _, ofConnection := range []string{":authority", "content-type", "user-agent", "grpc-accept-encoding"} {
		delete(md, ofConnection)
	}
	return metadata.NewOutgoingContext(ctx, md)
}

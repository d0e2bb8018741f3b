package v3

import (
	"google.golang.org/grpc"

	"github.com/quoin-kv/quoin/internal/service"
)

// leaseStreams answers keep-alives in the order of the requests. Those that have arrived together are answered together, unless one has to wait.
func leaseStreams(svc *service.Service) map[string]grpc.StreamHandler {
	large := new(largeArrays)
	return map[string]grpc.StreamHandler{"LeaseKeepAlive": func(_ any, stream grpc.ServerStream) error {
		in, out := newIncoming(stream), newOutgoing(stream, large)
		for {
			requests, err := in.next()
			if err != nil {
				return endOfStream(err)
			}
			for _, request := range requests {
				if err := keepAlive(svc, request, out); err != nil {
					return err
				}
			}
			if err := out.send(); err != nil {
				return err
			}
		}
	}}
}

// keepAlive answers one request. What was gathered before does not wait for it.
func keepAlive(svc *service.Service, request []byte, out *outgoing) error {
	reply, ok := svc.TryKeepAlive(out.open(), request)
	if ok {
		out.close(reply)
		return nil
	}
	if err := out.send(); err != nil {
		return err
	}
	reply, err := svc.LeaseKeepAlive(out.stream.Context(), request)
	if err != nil {
		return toStreamStatus(err)
	}
	out.close(append(out.open(), reply...))
	return nil
}

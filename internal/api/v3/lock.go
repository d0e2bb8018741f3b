package v3

import (
	"context"

	"google.golang.org/grpc"

	"github.com/quoin-kv/quoin/internal/lock"
	"github.com/quoin-kv/quoin/internal/service"
)

// Names of the services whose messages exist as bytes only.
const (
	lockService     = "v3lockpb.Lock"
	electionService = "v3electionpb.Election"
)

// registerQueues adds the services Lock and Election. Each of their calls is made of calls of package service, which decides on them.
func registerQueues(server grpc.ServiceRegistrar, svc *service.Service) {
	q := lock.New(svc)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: lockService, HandlerType: (*any)(nil), Metadata: "v3lock.proto",
		Methods: queueMethods(lockService, map[string]wireCall{"Lock": q.Lock, "Unlock": q.Unlock}),
	}, q)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: electionService, HandlerType: (*any)(nil), Metadata: "v3election.proto",
		Methods: queueMethods(electionService, map[string]wireCall{
			"Campaign": q.Campaign, "Proclaim": q.Proclaim, "Leader": q.Leader, "Resign": q.Resign,
		}),
		Streams: []grpc.StreamDesc{{StreamName: "Observe", ServerStreams: true, Handler: observe(q)}},
	}, q)
}

// wireCall is a unary call whose answers are small.
type wireCall = func(ctx context.Context, request []byte) ([]byte, error)

func queueMethods(name string, calls map[string]wireCall) (methods []grpc.MethodDesc) {
	for method, call := range calls {
		methods = append(methods, grpc.MethodDesc{MethodName: method, Handler: bytesHandler("/"+name+"/"+method, small(call))})
	}
	return methods
}

// waitsForOthers reports whether a call may take as long as others hold what it asks for.
func waitsForOthers(method string) bool {
	return method == "/"+lockService+"/Lock" || method == "/"+electionService+"/Campaign"
}

func observe(q *lock.Queues) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		in := new(frame)
		if err := stream.RecvMsg(in); err != nil {
			return err
		}
		return toStreamStatus(q.Observe(stream.Context(), in.bytes, func(reply []byte) error {
			return stream.SendMsg(&frame{bytes: reply})
		}))
	}
}

package ops

import (
	"context"
	"net/http"
	"net/http/pprof"

	"golang.org/x/net/trace"
	"google.golang.org/grpc"
)

// RegisterPprof adds /debug/pprof/.
func RegisterPprof(mux *http.ServeMux) {
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
}

// RegisterCalls adds /debug/requests, which shows the calls that NoteUnary and NoteStream note, and /debug/events. Both answer requests from
// this machine only.
func RegisterCalls(mux *http.ServeMux) {
	mux.HandleFunc("/debug/requests", trace.Traces)
	mux.HandleFunc("/debug/events", trace.Events)
}

// callFamily is the heading under which calls are shown.
const callFamily = "grpc.Recv"

// NoteUnary notes a call for /debug/requests. It costs enough to be left out unless somebody debugs.
func NoteUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	call := trace.New(callFamily+"."+info.FullMethod, info.FullMethod)
	defer call.Finish()
	resp, err := handler(trace.NewContext(ctx, call), req)
	noteError(call, err)
	return resp, err
}

// NoteStream is NoteUnary for streams.
func NoteStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	call := trace.New(callFamily+"."+info.FullMethod, info.FullMethod)
	defer call.Finish()
	err := handler(srv, stream)
	noteError(call, err)
	return err
}

func noteError(call trace.Trace, err error) {
	if err != nil {
		call.LazyPrintf("%v", err)
		call.SetError()
	}
}

package grpcwire

import (
	"time"

	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// callStats tells a stats.Handler what happens to a call.
type callStats struct {
	handler stats.Handler
	call    *call
	begun   time.Time
}

// newCallStats tells of the beginning, and gives the call the context that the handler wants it to have.
func newCallStats(h stats.Handler, t *call) *callStats {
	s := &callStats{handler: h, call: t, begun: time.Now()}
	t.ctx = h.TagRPC(t.ctx, &stats.RPCTagInfo{FullMethodName: t.head.path})
	d := t.head.method.desc()
	h.HandleRPC(t.ctx, &stats.InHeader{
		FullMethod: t.head.path, RemoteAddr: t.conn.net.RemoteAddr(), LocalAddr: t.conn.net.LocalAddr(), Compression: t.head.encoding,
		Header: t.head.metadata().Copy(),
	})
	h.HandleRPC(t.ctx, &stats.Begin{BeginTime: s.begun, IsClientStream: d.ClientStreams, IsServerStream: d.ServerStreams})
	return s
}

func (s *callStats) received(m any, wire, length int) {
	s.handler.HandleRPC(s.call.ctx, &stats.InPayload{
		Payload: m, Length: length, CompressedLength: wire, WireLength: wire + prefixBytes, RecvTime: time.Now(),
	})
}

func (s *callStats) sent(m any, wire, length int) {
	s.handler.HandleRPC(s.call.ctx, &stats.OutPayload{
		Payload: m, Length: length, CompressedLength: wire, WireLength: wire + prefixBytes, SentTime: time.Now(),
	})
}

func (s *callStats) end(st *status.Status) {
	s.handler.HandleRPC(s.call.ctx, &stats.OutTrailer{})
	end := &stats.End{BeginTime: s.begun, EndTime: time.Now()}
	if st != nil && st.Err() != nil {
		end.Error = st.Err()
	}
	s.handler.HandleRPC(s.call.ctx, end)
}

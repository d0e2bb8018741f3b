package grpcwire

// MessageStream is what a streaming call of a Server is besides a grpc.ServerStream, for handlers with many small messages: one lock, one
// wake-up and one piece of the connection's buffer for all of them. The handler finds it, whatever interceptors have wrapped the stream in, by
// grpc.ServerTransportStreamFromContext(stream.Context()). Interceptors and Stats do not hear of what goes this way: the handler counts it.
type MessageStream interface {
	// SendMessages sends messages that stand one behind the other in b, each after the prefix of five bytes that gRPC gives it, not compressed.
	// It waits as SendMsg does, and must not be called at the same time as that; b belongs to the caller again when it returns.
	SendMessages(b []byte) error
	// RecvMessages waits for a message and appends it and all others that have arrived, without their prefixes, to messages. Their bytes
	// belong to the caller. The error is that of RecvMsg, which must not be called at the same time.
	RecvMessages(messages [][]byte) ([][]byte, error)
}

// SendMessages sends messages with their prefixes: few are copied, many written from where they are.
func (t *transportStream) SendMessages(b []byte) error {
	if len(b) > queueMax {
		return (*call)(t).sendPiece(piece{data: b, lend: true}, "", 0)
	}
	return (*call)(t).sendPiece(piece{data: b, borrowed: true}, "", queueMax)
}

// RecvMessages receives all messages that have arrived.
func (t *transportStream) RecvMessages(messages [][]byte) ([][]byte, error) {
	full := (*call)(t)
	if err := full.awaitMessage(); err != nil {
		return messages, err
	}
	c := full.conn
	c.mu.Lock()
	list := full.takeAll()
	c.unlock()
	for _, m := range list {
		data, err := full.plain(m)
		if err != nil {
			return messages, err
		}
		messages = append(messages, data)
	}
	return messages, nil
}

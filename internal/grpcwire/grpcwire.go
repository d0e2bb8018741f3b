// Package grpcwire is the server side of gRPC over HTTP/2.
//
// Services with generated descriptors register as with any grpc.ServiceRegistrar, and their handlers see what they always see. What is
// different is the cost of a call: frames are read many at a time and decoded in place, answers of a connection are gathered into one write,
// and methods that are worth it are served without a goroutine, a context or a map each (see DirectHandler).
package grpcwire

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/stats"
)

// Options say how a Server serves.
type Options struct {
	Codec encoding.CodecV2 // of messages of ordinary calls; must not be nil
	// Unary and Stream are called one within the other, the first one outermost.
	Unary  []grpc.UnaryServerInterceptor
	Stream []grpc.StreamServerInterceptor
	// Stats is told about calls and connections; may be nil. With it, no call is served on the direct path.
	Stats stats.Handler
	// Credentials take an accepted connection through its handshake, or tell what it has come through; nil: nothing is known of it.
	Credentials credentials.TransportCredentials
	Limits      Limits
}

// Limits bound what a connection may do. Zero fields take the values that the comments name.
type Limits struct {
	ReceiveBytes    int           // of a message received; 4 MiB
	SendBytes       int           // of a message sent; 2 GiB - 1
	Streams         uint32        // calls under way on a connection; 65,536
	HeaderListBytes uint32        // of a request's metadata, as RFC 9113 counts them; 64 KiB
	HandshakeTime   time.Duration // from acceptance to the client's settings; 10 s

	KeepAliveMinTime  time.Duration // a client that pings more often is cut off; 5 min
	KeepAliveInterval time.Duration // without a word from the client before we ping; 0: never
	KeepAliveTimeout  time.Duration // for a word after our ping; 20 s
}

// Package wire holds our own server side of gRPC (internal/grpcwire) against what others have written to judge such servers: the conformance
// suite of HTTP/2 and the interoperability tests of gRPC.
package wire

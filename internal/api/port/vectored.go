package port

import "net"

// vectored is a connection that hands many pieces on at once, if the socket below takes them.
type vectored interface {
	WriteBuffers(pieces *net.Buffers) (int64, error)
	Vectored() bool
}

// writeBuffers writes pieces to a connection, in one system call where it can.
func writeBuffers(conn net.Conn, pieces *net.Buffers) (int64, error) {
	if v, ok := conn.(vectored); ok {
		return v.WriteBuffers(pieces)
	}
	return pieces.WriteTo(conn)
}

// isVectored reports whether writeBuffers is one system call. With TLS it is not.
func isVectored(conn net.Conn) bool {
	switch c := conn.(type) {
	case vectored:
		return c.Vectored()
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

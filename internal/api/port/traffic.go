package port

import "net"

// Count returns l with the bytes that its connections carry reported: one call for each read or write of a connection, from many
// goroutines. The functions must not block.
func Count(l net.Listener, received, sent func(bytes int)) net.Listener {
	return &countedListener{l, received, sent}
}

type countedListener struct {
	net.Listener
	received, sent func(int)
}

func (l *countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &counted{conn, l}, nil
}

type counted struct {
	net.Conn
	to *countedListener
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.to.received(n)
	return n, err
}

// Write counts before it writes: whoever has an answer finds it counted.
func (c *counted) Write(p []byte) (int, error) {
	c.to.sent(len(p))
	return c.Conn.Write(p)
}

// WriteBuffers is Write of many pieces.
func (c *counted) WriteBuffers(pieces *net.Buffers) (int64, error) {
	bytes := 0
	for _, p := range *pieces {
		bytes += len(p)
	}
	c.to.sent(bytes)
	return writeBuffers(c.Conn, pieces)
}

// Vectored reports whether WriteBuffers is one system call.
func (c *counted) Vectored() bool { return isVectored(c.Conn) }

// NetConn returns the connection whose bytes are counted.
func (c *counted) NetConn() net.Conn { return c.Conn }

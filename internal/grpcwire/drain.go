package grpcwire

import (
	"math"
	"time"

	"golang.org/x/net/http2"
)

// drainState is how far a connection is on its way to its end (RFC 9113, section 6.8): first the client hears that there will be an end, so that it
// opens no more streams; when it has surely heard, the streams that it has opened are the last ones.
type drainState uint8

const (
	drainNone drainState = iota
	drainSaid            // the client may still open streams
	drainLast            // it may not
)

const (
	drainPing = "quoin-by"
	// drainPatience is how long a client may take to answer drainPing.
	drainPatience = 5 * time.Second
)

// beginDrain lets the calls under way end and then closes the connection.
func (c *conn) beginDrain() {
	c.mu.Lock()
	if c.mu.drain == drainNone && !c.mu.gone {
		c.mu.drain = drainSaid
		c.mu.out = appendGoAway(c.mu.out, math.MaxInt32, http2.ErrCodeNo, "graceful_stop")
		c.mu.out = appendPing(c.mu.out, 0, []byte(drainPing))
		c.mu.drainTimer = time.AfterFunc(drainPatience, func() {
			c.mu.Lock()
			c.drained()
			c.unlock()
		})
	}
	c.unlock()
}

// drained says which streams are the last ones. c.mu is held.
func (c *conn) drained() {
	if c.mu.drain != drainSaid || c.mu.gone {
		return
	}
	c.mu.drain = drainLast
	c.mu.out = appendGoAway(c.mu.out, c.mu.last, http2.ErrCodeNo, "graceful_stop")
	c.checkDrained()
}

// isDrained reports whether no call is left of a connection that lets none in. c.mu is held.
func (c *conn) isDrained() bool { return c.mu.drain == drainLast && c.mu.table.count == 0 }

// checkDrained ends the connection when its last call has been answered. c.mu is held.
func (c *conn) checkDrained() {
	if c.isDrained() && !c.mu.gone {
		_ = c.net.SetReadDeadline(time.Unix(1, 0)) // for the reading goroutine to end
	}
}

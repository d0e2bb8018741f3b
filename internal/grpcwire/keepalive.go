package grpcwire

import (
	"time"

	"golang.org/x/net/http2"
)

const (
	strikesMax = 2             // pings too many before a client is cut off
	idlePings  = 2 * time.Hour // the least time between pings of a client without calls
	ourPing    = "quoin-up"
)

// keepAlive watches over the pings of both sides.
type keepAlive struct {
	reads    int // of the connection, so far
	seen     int // as many had been at the last look
	asked    bool
	alarm    *time.Timer
	strikes  int // pings that came too early since we sent something
	free     bool
	lastPing time.Time
}

// pinged judges a client's ping. One after an answer is free.
func (c *conn) pinged() error {
	k := &c.mu.keepAlive
	now := time.Now()
	last := k.lastPing
	k.lastPing = now
	if k.free {
		k.free, k.strikes = false, 0
		return nil
	}
	pause := c.server.limits.KeepAliveMinTime
	if c.mu.table.count == 0 {
		pause = idlePings
	}
	if last.IsZero() || now.Sub(last) >= pause {
		return c.spend(1)
	}
	if k.strikes++; k.strikes > strikesMax {
		return connError{http2.ErrCodeEnhanceYourCalm, "too_many_pings"}
	}
	return nil
}

// startKeepAlive pings clients that say nothing for long, and gives up those that do not answer.
func (c *conn) startKeepAlive() {
	if interval := c.server.limits.KeepAliveInterval; interval > 0 {
		c.mu.Lock()
		c.mu.alarm = time.AfterFunc(interval, c.look)
		c.mu.Unlock()
	}
}

// look looks whether something has come since the last time.
func (c *conn) look() {
	k := &c.mu.keepAlive
	c.mu.Lock()
	silent := k.seen == k.reads
	k.seen = k.reads
	switch {
	case c.mu.gone:
	case !silent:
		k.asked = false
		k.alarm.Reset(c.server.limits.KeepAliveInterval)
	case k.asked:
		c.mu.Unlock()
		_ = c.net.Close() // for the reading goroutine to see
		return
	default:
		k.asked = true
		c.mu.out = appendPing(c.mu.out, 0, []byte(ourPing))
		k.alarm.Reset(c.server.limits.KeepAliveTimeout)
	}
	c.unlock()
}

// stopTimers stops what the connection has set to happen later. c.mu is held.
func (c *conn) stopTimers() {
	for _, t := range []*time.Timer{c.mu.alarm, c.mu.deadlines.timer, c.mu.drainTimer} {
		if t != nil {
			t.Stop()
		}
	}
}

package grpcwire

import (
	"time"

	"golang.org/x/net/http2"
)

// Bounds of frames that bring nobody forward: resets, settings, acknowledgements, empty data and the like. A connection has a store of
// them that fills up with time, and with every call that is answered.
const (
	patienceMax    = 10000
	patiencePerSec = 1000
)

// patience is what a client has left.
type patience struct {
	tokens int
	filled time.Time
}

// spend takes n from the store. A client that has used it up is cut off.
func (c *conn) spend(n int) error {
	p := &c.mu.patience
	if p.tokens -= n; p.tokens >= 0 {
		return nil
	}
	now := time.Now()
	if p.filled.IsZero() {
		p.filled = now.Add(-time.Second) // the first time
	}
	if more := int(min(now.Sub(p.filled), patienceMax*time.Second) * patiencePerSec / time.Second); more > 0 {
		p.tokens = min(p.tokens+more, patienceMax)
		p.filled = now
	}
	if p.tokens < 0 {
		return connError{http2.ErrCodeEnhanceYourCalm, "too many frames of no use"}
	}
	return nil
}

// reward gives some back for a call that has been answered.
func (c *conn) reward() {
	if c.mu.tokens < patienceMax {
		c.mu.tokens++
	}
}

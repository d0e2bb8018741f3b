package node

import (
	"time"

	"github.com/quoin-kv/quoin/internal/schema"
)

// How the database file is read again.
const (
	verifyStep     = 10 * time.Second
	verifyBytesMin = 256 << 10 // of a step
)

// runVerifier reads the whole database file once in VerifyPeriod, a little at a time, so that damage to what nobody asks for is found while
// there are members with the right data. And it ends the node when the file is damaged, whoever met it.
func (n *Node) runVerifier() {
	ticker := time.NewTicker(verifyStep)
	defer ticker.Stop()
	var next schema.Rev
	for {
		select {
		case <-n.cfg.Backend.Damaged():
			n.fail(failed("database file", n.cfg.Backend.Damage()))
			return
		case <-ticker.C:
			if n.cfg.VerifyPeriod > 0 {
				next = n.verify(next)
			}
		case <-n.ctx.Done():
			return
		}
	}
}

// verify reads the next part of the file. What it meets, Damaged tells.
func (n *Node) verify(from schema.Rev) (next schema.Rev) {
	share := float64(n.cfg.Backend.Sizes().InUseBytes) * float64(verifyStep) / float64(n.cfg.VerifyPeriod)
	next, done, err := n.cfg.Backend.Verify(from, max(verifyBytesMin, int64(share)))
	if done && err == nil {
		n.cfg.Logger.Debug("database file verified")
	}
	return next
}

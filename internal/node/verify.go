package node

import (
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/wal"
)

// How the database file is read again.
const (
	verifyStep     = 10 * time.Second
	verifyBytesMin = 256 << 10 // of a step
)

// runVerifier reads the whole database file once in VerifyPeriod, a little at a time, so that damage to what nobody asks for is found while
// there are members with the right data; likewise the segments of the log. And it ends the node when file or log are damaged, whoever met it.
func (n *Node) runVerifier() {
	ticker := time.NewTicker(verifyStep)
	defer ticker.Stop()
	var next schema.Rev
	var log logVerifier
	for {
		select {
		case <-n.cfg.Backend.Damaged():
			n.fail(failed("database file", n.cfg.Backend.Damage()))
			return
		case <-ticker.C:
			if n.cfg.VerifyPeriod > 0 {
				next = n.verify(next)
				if err := log.verify(n.cfg.Log, n.cfg.VerifyPeriod); err != nil {
					n.fail(failed("write-ahead log", err))
					return
				}
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

// logVerifier reads the log segments again that are not written any more, one after the other.
type logVerifier struct {
	last  uint64        // the segment that was read last
	owing time.Duration // that has passed since then
}

// verify reads the next segment if its turn has come: each has one in a period.
func (v *logVerifier) verify(log *wal.Log, period time.Duration) error {
	sealed := log.Sealed()
	if v.owing += verifyStep; len(sealed) == 0 || v.owing < period/time.Duration(len(sealed)) {
		return nil
	}
	v.owing = 0
	at := slices.IndexFunc(sealed, func(seq uint64) bool { return seq > v.last })
	v.last = sealed[max(0, at)]
	return log.Verify(v.last)
}

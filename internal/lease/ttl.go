package lease

import (
	"math"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// MaxTTL is the greatest TTL that can be granted, in seconds.
const MaxTTL int64 = 9_000_000_000

// MinTTL is the least TTL that is granted, in seconds: one and a half election
// timeouts, which are counted in whole ticks, rounded up. A lease outlives a
// change of leader with it.
func MinTTL(electionTicks int, tick time.Duration) int64 {
	least := time.Duration(electionTicks*3/2) * tick
	return int64((least + time.Second - 1) / time.Second)
}

// GrantedTTL returns the TTL that is granted for a wanted one: at least
// minTTL. Error: LeaseTTLTooLarge.
func GrantedTTL(wanted, minTTL int64) (int64, error) {
	if wanted > MaxTTL {
		return 0, kverr.LeaseTTLTooLarge
	}
	return max(wanted, minTTL), nil
}

// never is a deadline that no clock reaches.
const never int64 = math.MaxInt64

// after returns the time ttl seconds after now. It does not overflow: a TTL
// beyond the clock's range never ends.
func after(now, ttl int64) int64 {
	if ttl > (never-now)/int64(time.Second) {
		return never
	}
	return now + max(ttl, 0)*int64(time.Second)
}

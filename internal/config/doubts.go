package config

import (
	"log/slog"
	"strconv"
)

// Values beyond which a member works but nobody has much experience, and the range of bcrypt's cost.
const (
	largeQuotaBytes   = 8 << 30
	largeRequestBytes = 10 << 20
	minBcryptCost     = 4
	maxBcryptCost     = 31
	defaultBcryptCost = 10
)

// doubts says what is allowed but hardly meant, of what was given.
func (c *Config) doubts() (notices []Notice) {
	warn := func(text string, fields ...any) {
		notices = append(notices, Notice{slog.LevelWarn, text, fields})
	}
	if c.Name == "default" {
		warn("the name is left at its default; the members of a cluster need names of their own, see --name", "name", c.Name)
	}
	if c.QuotaBytes > largeQuotaBytes {
		warn("quota exceeds the maximum value", "quota-size-bytes", c.QuotaBytes, "quota-maximum-size-bytes", int64(largeQuotaBytes))
	}
	if c.MaxRequestBytes > largeRequestBytes {
		warn("exceeded recommended request limit", "max-request-bytes", c.MaxRequestBytes, "recommended-request-bytes", largeRequestBytes)
	}
	if !c.validCost() {
		warn("use default bcrypt cost instead of the invalid given cost", "min-cost", minBcryptCost, "max-cost", maxBcryptCost, "default-cost", defaultBcryptCost, "given-cost", c.BcryptCost)
	}
	if _, err := strconv.ParseInt(c.AutoCompactionRetention, 10, 64); err != nil && c.AutoCompactionMode == compactRevision {
		warn("auto-compaction-retention is a duration, but counts revisions with auto-compaction-mode revision: so many are never reached", "auto-compaction-retention", c.AutoCompactionRetention)
	}
	if c.FreelistType != "map" && c.FreelistType != "array" {
		warn("unknown --backend-bbolt-freelist-type counts as map", "backend-bbolt-freelist-type", c.FreelistType)
	}
	if c.Metrics != "basic" && c.Metrics != "extensive" {
		warn("unknown --metrics counts as basic", "metrics", c.Metrics)
	}
	for _, g := range Gates() {
		if _, given := c.Features.given[g.Name]; given && g.Idle != "" {
			warn("this feature gate has no effect", "gate", g.Name, "reason", g.Idle)
		}
	}
	return notices
}

func (c *Config) validCost() bool {
	return c.BcryptCost >= minBcryptCost && c.BcryptCost <= maxBcryptCost
}

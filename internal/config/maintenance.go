package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Modes of automatic compaction.
const (
	compactPeriodic = "periodic"
	compactRevision = "revision"
)

// AutoCompaction says what automatic compaction keeps: with mode "periodic" the history of a period, with "revision" a number of revisions.
// Mode "" is no automatic compaction.
func (c *Config) AutoCompaction() (mode string, period time.Duration, revisions int64) {
	n, err := retention(c.AutoCompactionMode, c.AutoCompactionRetention)
	switch {
	case err != nil || n <= 0:
		return "", 0, 0
	case c.AutoCompactionMode == compactRevision:
		return compactRevision, 0, n
	}
	return compactPeriodic, time.Duration(n), 0
}

// retention reads a number of revisions, or of nanoseconds: a bare number counts hours.
func retention(mode, s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		if mode == compactPeriodic {
			n = min(n, int64(maxRetention/time.Hour)) * int64(time.Hour)
		}
		return n, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("error parsing CompactionRetention: %w", err)
	}
	return int64(d), nil
}

// maxRetention is the longest period that fits.
const maxRetention = time.Duration(1<<63 - 1)

// millionth is the unit of the share of spans that are kept.
const millionth = 1_000_000

func (c *Config) checkMaintenance() error {
	switch c.AutoCompactionMode {
	case compactPeriodic, compactRevision:
	case "":
		return errors.New("undefined auto-compaction-mode")
	default:
		return fmt.Errorf("unknown auto-compaction-mode %q", c.AutoCompactionMode)
	}
	if _, err := retention(c.AutoCompactionMode, c.AutoCompactionRetention); err != nil {
		return err
	}
	switch {
	case c.CompactHashCheckTime <= 0:
		return fmt.Errorf("--compact-hash-check-time must be >0 (set to %s)", c.CompactHashCheckTime)
	case c.AutoDefragPercent > 100:
		return fmt.Errorf("--auto-defrag-percent must be at most 100 (set to %d)", c.AutoDefragPercent)
	case c.Tracing.Enabled && c.Tracing.SamplingRate < 0:
		return errors.New("distributed tracing configurition is not valid: (tracing sampling rate must be positive)")
	case c.Tracing.Enabled && c.Tracing.SamplingRate > millionth:
		return errors.New("distributed tracing configurition is not valid: (tracing sampling rate must be less than 1000000)")
	case !strings.HasSuffix(c.V2Prefix, "/"):
		return fmt.Errorf("--v2-prefix must end with a slash (set to %q)", c.V2Prefix)
	case c.RangeBudgetBytes < 0:
		return fmt.Errorf("--range-budget-bytes must not be negative (set to %d)", c.RangeBudgetBytes)
	}
	return c.Features.check()
}

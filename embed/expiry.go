package embed

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quoin-kv/quoin/internal/api/ops"
	"github.com/quoin-kv/quoin/internal/certs"
)

// How often the ends of certificates are looked at, and how long before them the log warns.
const (
	expiryPause  = 24 * time.Hour
	expirySoon   = 30 * 24 * time.Hour
	expiryUrgent = 7 * 24 * time.Hour
)

// ownCerts are the certificates that a member shows, by use.
type ownCerts map[string]func() (certs.Expiry, error)

// newOwnCerts collects those that there are.
func newOwnCerts(client clientTLS, peer peerTLS) ownCerts {
	own := ownCerts{}
	if client.expiry != nil {
		own["client"] = client.expiry
	}
	if peer.expiry != nil {
		own["peer"] = peer.expiry
	}
	return own
}

// register adds a gauge for each use: when the first of its certificates ends, in seconds since 1970; 0 if the files cannot be read.
func (o ownCerts) register(m *ops.Metrics) {
	for use, read := range o {
		m.Register(ops.Gauge{
			Name: "quoin_certificate_expiry_timestamp_seconds", Help: "When the first certificate of this member for that use ends, in seconds since 1970.",
			Labels: prometheus.Labels{"use": use},
			Read: func() float64 {
				e, err := read()
				if err != nil || e.At.IsZero() {
					return 0
				}
				return float64(e.At.Unix())
			},
		})
	}
}

// watch warns of certificates that end soon, at once and then once a day, until ctx ends.
func (o ownCerts) watch(ctx context.Context, logger *slog.Logger) {
	if len(o) == 0 {
		return
	}
	again := time.NewTicker(expiryPause)
	defer again.Stop()
	for {
		for use, read := range o {
			warnOfExpiry(logger, use, read)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

func warnOfExpiry(logger *slog.Logger, use string, read func() (certs.Expiry, error)) {
	e, err := read()
	left := time.Until(e.At)
	say := func(level slog.Level, text string) {
		logger.Log(context.Background(), level, text, "use", use, "file", e.File, "not-after", e.At.UTC(), "days-left", int(left.Hours()/24))
	}
	switch {
	case err != nil:
		logger.Warn("certificate cannot be read", "use", use, "error", err)
	case e.At.IsZero():
	case left <= 0:
		say(slog.LevelError, "certificate has expired")
	case left < expiryUrgent:
		say(slog.LevelError, "certificate expires in less than 7 days")
	case left < expirySoon:
		say(slog.LevelWarn, "certificate expires in less than 30 days")
	}
}

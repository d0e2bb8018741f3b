package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxClockDifference is how far a peer's clock may be off before the log says so.
const maxClockDifference = time.Second

// probe asks the peer from time to time whether it is there, how long the way is, and what time it is.
func (p *peer) probe() {
	off := false
	for {
		start := time.Now()
		if ahead, err := p.probeOnce(); err != nil {
			p.log.Debug("probe of the peer failed", "error", err)
		} else if now := ahead.Abs() > maxClockDifference; now != off {
			off = now
			p.sayClock(ahead, off)
		}
		if !wait(p.ctx, p.t.cfg.Timing.Probe-time.Since(start)) {
			return
		}
	}
}

func (p *peer) sayClock(ahead time.Duration, off bool) {
	if off {
		p.log.Warn("the peer's clock differs from ours", "ahead", ahead)
	} else {
		p.log.Info("the peer's clock agrees with ours again", "ahead", ahead)
	}
}

// probeOnce returns how far the peer's clock is ahead.
func (p *peer) probeOnce() (ahead time.Duration, err error) {
	u, err := p.urls.pick()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.t.cfg.Timing.IO)
	defer cancel()
	start := time.Now()
	resp, err := p.t.clients.post.Do(p.request(ctx, http.MethodGet, u, "/raft/probing", nil))
	if err != nil {
		return 0, withoutURL(err)
	}
	defer resp.Body.Close()
	var said probeAnswer
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxErrorBytes)).Decode(&said); err != nil || !said.OK {
		return 0, fmt.Errorf("the peer answered %d: %w", resp.StatusCode, err)
	}
	p.short.Store(said.Short)
	trip := time.Since(start)
	ahead = said.Now.Sub(start.Add(trip / 2))
	report(p.t.cfg.Metrics.RoundTrip, p.id, trip)
	report(p.t.cfg.Metrics.ClockDifference, p.id, ahead)
	return ahead, nil
}

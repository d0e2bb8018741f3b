// Package migrate replaces the members of a live cluster, one by one, by those of the other kind: etcd by Quoin, or back.
//
// A member is replaced in place: its process is stopped and one of the other kind started on the same directory, with the same flags. It stays
// the member that it was, with its id, its vote and all its data, so nothing has to be copied and clients find it where it was; while it is
// away the others are a majority, as they are in any restart. (Adding a member and removing another would need a machine more and give clients
// other addresses, and a cluster that grows by one is not safer: three of four are a majority, as two of three.)
//
// Nothing is stopped unless all members answer, follow one leader, read through it, have no alarm, are of versions that go together and have
// equal data; a leader hands over before. What has been done is seen from the cluster alone, so a migration that was interrupted is simply
// begun again. Processes are started and stopped by the operator or by a command of theirs.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Options say what is to be done. All must be set, but the flags.
type Options struct {
	To     Kind
	DryRun bool // only say what would be done
	Pause  bool // go on although no majority is left while a member is away: nothing is written or read then
	// Settle is how long a cluster may take to be well before a step, and Away how long a member may take to be back.
	Settle, Away time.Duration
	Poll         time.Duration // between two looks
	Tries        int           // comparisons of the members before they count as different
	// Confirm asks whether to go on with a step; false ends the migration without an error.
	Confirm func(question string) (bool, error)
	// Act stops or starts a member on its machine; nil leaves that to whoever reads what is printed.
	Act func(ctx context.Context, a Action) error
	Out io.Writer // for the operator
}

// Action is something to be done on a member's machine.
type Action struct {
	Step   string // "stop" or "start"
	Member Member // as it was last seen
	To     Kind   // what it is to become
}

// The steps.
const (
	stepStop  = "stop"
	stepStart = "start"
)

// ErrNotReady is the answer to a cluster that is not to be touched as it is; nothing was done to it then.
var ErrNotReady = errors.New("the cluster is not ready")

// run is one migration under way.
type run struct {
	Options
	cluster Cluster
	done    int
}

// Run replaces one member after the other until all are of the wanted kind. It may be run again after an error or an interruption.
func Run(ctx context.Context, o Options, cluster Cluster) error {
	r := &run{Options: o, cluster: cluster}
	for {
		s, err := r.ready(ctx)
		if err != nil {
			return err
		}
		r.sayMembers(s)
		a, err := r.agree(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotReady, err)
		}
		r.say("All that answer have equal data: hash %08x at revision %d, %d leases.", a.hash.Sum, a.revision, a.leases)
		left := s.left(r.To)
		switch {
		case len(left) == 0:
			r.say("All members are %s.", r.To)
			return nil
		case r.DryRun:
			return r.sayPlan(s, left)
		}
		goOn, err := r.step(ctx, s, left)
		if err != nil || !goOn {
			return err
		}
	}
}

// ready waits until there is no reason not to go on. One member that does not answer is none: its replacement may have been interrupted.
func (r *run) ready(ctx context.Context) (s *Survey, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.Settle)
	defer cancel()
	for {
		var reasons []string
		s, err = r.cluster.Look(ctx)
		if err == nil {
			reasons = r.reasons(s)
		}
		if err == nil && len(reasons) == 0 {
			return s, nil
		}
		if r.pause(ctx) != nil {
			if err == nil {
				err = errors.New(strings.Join(reasons, "; "))
			}
			return nil, fmt.Errorf("%w: %w", ErrNotReady, err)
		}
	}
}

// reasons are all against going on.
func (r *run) reasons(s *Survey) []string {
	all := s.obstacles()
	away := s.away()
	if len(away) > 1 || len(away) == 1 && r.DryRun {
		for _, m := range away {
			all = append(all, fmt.Sprintf("%s does not answer: %v", m.title(), m.Err))
		}
	}
	left := s.left(r.To)
	if len(away) == 0 && len(left) > 0 && !r.Pause {
		if risk := s.risk(left[0]); risk != "" {
			all = append(all, risk)
		}
	}
	return all
}

// pause waits between two looks.
func (r *run) pause(ctx context.Context) error {
	timer := time.NewTimer(r.Poll)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

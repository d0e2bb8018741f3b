package service

import (
	"context"
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/request"
)

// When the NOSPACE alarm of a member clears itself.
const (
	spaceInterval  = time.Second     // between two looks at the space used
	spaceRestTime  = 5 * time.Second // how long use must have been well below the quota
	spaceRestShare = 90              // per cent of the quota that are well below it

	spaceAlarmTime  = time.Second          // that a refused request waits for the alarm
	spaceAlarmPause = 5 * time.Millisecond // between two looks whether it is raised
)

// OverQuota returns what tells whether a request that costs so many bytes goes beyond a quota (machine.Config.Full). A quota of 0 or less is
// none.
func OverQuota(b *backend.Backend, quotaBytes int64) func(cost int64) bool {
	return func(cost int64) bool { return quotaBytes > 0 && b.Used()+cost >= quotaBytes }
}

// checkQuota refuses what would grow the database beyond its quota, and has the alarm raised: who is refused finds it up, if that is to be had
// soon. It refuses, too, anything that would grow the database while disks are nearly full.
func (s *Service) checkQuota(ctx context.Context, cost int64) error {
	if err := s.checkRoom(); err != nil {
		return err
	}
	if !OverQuota(s.backend, s.cfg.QuotaBytes)(cost) {
		return nil
	}
	s.raiseNoSpace()
	ctx, cancel := s.clock.WithTimeout(ctx, spaceAlarmTime)
	defer cancel()
	for !s.raised(s.ownNoSpace()) && s.clock.Wait(ctx, nil, spaceAlarmPause) == nil {
	}
	return kverr.NoSpace
}

// raiseNoSpace has the alarm of this member raised, soon.
func (s *Service) raiseNoSpace() {
	s.full.Store(true)
	poke(s.spaceLooks)
}

// runNoSpace raises the alarm of this member when asked, and clears it when use has been well below the quota for a while.
func (s *Service) runNoSpace() {
	var restful time.Time // since when use is well below the quota under the alarm; zero: it is not
	for s.clock.Wait(s.ctx, s.spaceLooks, spaceInterval) == nil {
		if s.full.Swap(false) {
			s.setNoSpace(request.AlarmActivate)
		}
		now := s.clock.Now()
		switch {
		case s.cfg.KeepNoSpaceAlarm || !s.raised(s.ownNoSpace()) || !s.wellBelowQuota():
			restful = time.Time{}
		case restful.IsZero():
			restful = now
		case now.Sub(restful) >= spaceRestTime:
			s.setNoSpace(request.AlarmDeactivate)
		}
	}
}

// setNoSpace raises or clears the alarm of this member, unless it is so already.
func (s *Service) setNoSpace(action int32) {
	one := s.ownNoSpace()
	raise := action == request.AlarmActivate
	if s.raised(one) == raise {
		return
	}
	used := s.backend.Used()
	if raise {
		s.cfg.Logger.Warn("database space exceeded", "bytes", used, "quota", s.cfg.QuotaBytes)
	} else {
		s.cfg.Logger.Info("there is space again", "bytes", used, "quota", s.cfg.QuotaBytes)
	}
	if _, err := s.Alarm(s.ctx, request.Alarm{Action: action, MemberID: one.MemberID, Kind: one.Kind}); err != nil && s.ctx.Err() == nil {
		s.cfg.Logger.Warn("changing the NOSPACE alarm failed", "raise", raise, "error", err)
	}
}

func (s *Service) ownNoSpace() machine.Alarm {
	return machine.Alarm{MemberID: s.cfg.MemberID, Kind: request.AlarmNoSpace}
}

// wellBelowQuota reports whether there is so much space that writes will not fill it at once.
func (s *Service) wellBelowQuota() bool {
	return s.cfg.QuotaBytes <= 0 || s.backend.Used() < s.cfg.QuotaBytes/100*spaceRestShare
}

func (s *Service) raised(alarm machine.Alarm) bool { return slices.Contains(*s.alarms.Load(), alarm) }

func (s *Service) anyRaised(kind int32) bool {
	return slices.ContainsFunc(*s.alarms.Load(), func(a machine.Alarm) bool { return a.Kind == kind })
}

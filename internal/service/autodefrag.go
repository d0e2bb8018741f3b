package service

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/machine"
)

// When a member rewrites its database file by itself.
const (
	defragInterval = 10 * time.Second // between two looks
	defragPause    = 5 * time.Minute  // between the end of a rewrite, or the failure of one, and the next
	defragMinBytes = 64 << 20         // free space that is worth it, unless the configuration says otherwise
)

// Defragment rewrites the database file without its free pages. Nobody waits for it but the caller. Errors: backend.ErrDefragmenting if one is
// under way, one that wraps syscall.ENOSPC if the disk has no room for the copy.
func (s *Service) Defragment(ctx context.Context) error { return s.defragment(ctx, "asked for") }

func (s *Service) defragment(ctx context.Context, why string) error {
	start := s.clock.Now()
	before := s.backend.Sizes()
	s.cfg.Logger.Info("defragmenting", "why", why, "bytes", before.FileBytes, "in_use", before.InUseBytes)
	if err := s.backend.Defragment(ctx, nil); err != nil {
		return err
	}
	s.cfg.Logger.Info("defragmented", "took", s.since(start), "bytes_before", before.FileBytes, "bytes_after", s.backend.Sizes().FileBytes)
	return nil
}

// runAutoDefrag rewrites the database file when much of it is free, or when that may end the NOSPACE alarm.
func (s *Service) runAutoDefrag() {
	if s.cfg.AutoDefragPercent <= 0 {
		return
	}
	squeezed := int64(-1) // up to where history was forgotten when the file was rewritten because of the alarm
	for pause := defragInterval; s.clock.Wait(s.ctx, nil, pause) == nil; {
		pause = defragInterval
		why := ""
		compacted, crowded := s.crowded()
		switch {
		case s.muchFree():
			why = "much of the file is free"
		case crowded && compacted > squeezed:
			why = "the quota is used up by pages that are not full"
		default:
			continue
		}
		squeezed, pause = compacted, defragPause
		if err := s.defragment(s.ctx, why); err != nil && !errors.Is(err, backend.ErrDefragmenting) && s.ctx.Err() == nil {
			s.cfg.Logger.Warn("automatic defragmentation failed", "error", err)
		}
	}
}

// muchFree reports whether so much of the file is free that it is worth a rewrite.
func (s *Service) muchFree() bool {
	z := s.backend.Sizes()
	free := z.FileBytes - z.InUseBytes
	return free >= cmp.Or(s.cfg.AutoDefragMinBytes, defragMinBytes) && free/int64(s.cfg.AutoDefragPercent) >= z.FileBytes/100
}

// crowded reports whether the NOSPACE alarm of this member goes on although history up to compacted has been removed: records that went one
// by one leave room within pages, which only a rewrite gives back.
func (s *Service) crowded() (compacted int64, crowded bool) {
	compacted = s.KeySpace().Compacted
	if !s.raised(s.ownNoSpace()) || s.wellBelowQuota() {
		return compacted, false
	}
	s.member.Inspect(func(m *machine.Machine) { crowded = !m.Compacting() })
	return compacted, crowded
}

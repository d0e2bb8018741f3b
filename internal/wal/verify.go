package wal

import (
	"errors"
	"io"
	"io/fs"
	"slices"
)

// Sealed lists the segments behind the newest one that this log holds, by their numbers, oldest first: those that are not
// written any more.
func (l *Log) Sealed() []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var seqs []uint64
	for _, s := range l.mu.held[:max(0, len(l.mu.held)-1)] {
		seqs = append(seqs, s.seq)
	}
	return seqs
}

// Verify reads a sealed segment again, which nobody does before the next start, and holds it against its checksums. Damage
// is a *CorruptionError. One that is not held any more is all right. It runs beside everything else.
func (l *Log) Verify(seq uint64) error {
	path, ok := l.sealedPath(seq)
	if !ok {
		return nil
	}
	seg, err := openSegment(l.config.FS, path, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // let go of and deleted meanwhile
	}
	if err != nil {
		return err
	}
	return errors.Join(verifySegment(seg), seg.file.Close())
}

func (l *Log) sealedPath(seq uint64) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.mu.held, func(s *segment) bool { return s.seq == seq })
	if i < 0 || i == len(l.mu.held)-1 {
		return "", false
	}
	return l.mu.held[i].path, true
}

func verifySegment(seg *segment) error {
	var s scanner
	if err := s.start(seg, false); err != nil {
		return err
	}
	visit := checked(new(survey).visit)
	for {
		r, err := s.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = visit(r)
		}
		if err != nil {
			return err
		}
	}
	if s.number < 2 {
		return s.corrupt(errors.New("segment without metadata"))
	}
	if s.offset != s.size {
		return s.corrupt(errors.New("records end before the segment does"))
	}
	return nil
}

package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/quoin-kv/quoin/internal/vfs"
)

// spare makes the next segment's file ahead of time, under a temporary name: allocating 64 MB may take long, and the
// writer must not wait for it.
//
// There is no lock here to hold over file work; instead whoever has the token of turn does that work and owns the fields
// below it. So a writer that needs the file while it is being made waits for it rather than making another one.
type spare struct {
	config *Config
	wanted chan struct{} // holds a token while no file is ready

	turn   chan struct{}
	made   int
	ready  vfs.File
	path   string
	closed bool
}

func newSpare(c *Config) *spare {
	s := &spare{config: c, wanted: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	s.wanted <- struct{}{}
	return s
}

// prepare makes a file unless one is ready.
func (s *spare) prepare() error {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	return s.ensure()
}

func (s *spare) ensure() error {
	if s.closed {
		return ErrClosed
	}
	if s.ready != nil {
		return nil
	}
	// Two names in turn: the file before this one may not have got its final name yet.
	path := filepath.Join(s.config.Dir, fmt.Sprintf("%d.tmp", s.made%2))
	f, err := makeFile(s.config, path)
	if err != nil {
		return err
	}
	s.made++
	s.ready, s.path = f, path
	select {
	case <-s.wanted:
	default:
	}
	return nil
}

// take hands the file over, made on the spot if need be.
func (s *spare) take() (f vfs.File, path string, err error) {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	if err := s.ensure(); err != nil {
		return nil, "", err
	}
	f, s.ready = s.ready, nil
	s.wanted <- struct{}{}
	return f, s.path, nil
}

// close removes a file that is ready and was not used.
func (s *spare) close() error {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	s.closed = true
	if s.ready == nil {
		return nil
	}
	f := s.ready
	s.ready = nil
	return errors.Join(f.Close(), s.config.FS.Remove(s.path))
}

// makeFile makes an empty, preallocated, locked segment file. What an earlier process left under that name is replaced.
func makeFile(c *Config, path string) (vfs.File, error) {
	if err := c.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := c.FS.Create(path)
	if err != nil {
		return nil, err
	}
	if err := reserve(c, f); err != nil {
		// What was reserved of it is of use to others.
		return nil, errors.Join(err, f.Close(), c.FS.Remove(path))
	}
	return f, nil
}

func reserve(c *Config, f vfs.File) error {
	if err := f.Lock(vfs.LockOFD); err != nil {
		return err
	}
	if err := f.Preallocate(c.SegmentBytes); err != nil {
		return err
	}
	return c.sync(f)
}

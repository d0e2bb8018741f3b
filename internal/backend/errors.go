package backend

import (
	"errors"
	"fmt"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNoRecord: there is no record at the revision asked for.
	ErrNoRecord = errors.New("backend: no record at this revision")
	// ErrLocked: another process, or another Backend here, has the file open.
	ErrLocked = errors.New("backend: storage file is in use by another process")
	// ErrDefragmenting: the file is being rewritten already.
	ErrDefragmenting = errors.New("backend: defragmentation is already running")
	// ErrClosed: the backend was closed.
	ErrClosed = errors.New("backend: closed")
	// ErrPoisoned is wrapped, with its cause, by every call that would write
	// after a write has failed: what the file holds from then on is unknown,
	// only a restart can tell.
	ErrPoisoned = errors.New("backend: an earlier write failed, storage is read-only until restart")
)

// errFull is what a store says when a change does not fit under its mapping.
// Nothing was written; the store still works.
var errFull = errors.New("backend: storage file has reached the end of its mapping")

// CorruptError says that the storage file holds something it must not, or does
// not hold what it must. To clients it is kverr.Corrupt.
type CorruptError struct {
	Path   string // the file; "memory" for the in-memory twin
	Bucket string // empty if the file as a whole is meant
	Key    []byte // empty if the bucket as a whole is meant
	Offset int64  // in the file, of the entry, or of the page where something is wrong; 0 if that is not known
	Cause  error
}

// Error implements error.
func (e *CorruptError) Error() string {
	text := "backend: " + e.Path + " is corrupt"
	if e.Offset > 0 {
		text += fmt.Sprintf(" at byte %d", e.Offset)
	}
	if e.Bucket != "" {
		text += fmt.Sprintf(": bucket %q", e.Bucket)
	}
	if len(e.Key) > 0 {
		text += fmt.Sprintf(": key %x", e.Key)
	}
	return text + ": " + e.Cause.Error()
}

// Unwrap returns Cause and what clients are told.
func (e *CorruptError) Unwrap() []error { return []error{e.Cause, kverr.Corrupt} }

func noRecord(rev schema.Rev) error {
	return fmt.Errorf("%w: %d.%d", ErrNoRecord, rev.Main, rev.Sub)
}

func poisoned(cause error) error {
	return fmt.Errorf("%w: %w", ErrPoisoned, cause)
}

package backend

import (
	"context"
	"os"
	"sync"
	"syscall"
	"time"
)

// How replaced files are shortened: a step is what takes about a millisecond,
// and the rests leave processor and disk to others.
const (
	remainsStep = 1 << 20 // bytes
	remainsRest = 4 * time.Millisecond
)

// remains gives the space of replaced files back. A file without a name goes
// with its last user, and to free gigabytes at once keeps a processor busy for
// seconds, whoever waits for it. So the last user hands the file over, and it is
// shortened step by step.
//
// Invariant: files is not empty only while a goroutine works on them, which ends
// with the last one, or with close.
type remains struct {
	ctx context.Context
	end context.CancelFunc
	wg  sync.WaitGroup

	mu    sync.Mutex
	files []*os.File
}

func newRemains() *remains {
	r := &remains{}
	r.ctx, r.end = context.WithCancel(context.Background())
	return r
}

// take takes over a file that has no name any more.
func (r *remains) take(f *os.File) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		_ = f.Close() // nothing in it matters
		return
	}
	if r.files = append(r.files, f); len(r.files) == 1 {
		r.wg.Go(r.work)
	}
}

// close frees at once what is left, and from now on.
func (r *remains) close() {
	r.mu.Lock()
	r.end()
	r.mu.Unlock()
	r.wg.Wait()
}

func (r *remains) work() {
	for f := r.first(); f != nil; f = r.next() {
		r.shorten(f)
		_ = f.Close()
	}
}

func (r *remains) first() *os.File {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files[0]
}

// next forgets the first file and returns the one behind it, or nil.
func (r *remains) next() *os.File {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files = r.files[1:]; len(r.files) == 0 {
		return nil
	}
	return r.files[0]
}

// shorten takes step after step from the end of the file.
func (r *remains) shorten(f *os.File) {
	info, err := f.Stat()
	if err != nil {
		return // closing it is all that is left to do
	}
	rest := time.NewTicker(remainsRest)
	defer rest.Stop()
	for size := info.Size() - remainsStep; size > 0; size -= remainsStep {
		if f.Truncate(size) != nil {
			return
		}
		select {
		case <-rest.C:
		case <-r.ctx.Done():
			return
		}
	}
}

// nameless reports whether a file has been replaced or removed.
func nameless(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 0
}

// another is a second handle of an open file.
func another(f *os.File) (*os.File, error) {
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), f.Name()), nil
}

package service

import "github.com/quoin-kv/quoin/internal/watch"

// RemembersPage reports whether the index as of a revision is remembered.
func (s *Service) RemembersPage(revision int64) bool { return s.pages.get(revision) != nil }

// TakeHashTurns takes all turns to compute a password hash; what it returns gives them back.
func (s *Service) TakeHashTurns() (free func()) {
	turns := s.access.hashing
	for range cap(turns) {
		<-turns
	}
	return func() {
		for range cap(turns) {
			turns <- struct{}{}
		}
	}
}

// Forbidden reports whether a message that was taken must not go out any more.
func (w *WatchStream) Forbidden(r watch.Response) bool { return w.forbidden(&r) }

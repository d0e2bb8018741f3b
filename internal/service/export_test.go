package service

// RemembersPage reports whether the index as of a revision is remembered.
func (s *Service) RemembersPage(revision int64) bool { return s.pages.get(revision) != nil }

package watch

// pollSteps bounds the work of one Poll: watchers that read history and find nothing for their clients.
const pollSteps = 16

// Poll is Next for who must not block: it returns false if there is no response yet. Then Wake tells when to ask again.
func (s *Stream) Poll() (r Response, ok bool, err error) {
	for range pollSteps {
		r, done, err := s.step()
		if err != nil || done != moved {
			return r, err == nil && done == responded, err
		}
	}
	s.signal() // there may be more to do
	return Response{}, false, nil
}

// Wake delivers when there may be something to Poll, or the stream was closed. It belongs to the goroutine that calls Poll.
func (s *Stream) Wake() <-chan struct{} { return s.wake }

// Tick makes the periodic progress responses due, like one of the configured ticks.
func (s *Stream) Tick() { s.tick() }

// Package steps notes where the time of a request goes, so that a slow one can say what it waited for. A record travels with the request's
// context; the rooms that a request passes add to it what they spent. Nothing here reads a clock.
package steps

import (
	"context"
	"log/slog"
	"time"
)

// Step is a part of the way of a request.
type Step uint8

// The steps, in the order of the way.
const (
	Budget    Step = iota // waiting for memory for a large answer
	ReadIndex             // waiting for the leader's word that a read is up to date, and for what that asks to be applied
	Queue                 // a proposal waits for its turn, or for a leader
	Log                   // this member's log is written and synced
	Quorum                // waiting for other members, and for the applier to be free
	Apply                 // the batch with the proposal is applied
	Wake                  // the answer is there, the goroutine that waits for it gets no processor
	Rest                  // everything else between a request's arrival and its answer: reading keys, putting together the answer
	Send                  // a large answer goes out, as fast as the client takes it
	numSteps
)

// String is the name of the step in logs and metrics.
func (s Step) String() string {
	names := [numSteps]string{"budget", "read_index", "queue", "log", "quorum", "apply", "wake", "reading", "sending"}
	if s >= numSteps {
		return "unknown"
	}
	return names[s]
}

// Spent is what the steps of one request took. It belongs to the goroutine that serves the request.
type Spent struct {
	of [numSteps]time.Duration
}

// Add notes that a step took some time; a step may be added to again. Adding to nil does nothing.
func (s *Spent) Add(step Step, took time.Duration) {
	if s != nil && took > 0 {
		s.of[step] += took
	}
}

// Close adds what is missing to the whole time of the request to Rest, or to Send if the answer was ready at that time, and returns the
// longest step.
func (s *Spent) Close(answered, whole time.Duration) Step {
	rest := answered
	for _, d := range s.of {
		rest -= d
	}
	s.Add(Rest, rest)
	s.Add(Send, whole-answered)
	longest := Step(0)
	for step, d := range s.of {
		if d > s.of[longest] {
			longest = Step(step)
		}
	}
	return longest
}

// LogValue shows the steps that took time, in order.
func (s *Spent) LogValue() slog.Value {
	var attrs []slog.Attr
	for step, d := range s.of {
		if d > 0 {
			attrs = append(attrs, slog.Duration(Step(step).String(), d))
		}
	}
	return slog.GroupValue(attrs...)
}

// record is a context that carries a Spent: one allocation for both.
type record struct {
	context.Context
	spent Spent
}

type key struct{}

// Value gives the record to who asks for it.
func (r *record) Value(k any) any {
	if k == (key{}) {
		return &r.spent
	}
	return r.Context.Value(k)
}

// With returns a context that carries a new record, and the record.
func With(ctx context.Context) (context.Context, *Spent) {
	r := &record{Context: ctx}
	return r, &r.spent
}

// From returns the record that ctx carries, nil if there is none.
func From(ctx context.Context) *Spent {
	s, _ := ctx.Value(key{}).(*Spent)
	return s
}

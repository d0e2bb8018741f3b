package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// fake is a cluster of members of which tests can change anything.
type fake struct {
	t       *testing.T
	survey  Survey
	hashes  map[uint64]Hash
	leases  map[uint64][]int64
	stuck   bool // nobody hands over the leadership
	looks   int
	onLook  func(look int) // before each look
	actions []string
	out     bytes.Buffer
}

// newFake returns n members of a kind, of which the first leads.
func newFake(t *testing.T, n int, kind Kind) *fake {
	f := &fake{t: t, hashes: map[uint64]Hash{}, leases: map[uint64][]int64{}}
	f.survey.ClusterID = 0xc1
	for i := 1; i <= n; i++ {
		id := uint64(0xa0 + i)
		f.survey.Members = append(f.survey.Members, Member{
			ID: id, Name: fmt.Sprint("m", i), PeerURLs: []string{fmt.Sprintf("http://p%d:2380", i)}, ClientURLs: []string{fmt.Sprintf("http://c%d:2379", i)},
			Kind: kind, Version: "3.7.3", Leader: 0xa1, Term: 2, Applied: 100, Revision: 50,
		})
		f.hashes[id] = Hash{Sum: 7, Compacted: -1}
		f.leases[id] = []int64{1, 2}
	}
	return f
}

func (f *fake) member(i int) *Member { return &f.survey.Members[i-1] }

func (f *fake) Look(context.Context) (*Survey, error) {
	f.looks++
	if f.onLook != nil {
		f.onLook(f.looks)
	}
	s := f.survey
	s.Members = append([]Member(nil), s.Members...)
	if len(s.away()) == len(s.Members) {
		return nil, errors.New("nobody is there")
	}
	return &s, nil
}

func (f *fake) Hash(_ context.Context, m *Member, revision int64) (Hash, error) {
	if revision > m.Revision {
		f.t.Errorf("%s was asked for revision %d", m.Name, revision)
	}
	return f.hashes[m.ID], nil
}

func (f *fake) Leases(_ context.Context, m *Member) ([]int64, error) { return f.leases[m.ID], nil }

func (f *fake) MoveLeader(_ context.Context, from, to *Member) error {
	f.actions = append(f.actions, fmt.Sprintf("%s hands over to %s", from.Name, to.Name))
	if f.stuck {
		return errors.New("not now")
	}
	f.lead(to.ID)
	return nil
}

func (f *fake) lead(id uint64) {
	for i := range f.survey.Members {
		f.survey.Members[i].Leader = id
		f.survey.Members[i].Term++
	}
}

// act does what an operator's command would, and finds fault with a leader that is stopped while another could lead.
func (f *fake) act(_ context.Context, a Action) error {
	m := f.survey.byID(a.Member.ID)
	f.actions = append(f.actions, a.Step+" "+m.Name)
	if a.Step == stepStart {
		m.Err, m.Kind = nil, a.To
		return nil
	}
	if m.leads() && len(f.survey.Members) > 1 {
		f.t.Errorf("%s was stopped as the leader", m.Name)
	}
	m.Err = errors.New("connection refused")
	return nil
}

func (f *fake) options(to Kind) Options {
	return Options{
		To: to, Settle: 50 * time.Millisecond, Away: 50 * time.Millisecond, Poll: time.Millisecond, Tries: 5, Act: f.act, Out: &f.out,
		Confirm: func(string) (bool, error) { return true, nil },
	}
}

func (f *fake) run(o Options) error { return Run(f.t.Context(), o, f) }

package migrate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReplacesAll: one member after the other is stopped and started, the leader last and not as the leader.
func TestReplacesAll(t *testing.T) {
	for from, to := range map[Kind]Kind{Etcd: Quoin, Quoin: Etcd} {
		f := newFake(t, 3, from)
		if err := f.run(f.options(to)); err != nil {
			t.Fatal(err)
		}
		want := []string{"stop m2", "start m2", "stop m3", "start m3", "m1 hands over to m2", "stop m1", "start m1"}
		if !slices.Equal(f.actions, want) {
			t.Errorf("to %s: %q, want %q", to, f.actions, want)
		}
		if s := f.out.String(); !strings.Contains(s, "Step 3 of 3: m1 (a1) becomes "+string(to)) || !strings.HasSuffix(s, "All members are "+string(to)+".\n") {
			t.Errorf("printed:\n%s", s)
		}
	}
}

// TestGoesOn: what was done before is seen from the cluster, with a member that is away, too.
func TestGoesOn(t *testing.T) {
	f := newFake(t, 3, Etcd)
	f.member(2).Kind = Quoin
	f.member(3).Err = errors.New("connection refused")
	if err := f.run(f.options(Quoin)); err != nil {
		t.Fatal(err)
	}
	want := []string{"start m3", "m1 hands over to m2", "stop m1", "start m1"}
	if !slices.Equal(f.actions, want) {
		t.Errorf("%q, want %q", f.actions, want)
	}
}

// TestNotReady: nothing is done to a cluster that is not well.
func TestNotReady(t *testing.T) {
	for want, spoil := range map[string]func(f *fake){
		"NOSPACE on m2":                  func(f *fake) { f.survey.Alarms = []string{"NOSPACE on m2"} },
		"has never started":              func(f *fake) { f.member(2).Name = "" },
		"is a learner":                   func(f *fake) { f.member(2).Learner = true },
		"upgrade etcd to 3.6 first":      func(f *fake) { f.member(3).Version = "3.5.21" },
		"newer than what is known":       func(f *fake) { f.member(3).Version = "3.8.0" },
		"that cannot be read":            func(f *fake) { f.member(3).Version = "three" },
		"no member leads":                func(f *fake) { f.lead(0) },
		"follows a2 in term 2":           func(f *fake) { f.member(3).Leader = 0xa2 },
		"cannot read through the leader": func(f *fake) { f.member(2).Reads = errors.New("timeout") },
		"is 1001 log entries behind": func(f *fake) {
			f.member(1).Applied = f.member(2).Applied + 1001
			f.member(3).Applied = f.member(1).Applied
		},
		"a downgrade of the cluster":                  func(f *fake) { f.member(2).Lowering = true },
		"m3 (a3) does not answer: connection refused": func(f *fake) { f.member(2).Err, f.member(3).Err = errRefused, errRefused },
		"1 of 2 voters would be left":                 func(f *fake) { f.survey.Members = f.survey.Members[:2] },
		"hashes at revision 49 differ":                func(f *fake) { f.member(2).Revision = 49; f.hashes[0xa3] = Hash{Sum: 8, Compacted: -1} },
		"does not know the lease 2":                   func(f *fake) { f.leases[0xa3] = []int64{1} },
	} {
		f := newFake(t, 3, Etcd)
		spoil(f)
		err := f.run(f.options(Quoin))
		if !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), want) || len(f.actions) > 0 {
			t.Errorf("want %q: %v, done: %q", want, err, f.actions)
		}
	}
}

var errRefused = errors.New("connection refused")

// TestSettles: what is not well for a moment is waited for, and hashes that differ only while writes come and go are none of a difference.
func TestSettles(t *testing.T) {
	f := newFake(t, 3, Etcd)
	f.onLook = func(look int) {
		f.member(2).Reads = nil
		if look < 3 {
			f.member(2).Reads = errors.New("timeout")
		}
		f.hashes[0xa3] = Hash{Sum: 7, Compacted: -1}
		if look == 4 {
			f.hashes[0xa3] = Hash{Sum: 9, Compacted: 12}
		}
	}
	if err := f.run(f.options(Quoin)); err != nil {
		t.Error(err)
	}
}

// TestStopsWhereItMust: a step that does not come to its end ends the migration, and says where.
func TestStopsWhereItMust(t *testing.T) {
	for want, spoil := range map[string]func(f *fake, o *Options){
		"does not hand over the leadership": func(f *fake, _ *Options) {
			f.stuck = true
			f.member(2).Kind, f.member(3).Kind = Quoin, Quoin
		},
		"stopping m2 (a2): no":           func(_ *fake, o *Options) { o.Act = refuse(stepStop, o.Act) },
		"starting m2 (a2): no":           func(_ *fake, o *Options) { o.Act = refuse(stepStart, o.Act) },
		"was to be stopped and still":    func(_ *fake, o *Options) { o.Act = ignore(stepStop, o.Act) },
		"is not back as quoin: m2 (a2) ": func(_ *fake, o *Options) { o.Act = ignore(stepStart, o.Act) },
		"m2 (a2) is still etcd":          func(_ *fake, o *Options) { o.Act = nil },
		"nobody at the terminal": func(_ *fake, o *Options) {
			o.Confirm = func(string) (bool, error) { return false, errors.New("nobody at the terminal") }
		},
	} {
		f := newFake(t, 3, Etcd)
		o := f.options(Quoin)
		spoil(f, &o)
		if err := f.run(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

type act = func(context.Context, Action) error

func refuse(step string, otherwise act) act {
	return func(ctx context.Context, a Action) error {
		if a.Step == step {
			return errors.New("no")
		}
		return otherwise(ctx, a)
	}
}

func ignore(step string, otherwise act) act {
	return func(ctx context.Context, a Action) error {
		if a.Step == step {
			return nil
		}
		return otherwise(ctx, a)
	}
}

// TestByHand: without a command, whoever reads what is printed does it, and is told what is still missing.
func TestByHand(t *testing.T) {
	f := newFake(t, 3, Etcd)
	f.member(2).Kind, f.member(3).Kind = Quoin, Quoin
	f.lead(0xa2)
	o := f.options(Quoin)
	o.Act = nil
	f.onLook = func(look int) {
		switch m := f.member(1); look {
		case 5:
			m.Err = errRefused
		case 7:
			m.Err, m.Kind, m.Reads = nil, Quoin, errors.New("not yet")
		case 9:
			m.Reads = nil
		}
	}
	if err := f.run(o); err != nil {
		t.Fatal(err)
	}
	want := "  waiting: m1 (a1) is still etcd\n  waiting: m1 (a1) does not answer\n  waiting: m1 (a1) cannot read through the leader: not yet\nm1 (a1) is back as quoin"
	if !strings.Contains(f.out.String(), want) || len(f.actions) > 0 {
		t.Errorf("done: %q, printed:\n%s", f.actions, f.out.String())
	}
}

// TestDryRun prints what would be done, and does nothing.
func TestDryRun(t *testing.T) {
	f := newFake(t, 3, Etcd)
	o := f.options(Quoin)
	o.DryRun = true
	if err := f.run(o); err != nil || len(f.actions) > 0 {
		t.Errorf("%v, done: %q", err, f.actions)
	}
	for _, want := range []string{
		"1. m2 (a2) becomes quoin:\n   On the machine of http://p2:2380:\n     stop etcd",
		"3. m1 (a1) becomes quoin, which leads now and hands over before:",
		"quoin server --name=m2 --initial-advertise-peer-urls=http://p2:2380 --advertise-client-urls=http://c2:2379\n",
	} {
		if !strings.Contains(f.out.String(), want) {
			t.Errorf("%q is not in\n%s", want, f.out.String())
		}
	}
	f.member(3).Err = errRefused
	if err := f.run(o); !errors.Is(err, ErrNotReady) {
		t.Errorf("with a member away: %v", err)
	}
}

// TestNo: an operator who does not want to go on ends it without an error.
func TestNo(t *testing.T) {
	f := newFake(t, 3, Etcd)
	o := f.options(Quoin)
	o.Confirm = func(question string) (bool, error) { return !strings.Contains(question, "m3"), nil }
	if err := f.run(o); err != nil {
		t.Error(err)
	}
	if want := []string{"stop m2", "start m2"}; !slices.Equal(f.actions, want) {
		t.Errorf("%q, want %q", f.actions, want)
	}
}

// TestPause: who accepts a pause can replace a member alone, and one of two.
func TestPause(t *testing.T) {
	for n, want := range map[int][]string{
		1: {"stop m1", "start m1"},
		2: {"stop m2", "start m2", "m1 hands over to m2", "stop m1", "start m1"},
	} {
		f := newFake(t, n, Etcd)
		o := f.options(Quoin)
		o.Pause = true
		if err := f.run(o); err != nil || !slices.Equal(f.actions, want) {
			t.Errorf("%d members: %v, %q, want %q", n, err, f.actions, want)
		}
	}
}

// TestInterrupted: the end of the context ends any waiting.
func TestInterrupted(t *testing.T) {
	f := newFake(t, 3, Etcd)
	ctx, cancel := context.WithCancel(t.Context())
	f.onLook = func(look int) {
		if look == 5 {
			cancel()
		}
	}
	o := f.options(Quoin)
	o.Act, o.Away = nil, time.Hour
	if err := Run(ctx, o, f); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestSuccessor: a member of the new kind leads next, and of those the one that has most.
func TestSuccessor(t *testing.T) {
	f := newFake(t, 5, Etcd)
	f.member(2).Applied = 900
	f.member(3).Kind, f.member(4).Kind, f.member(4).Applied = Quoin, Quoin, 101
	f.member(5).Kind, f.member(5).Applied, f.member(5).Err = Quoin, 1000, errRefused
	if got := f.survey.successor(f.member(1), Quoin); got.Name != "m4" {
		t.Errorf("%s", got.Name)
	}
}

package plan

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/quoin-kv/quoin/sim/engine"
)

// Units of time.
const (
	microsecond = 1_000
	millisecond = 1_000_000
	second      = 1_000_000_000
)

// Draw makes the plan of a seed. What is frequent in one seed does not occur in another: where every run does a little of everything, much
// of what takes two of a kind never happens.
func Draw(seed uint64) *Plan {
	d := drawer{engine.Random(seed, "plan", 0)}
	p := &Plan{Seed: seed, Members: d.members(), Safety: 105*second + d.Int64N(30*second)}
	p.Tuning, p.Network, p.Disk = d.tuning(), d.network(), d.disk()
	for _, k := range kinds() {
		p.Faults = append(p.Faults, d.faults(k, p.Safety)...)
	}
	if d.IntN(6) == 0 {
		d.unrest(p)
	} else if d.IntN(3) == 0 {
		p.Faults = append(p.Faults, d.ambushes(1+d.IntN(15), p.Safety)...)
	}
	slices.SortStableFunc(p.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	p.Clients = d.clients()
	d.crowd(p)
	return p
}

// crowd gives some plans a quota that history uses up until clients compact, which more of them do then.
func (d drawer) crowd(p *Plan) {
	if d.IntN(4) > 0 {
		return
	}
	p.Tuning.Quota = d.spread(4<<10, 16<<10)
	for i := range p.Clients {
		p.Clients[i].Compacts = p.Clients[i].Kind == KV
	}
}

// drawer draws the parts of a plan.
type drawer struct{ *rand.Rand }

// sometimes is zero half of the time, and else up to most.
func (d drawer) sometimes(most int) int { return d.IntN(2) * d.IntN(most+1) }

// spread is a number between least and most, of which each order of magnitude is as likely as the other.
func (d drawer) spread(least, most int64) int64 {
	return int64(float64(least) * math.Pow(float64(most)/float64(least), d.Float64()))
}

func (d drawer) members() int { return []int{1, 3, 3, 3, 3, 3, 5, 5, 2, 4}[d.IntN(10)] }

func (d drawer) tuning() Tuning {
	return Tuning{
		Tick: 100 * millisecond, ElectionTicks: 8 + d.IntN(6), PreVote: d.IntN(4) > 0,
		MessageBytes: d.messageBytes(), InflightMax: int(d.spread(1, 256)),
		MarkEvery: uint64(d.spread(5, 2000)), CatchupEntries: uint64(d.spread(1, 400)),
		SegmentBytes: d.spread(4<<10, 256<<10), FlushInterval: d.spread(20*millisecond, 5*second),
		Think: d.spread(5*microsecond, 2*millisecond), CompactBatch: int(d.spread(5, 500)),
		WatchRing: int(d.spread(2, 1000)), WatchBatch: int(d.spread(1, 200)),
	}
}

// messageBytes is often so small that every entry travels alone.
func (d drawer) messageBytes() uint64 {
	if d.IntN(3) == 0 {
		return 1
	}
	return uint64(d.spread(200, 1<<20))
}

func (d drawer) network() Network {
	return Network{
		Delay: d.spread(50*microsecond, 20*millisecond), Jitter: d.spread(50*microsecond, 40*millisecond),
		Loss: d.sometimes(100), Duplicate: d.sometimes(50), Reorder: d.sometimes(300), ReplyLoss: d.sometimes(50),
	}
}

func (d drawer) disk() Disk {
	return Disk{
		Sync: d.spread(50*microsecond, 10*millisecond), Jitter: d.spread(50*microsecond, 30*millisecond),
		Keep: []int{0, 500, 1000, d.IntN(1000)}[d.IntN(4)],
	}
}

// kind is how often faults of a kind happen, and how.
type kind struct {
	kind FaultKind
	most int   // in one run
	rare int   // a run has none of it with this probability, in thousandths
	long int64 // longest duration
}

func kinds() []kind {
	return []kind{
		{Crash, 12, 300, 15 * second},
		{Pause, 8, 600, 10 * second},
		{Isolate, 8, 500, 15 * second},
		{CutLink, 10, 500, 15 * second},
		{Split, 6, 500, 15 * second},
		{SlowLink, 6, 600, 15 * second},
		{StallDisk, 6, 600, 8 * second},
		{FailSync, 4, 700, 8 * second},
		{FailFile, 3, 700, 8 * second},
		{FillDisk, 3, 700, 10 * second},
		{FlipBits, 2, 700, 8 * second},
		{Wipe, 2, 700, 8 * second},
		{ClockRate, 4, 500, 0},
		{ClockJump, 4, 700, 0},
		{Transfer, 8, 600, 0},
		{AddMember, 4, 500, 0},
		{Promote, 4, 600, 0},
		{Remove, 3, 500, 0},
	}
}

// faults draws the faults of one kind.
func (d drawer) faults(k kind, until int64) (all []Fault) {
	none := d.IntN(1000) < k.rare
	for range 1 + d.IntN(k.most) {
		f := Fault{At: d.Int64N(until), Kind: k.kind, Target: d.target(), Peer: d.IntN(6)}
		if k.long > 0 {
			f.For = d.spread(20*millisecond, k.long)
		}
		d.detail(&f)
		if none {
			continue
		}
		all = append(all, f)
		if k.kind == StallDisk && d.IntN(2) == 0 { // what is stored early or late shows in a crash
			crash := Fault{At: f.At + d.Int64N(f.For), Kind: Crash, Target: f.Target, For: d.spread(20*millisecond, 10*second)}
			all = append(all, crash)
		}
	}
	return slices.DeleteFunc(all, func(f Fault) bool { return f.At >= until })
}

// ambushes are faults that wait for leaders to be elected: much of what can go wrong does so in the first moments of a term.
func (d drawer) ambushes(n int, until int64) (all []Fault) {
	for range n {
		f := Fault{At: d.Int64N(until), Target: Leader, For: d.spread(20*millisecond, 6*second), Wait: d.spread(100*microsecond, 300*millisecond)}
		f.Kind = []FaultKind{Crash, Crash, Isolate, Isolate, Pause, StallDisk}[d.IntN(6)]
		d.detail(&f)
		all = append(all, f)
	}
	return all
}

// unrest makes a plan in which leaders hardly ever get anything done: entries travel one by one, and most terms end at once.
func (d drawer) unrest(p *Plan) {
	p.Tuning.MessageBytes, p.Tuning.InflightMax = 1, 1+d.IntN(2)
	p.Faults = slices.DeleteFunc(p.Faults, func(f Fault) bool { return f.Target == Leader })
	step := p.Network.Delay + p.Network.Jitter/2 + p.Disk.Sync + p.Disk.Jitter/2 // about what an entry takes to be stored elsewhere
	for _, f := range d.ambushes(40+d.IntN(60), p.Safety) {
		f.For, f.Wait = d.spread(1500*millisecond, 7*second), 1+d.Int64N(p.Network.Delay)/2
		if d.IntN(2) == 0 {
			f.Wait = 1 + d.Int64N(4*step)
		}
		if d.IntN(3) > 0 {
			f.Kind, f.Mode = Isolate, Both
		}
		p.Faults = append(p.Faults, f)
	}
}

// target is the leader, which is where most can go wrong, or anybody.
func (d drawer) target() int {
	if d.IntN(3) == 0 {
		return Leader
	}
	return d.IntN(6)
}

// detail draws what is particular to a kind.
func (d drawer) detail(f *Fault) {
	switch f.Kind {
	case Isolate:
		f.Mode = []string{Both, Both, In, Out, Stale}[d.IntN(5)]
		f.Amount = d.spread(second, 4*second)
	case StallDisk:
		if d.IntN(2) == 0 {
			f.Mode = LogOnly
		}
	case Split:
		f.Amount = 1 + d.Int64N(30)
	case SlowLink:
		f.Amount = d.spread(10*millisecond, 3*second)
	case FillDisk:
		f.Amount = d.spread(100, 64<<10)
	case FlipBits:
		f.Amount = d.spread(1, 200)
		if d.IntN(2) == 0 {
			f.Mode = Tear
		}
	case ClockRate:
		f.Amount = SlowestClock + d.Int64N(FastestClock-SlowestClock+1)
	case ClockJump:
		f.Amount = d.spread(10*millisecond, 10*second)
	case AddMember:
		f.Amount = 1
		if d.IntN(3) > 0 {
			f.Mode, f.Amount = Learner, 1+d.Int64N(3)
		}
	}
}

func (d drawer) clients() (all []Client) {
	keys := int(d.spread(1, 40))
	compacts, burst := d.IntN(2) == 0, 1
	if d.IntN(3) == 0 {
		burst = int(d.spread(2, 40))
	}
	for range 4 + d.IntN(5) {
		all = append(all, Client{
			Kind: KV, Think: d.spread(200*millisecond, 900*millisecond) * int64(burst+1) / 2,
			Keys: keys, Stick: d.IntN(1001), Compacts: compacts, Burst: burst,
		})
	}
	for range d.IntN(4) {
		all = append(all, Client{Kind: Watcher, Think: d.spread(second, 60*second), Keys: keys, Stick: d.IntN(1001)})
	}
	for range d.IntN(4) {
		all = append(all, Client{Kind: Leaser, Think: d.spread(200*millisecond, 2*second), Keys: keys, Stick: d.IntN(1001)})
	}
	for range d.IntN(3) {
		all = append(all, Client{Kind: Greeter, Think: 1, Keys: keys})
	}
	for i := range all {
		all[i].ID = i
	}
	return all
}

package interop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/interop/process"
	"github.com/quoin-kv/quoin/interop/workload"
	"github.com/quoin-kv/quoin/test/freeport"
)

const (
	takeoverOps    = 150              // between two events
	takeoverBudget = 30 * time.Second // for members to agree, and for everything that is asked of them
)

// TestTakeover has a real etcd make data directories under load, and then gives them to and fro: Quoin takes them over, works and
// hands them back, also when the one before was killed and its log has a torn end. Whoever has them, they hold the same: members, every
// change of every key, hashes, leases, alarms, users and roles.
func TestTakeover(t *testing.T) {
	t.Parallel()
	for i := range flags.takeovers {
		seed := flags.seed + uint64(i)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			newTakeover(t, process.Etcd(), seed).run()
		})
	}
}

// TestTakeoverFromOlder is TestTakeover of directories that etcd 3.6 and 3.5 made. They go back to etcd 3.7.
func TestTakeoverFromOlder(t *testing.T) {
	t.Parallel()
	for i := range (flags.takeovers + 2) / 3 {
		for _, p := range []process.Program{process.Etcd36(), process.Etcd35()} {
			seed := flags.seed + uint64(i)
			t.Run(fmt.Sprintf("%s/seed=%d", p.Name, seed), func(t *testing.T) {
				t.Parallel()
				newTakeover(t, p, seed).run()
			})
		}
	}
}

// takeover is one history of data directories.
type takeover struct {
	t       *testing.T
	rand    *rand.Rand
	members []*process.Server // voters, and then a learner if there is one
	conns   []*grpc.ClientConn
	voters  int
	users   bool     // switched on
	older   bool     // run by etcd before 3.7
	story   []string // what happened

	cfg process.Config // what all members have in common

	mu struct {
		sync.Mutex
		source    *workload.Generator
		compacted int64
	}
}

func newTakeover(t *testing.T, origin process.Program, seed uint64) *takeover {
	t.Helper()
	o := &takeover{t: t, rand: rand.New(rand.NewPCG(seed, 7)), voters: 1 + 2*int(seed%2)}
	if o.older = origin.Name != process.Etcd().Name; o.older {
		o.voters = 4 - o.voters // so that the first one is of a single member, which is quick
	}
	o.mu.source, o.mu.compacted = workload.NewGenerator(seed), -1
	t.Logf("repeat with: go test . -run '%s$' -takeovers 1 -seed %d", strings.ReplaceAll(t.Name(), "/", "$/^"), seed)
	t.Cleanup(func() { t.Logf("made by %s: %s", origin.Name, strings.Join(o.story, ", ")) })
	marks, lag := fmt.Sprint(50+o.rand.IntN(200)), []string{"10ms", "100ms", "10m"}[o.rand.IntN(3)]
	o.note("%d voters, a snapshot every %s entries, file written every %s", o.voters, marks, lag)
	o.cfg = process.Config{Builder: builder, Volatile: true, Flags: []string{
		"--heartbeat-interval=50", "--election-timeout=500", "--bcrypt-cost=4", "--strict-reconfig-check=false",
		"--snapshot-count=" + marks, "--backend-batch-interval=" + lag,
	}, Env: []string{ // what not all of the programs know
		"ETCD_SNAPSHOT_CATCHUP_ENTRIES=20",
		"ETCD_KEEP_NOSPACE_ALARM=true", // an alarm that clears itself is a difference on purpose
	}}
	o.adopt(process.StartCluster(t, o.cfg, slices.Repeat([]process.Program{origin}, o.voters)...)...)
	return o
}

func (o *takeover) adopt(servers ...*process.Server) {
	for _, s := range servers {
		conn := s.Dial(o.t)
		o.t.Cleanup(func() { _ = conn.Close() })
		o.members, o.conns = append(o.members, s), append(o.conns, conn)
	}
}

func (o *takeover) note(form string, args ...any) {
	o.story = append(o.story, fmt.Sprintf(form, args...))
}

// one is true once in n times.
func (o *takeover) one(n int) bool { return o.rand.IntN(n) == 0 }

// run hands the directories from program to program.
func (o *takeover) run() {
	o.live(5)
	for _, next := range []process.Program{process.Quoin(), process.Etcd(), process.Quoin(), process.Etcd()} {
		before := o.end()
		for _, s := range o.members {
			s.Become(next)
		}
		o.older = false
		o.note("then %s", next.Name)
		o.start()
		o.compare(before, o.facts())
		o.live(1)
	}
	o.end()
}

// live has the members do something, and more.
func (o *takeover) live(events int) {
	o.work(takeoverOps, -1, nil)
	for range events {
		switch o.rand.IntN(7) {
		case 0:
			o.defragment()
		case 1:
			o.compact()
		case 2, 3:
			o.lag()
		case 4:
			o.changeMembers()
		case 5:
			o.addLearner()
		case 6:
			o.switchUsers()
		}
		o.work(takeoverOps, -1, nil)
	}
	if o.one(3) {
		o.alarm()
	}
}

// do makes calls, as root if need be, on the connection to a member.
func (o *takeover) do(what string, i int, calls func(ctx context.Context, conn *grpc.ClientConn) error) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), takeoverBudget)
	defer cancel()
	o.note("%s", what)
	ctx, err := login(ctx, o.conns[i], o.users)
	if err == nil {
		err = calls(ctx, o.conns[i])
	}
	if err != nil {
		o.t.Fatalf("%s: %v", what, err)
	}
}

func (o *takeover) defragment() {
	o.do("defragmented", o.rand.IntN(o.voters), func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := pb.NewMaintenanceClient(conn).Defragment(ctx, &pb.DefragmentRequest{})
		return err
	})
}

// compact compacts about half of the history, and does not wait until that is done.
func (o *takeover) compact() {
	o.do("compacted", 0, func(ctx context.Context, conn *grpc.ClientConn) error {
		h, err := pb.NewMaintenanceClient(conn).HashKV(ctx, &pb.HashKVRequest{})
		if err != nil || h.HashRevision-h.CompactRevision < 10 {
			return err
		}
		revision := (max(h.CompactRevision, 0) + h.HashRevision) / 2
		_, err = pb.NewKVClient(conn).Compact(ctx, &pb.CompactionRequest{Revision: revision})
		if err == nil {
			o.observe(h.HashRevision, revision)
		}
		return err
	})
}

// lag stops a follower for so long that the others have forgotten what it needs, or almost.
func (o *takeover) lag() {
	if o.voters == 1 {
		return
	}
	i := o.rand.IntN(len(o.members))
	o.note("member %d away", i)
	o.members[i].Stop()
	o.work(300, i, nil)
	o.members[i].Launch()
	o.reach(i)
}

// changeMembers adds a learner that is never started, and removes it sometimes.
func (o *takeover) changeMembers() {
	o.do("members changed", 0, func(ctx context.Context, conn *grpc.ClientConn) error {
		cluster := pb.NewClusterClient(conn)
		list, err := cluster.MemberList(ctx, &pb.MemberListRequest{})
		if err != nil {
			return err
		}
		for _, m := range list.Members {
			if m.IsLearner && m.Name == "" {
				_, err := cluster.MemberRemove(ctx, &pb.MemberRemoveRequest{ID: m.ID})
				return err
			}
			if m.IsLearner {
				return nil
			}
		}
		_, err = cluster.MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: []string{"http://127.0.0.1:1"}, IsLearner: true})
		return err
	})
}

// addLearner adds a member without a vote, and starts it.
func (o *takeover) addLearner() {
	if o.voters == 1 || len(o.members) > o.voters {
		return
	}
	peer := freeport.Address(o.t)
	var cluster []string
	added := false
	o.do("a learner", 0, func(ctx context.Context, conn *grpc.ClientConn) error {
		resp, err := pb.NewClusterClient(conn).MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: []string{"http://" + peer}, IsLearner: true})
		if err != nil { // there is one that was never started
			return nil
		}
		added = true
		for _, m := range resp.Members {
			name := m.Name
			if m.ID == resp.Member.ID {
				name = "learner"
			}
			cluster = append(cluster, name+"="+m.PeerURLs[0])
		}
		return nil
	})
	if !added {
		return
	}
	cfg := o.cfg
	cfg.Program, cfg.Peer, cfg.Name, cfg.Cluster = o.members[0].Program(), peer, "learner", strings.Join(cluster, ",")
	cfg.Flags = append(slices.Clone(cfg.Flags), "--initial-cluster-state=existing")
	o.adopt(process.Prepare(o.t, cfg))
	o.members[o.voters].Launch()
	o.reach(o.voters)
}

// switchUsers switches users on, or off again.
func (o *takeover) switchUsers() {
	if o.users {
		o.do("users off", 0, func(ctx context.Context, conn *grpc.ClientConn) error {
			_, err := pb.NewAuthClient(conn).AuthDisable(ctx, &pb.AuthDisableRequest{})
			return err
		})
		o.users = false
		return
	}
	o.do("users on", 0, makeUsers)
	o.users = true
}

// alarm raises or clears an alarm.
func (o *takeover) alarm() {
	o.do("an alarm", 0, func(ctx context.Context, conn *grpc.ClientConn) error {
		maint := pb.NewMaintenanceClient(conn)
		all, err := maint.Alarm(ctx, &pb.AlarmRequest{})
		if err != nil {
			return err
		}
		change := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: o.rand.Uint64(), Alarm: pb.AlarmType_NOSPACE}
		if len(all.Alarms) > 0 {
			change.Action, change.MemberID = pb.AlarmRequest_DEACTIVATE, all.Alarms[0].MemberID
		}
		_, err = maint.Alarm(ctx, change)
		return err
	})
}

// work sends random operations through all voters but one, from several clients at a time, until they are done or there is nobody left.
func (o *takeover) work(ops, without int, acknowledged func()) {
	o.t.Helper()
	var clients sync.WaitGroup
	for i := range o.voters {
		if i == without {
			continue
		}
		for range 4 / o.voters {
			clients.Go(func() { o.send(i, ops/4, acknowledged) })
		}
	}
	clients.Wait()
}

func (o *takeover) send(i, ops int, acknowledged func()) {
	ctx, cancel := context.WithTimeout(o.t.Context(), takeoverBudget)
	defer cancel()
	ctx, err := login(ctx, o.conns[i], o.users)
	if err != nil {
		return
	}
	client, err := workload.NewClient(ctx, o.conns[i])
	if err != nil {
		return
	}
	for range ops {
		o.mu.Lock()
		op := o.mu.source.Next()
		o.mu.Unlock()
		if o.older && !olderAgree(op) {
			continue
		}
		outcome := client.Do(ctx, op)
		compacted := int64(-1)
		if r, ok := op.Request.(*pb.CompactionRequest); ok && outcome.Code == codes.OK {
			compacted = r.Revision
		}
		o.observe(outcome.Revision(), compacted)
		if acknowledged != nil {
			acknowledged()
		}
	}
}

// olderAgree is whether members of etcd 3.5 and 3.6 come to the same result of an operation: of some of what the generator makes they do not.
func olderAgree(op workload.Op) bool {
	r, ok := op.Request.(*pb.TxnRequest)
	return !ok || !slices.ContainsFunc(slices.Concat(r.Success, r.Failure), func(one *pb.RequestOp) bool {
		return one.GetRequestTxn() != nil || one.GetRequestRange() != nil
	})
}

// observe tells the generator what has become of an operation.
func (o *takeover) observe(revision, compacted int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.compacted = max(o.mu.compacted, compacted)
	o.mu.source.Observe(revision, o.mu.compacted)
}

// end stops all members in one of the ways in which that happens, and returns what they held.
func (o *takeover) end() [][]string {
	o.t.Helper()
	switch o.rand.IntN(4) {
	case 0:
		o.note("stopped")
		before := o.facts()
		o.each((*process.Server).Stop)
		return before
	case 1:
		o.note("killed")
		before := o.facts()
		o.each((*process.Server).Kill)
		o.tear()
		return before
	}
	return o.crash()
}

// crash kills all members under load. What they held then only the program knows that wrote it: it shows it. A single member's directory is
// given back its torn state after that; a cluster decides anew what of the end of the log counts, so it is killed once more.
func (o *takeover) crash() [][]string {
	o.note("killed under load")
	enough, count := int64(1+o.rand.IntN(200)), atomic.Int64{}
	kill := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		o.work(4*takeoverOps, -1, func() {
			if count.Add(1) == enough {
				close(kill)
			}
		})
	})
	worked := make(chan struct{})
	go func() {
		load.Wait()
		close(worked)
	}()
	select {
	case <-kill:
	case <-worked:
	}
	o.each((*process.Server).Kill)
	<-worked
	o.tear()
	if o.voters > 1 {
		o.start()
		before := o.facts()
		o.each((*process.Server).Kill)
		o.tear()
		return before
	}
	dir := o.members[0].DataDir()
	copyDir(o.t, dir, dir+".crashed")
	o.start()
	before := o.facts()
	o.each((*process.Server).Kill)
	if err := os.RemoveAll(dir); err != nil {
		o.t.Fatal(err)
	}
	if err := os.Rename(dir+".crashed", dir); err != nil {
		o.t.Fatal(err)
	}
	return before
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "cp", "-a", "--sparse=always", from, to).CombinedOutput()
	if err != nil {
		t.Fatalf("copy %s: %v\n%s", from, err, out)
	}
}

// tear gives some of the logs a torn end.
func (o *takeover) tear() {
	for _, s := range o.members {
		if o.one(2) {
			tear(o.t, s.DataDir(), o.rand)
		}
	}
}

// each does something to all members at once.
func (o *takeover) each(do func(*process.Server)) {
	var all sync.WaitGroup
	for _, s := range o.members {
		all.Go(func() { do(s) })
	}
	all.Wait()
}

func (o *takeover) start() {
	o.t.Helper()
	for _, s := range o.members {
		s.Launch()
	}
	for i := range o.members {
		o.reach(i)
	}
}

// reach waits until a member knows a leader, whom it takes to know the users.
func (o *takeover) reach(i int) {
	o.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(o.t.Context(), takeoverBudget)
	defer cancel()
	for {
		_, err := pb.NewMaintenanceClient(o.conns[i]).Status(ctx, &pb.StatusRequest{})
		if code := status.Code(err); code == codes.OK || code == codes.InvalidArgument || code == codes.Unauthenticated {
			return
		}
		o.conns[i].ResetConnectBackoff()
		select {
		case <-tick.C:
		case <-ctx.Done():
			o.t.Fatalf("member %d of %s does not answer: %v", i, o.members[i].Program().Name, err)
		}
		if !o.members[i].Running() {
			o.t.Fatalf("member %d of %s has ended", i, o.members[i].Program().Name)
		}
	}
}

// facts waits until all voters are at the same revision and returns what each says of everything.
func (o *takeover) facts() (all [][]string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), takeoverBudget)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		all = nil
		var err error
		for i := range o.voters {
			var lines []string
			if lines, err = o.ask(ctx, i); err != nil {
				break
			}
			all = append(all, lines)
		}
		if err == nil {
			if err = o.differ(all); err == nil {
				return append(all, o.learnt(ctx))
			}
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			o.t.Fatalf("the members do not agree: %v", last)
		}
	}
}

// ask asks one voter for everything.
func (o *takeover) ask(ctx context.Context, i int) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, takeoverBudget/4)
	defer cancel()
	return factsOf(ctx, o.members[i], o.conns[i], o.users)
}

// differ says in what voters differ, but for who they are.
func (o *takeover) differ(all [][]string) error {
	for i, lines := range all {
		if !slices.Equal(lines[1:], all[0][1:]) {
			return fmt.Errorf("members 0 and %d: %s", i, difference(all[0][1:], lines[1:]))
		}
	}
	return nil
}

// learnt is what the learner holds, which answers nothing but reads of its own state.
func (o *takeover) learnt(ctx context.Context) []string {
	o.t.Helper()
	if len(o.members) == o.voters {
		return nil
	}
	ctx, err := login(ctx, o.conns[0], o.users) // a learner lets nobody log in
	if err != nil {
		o.t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		want, err := current(ctx, o.conns[0])
		if got, failed := current(ctx, o.conns[o.voters]); err == nil && failed == nil && got == want {
			return []string{got}
		} else {
			err = errors.Join(err, failed)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			o.t.Fatalf("the learner does not hold what the others do: %v", err)
		}
	}
}

// current is all keys as one member has them.
func current(ctx context.Context, conn *grpc.ClientConn) (string, error) {
	all, err := pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Serializable: true})
	if err != nil {
		return "", err
	}
	all.Header = nil
	return text(all), nil
}

// compare ends the test if anything has changed.
func (o *takeover) compare(before, after [][]string) {
	o.t.Helper()
	for i := range before {
		if !slices.Equal(before[i], after[i]) {
			o.t.Fatalf("%s: member %d: %s", o.members[0].Program().Name, i, difference(before[i], after[i]))
		}
	}
}

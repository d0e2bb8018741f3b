package raft_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/raft"
	"github.com/quoin-kv/quoin/raft/wire"
)

var updateFlag = flag.Bool("update", false, "write what the scripts say now as what they should say")

// TestScripts plays testdata/*.txt. A script is blocks of command lines, each followed by ---- and what came of it, up to
// an empty line; lines with # are for the reader. The commands are the methods of script below.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playFile(t, file) })
	}
}

func playFile(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	played := play(t, string(text))
	if played == string(text) {
		return
	}
	if !*updateFlag {
		t.Fatalf("%s says something else now; if that is right, run with -update:\n%s", file, firstDifference(string(text), played))
	}
	if err := os.WriteFile(file, []byte(played), 0o644); err != nil {
		t.Fatal(err)
	}
}

func firstDifference(before, after string) string {
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\n  was %s\n  now %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines before, %d now", len(a), len(b))
}

// play runs a script and returns it with the output that it has now.
func play(t *testing.T, text string) string {
	s := &script{t: t, slow: map[uint64]bool{}}
	var out strings.Builder
	old := false // within the old output of a block
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case old && line != "":
		case line == "----":
			fmt.Fprintf(&out, "----\n%s", s.output.String())
			s.output.Reset()
			old = true
		case line == "" || strings.HasPrefix(line, "#"):
			fmt.Fprintln(&out, line)
			old = false
		default:
			fmt.Fprintln(&out, line)
			s.command(strings.Fields(line))
		}
	}
	if s.output.Len() > 0 {
		t.Fatalf("output that no block takes: %s", s.output.String())
	}
	return out.String()
}

// script is a cluster that obeys words.
type script struct {
	t       *testing.T
	cluster *cluster
	slow    map[uint64]bool
	output  strings.Builder
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(&s.output, format+"\n", args...) }

// command runs one line.
func (s *script) command(words []string) {
	commands := map[string]func(args []string){
		"cluster": s.newCluster, "tick": s.tick, "campaign": s.campaign, "propose": s.propose, "read": s.read,
		"transfer": s.transfer, "change": s.change, "join": s.join, "run": s.run, "deliver": s.deliver, "sync": s.sync,
		"slow": s.setSlow, "isolate": s.isolate, "rejoin": s.rejoin, "crash": s.crash, "restart": s.restart,
		"compact": s.compact, "status": s.status, "logs": s.logs, "quietly": s.quietly, "joint": s.joint, "members": s.members,
		"pass": s.pass, "gone": s.gone,
	}
	run, ok := commands[words[0]]
	if !ok {
		s.t.Fatalf("no command %q", words[0])
	}
	run(words[1:])
}

func (s *script) id(word string) uint64 {
	id, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *script) idsOf(words []string) (ids []uint64) {
	for _, w := range words {
		ids = append(ids, s.id(w))
	}
	return ids
}

// newCluster VOTER... [learner ID]... [no-prevote] [no-checkquorum]: a founded cluster whose members have applied who
// they are. The election timeout of member i is 10+i ticks.
func (s *script) newCluster(args []string) {
	cfg := defaults
	var voters, learners []uint64
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "no-prevote":
			cfg.PreVote = false
		case "no-checkquorum":
			cfg.CheckQuorum = false
		case "learner":
			i++
			learners = append(learners, s.id(args[i]))
		default:
			voters = append(voters, s.id(args[i]))
		}
	}
	s.cluster = newCluster(s.t, cfg, voters, learners)
	s.cluster.run()
	s.cluster.trace = s.printf
}

// quietly COMMAND...: without showing what happens.
func (s *script) quietly(args []string) {
	s.cluster.trace = func(string, ...any) {}
	s.command(args)
	s.cluster.trace = s.printf
}

// tick ID COUNT: time passes for a member.
func (s *script) tick(args []string) {
	n := s.cluster.members[s.id(args[0])]
	for range s.id(args[1]) {
		before := n.core.Role()
		s.cluster.tick(n.id, 1)
		if now := n.core.Role(); now != before {
			s.printf("  %d becomes %v in term %d", n.id, now, n.core.Term())
		}
	}
}

// campaign ID: an election timeout passes at once.
func (s *script) campaign(args []string) { s.cluster.do(s.id(args[0]), (*raft.Core).Campaign) }

// propose ID DATA...: one entry for each.
func (s *script) propose(args []string) {
	s.cluster.do(s.id(args[0]), func(core *raft.Core) {
		var data [][]byte
		for _, d := range args[1:] {
			data = append(data, []byte(d))
		}
		s.report(core.Propose(data...))
	})
}

func (s *script) report(err error) {
	if err != nil {
		s.printf("  refused: %v", err)
	}
}

// gone ID OTHER: a member learns that the process of another one has ended.
func (s *script) gone(args []string) {
	s.cluster.do(s.id(args[0]), func(core *raft.Core) { core.ReportGone(s.id(args[1])) })
}

// read ID READ: asks for a read index.
func (s *script) read(args []string) {
	s.cluster.do(s.id(args[0]), func(core *raft.Core) { s.report(core.ReadIndex(s.id(args[1]))) })
}

// transfer ID TO: asks member ID for leadership to go to TO.
func (s *script) transfer(args []string) {
	s.cluster.do(s.id(args[0]), func(core *raft.Core) { core.TransferLeader(s.id(args[1])) })
}

// change ID voter|learner|remove NODE: proposes a membership change.
func (s *script) change(args []string) {
	cc := wire.ConfChange{Type: changeTypes[args[1]], NodeID: s.id(args[2])}
	s.cluster.do(s.id(args[0]), func(core *raft.Core) { s.report(core.ProposeConfChange(cc)) })
}

// joint ID auto|explicit|leave [voter|learner|remove NODE]...: proposes several changes by way of a joint configuration, or
// the end of one.
func (s *script) joint(args []string) {
	cc := wire.ConfChangeV2{Transition: map[string]wire.ConfChangeTransition{"explicit": wire.TransitionJointExplicit}[args[1]]}
	for i := 2; i < len(args); i += 2 {
		cc.Changes = append(cc.Changes, wire.ConfChangeSingle{Type: changeTypes[args[i]], NodeID: s.id(args[i+1])})
	}
	s.cluster.do(s.id(args[0]), func(core *raft.Core) { s.report(core.ProposeConfChangeV2(cc)) })
}

var changeTypes = map[string]wire.ConfChangeType{
	"voter": wire.ConfChangeAddNode, "learner": wire.ConfChangeAddLearnerNode, "remove": wire.ConfChangeRemoveNode,
}

// join ID: a member with an empty disk comes up.
func (s *script) join(args []string) { s.cluster.add(s.id(args[0]), disk{}) }

// run: messages arrive in order and disks that are not slow write, until nothing is left to happen.
func (s *script) run([]string) {
	var held []uint64
	for _, id := range s.cluster.ids {
		if s.slow[id] {
			held = append(held, id)
		}
	}
	s.cluster.run(held...)
}

// deliver: the messages now in flight arrive; those that they cause do not yet.
func (s *script) deliver([]string) {
	for range len(s.cluster.network) {
		s.cluster.deliver(0)
	}
}

// sync ID: all writes of a member complete.
func (s *script) sync(args []string) {
	n := s.cluster.members[s.id(args[0])]
	s.printf("  %d writes", n.id)
	s.cluster.sync(n, len(n.pending))
}

// slow ID...: these disks write only on sync; without ids all are fast again.
func (s *script) setSlow(args []string) {
	s.slow = map[uint64]bool{}
	for _, id := range s.idsOf(args) {
		s.slow[id] = true
	}
}

// isolate ID...: nothing reaches these members or leaves them.
func (s *script) isolate(args []string) { s.cluster.isolate(s.idsOf(args)) }

// rejoin: everybody is reachable again.
func (s *script) rejoin([]string) { s.cluster.isolate(nil) }

// crash ID: the member stops and forgets what it has not written.
func (s *script) crash(args []string) {
	n := s.cluster.members[s.id(args[0])]
	s.cluster.crash(n, 0, 0)
	s.cluster.cut(n.id)
}

// restart ID: it comes up with what its disk holds.
func (s *script) restart(args []string) { s.cluster.start(s.cluster.members[s.id(args[0])]) }

// compact ID: the member flushes its machine and forgets the log behind it.
func (s *script) compact(args []string) { s.cluster.flush(s.cluster.members[s.id(args[0])], 0) }

// status: a line for each member that is up.
func (s *script) status([]string) {
	s.cluster.each(func(n *member) {
		st := n.core.Status()
		lead := "nobody"
		if st.Lead != 0 {
			lead = strconv.FormatUint(st.Lead, 10)
		}
		s.printf("%d %v of term %d, led by %s; last %d durable %d commit %d applied %d", st.ID, st.Role, st.Term, lead, st.Last, st.Durable, st.Commit, st.Applied)
		for _, p := range st.Peers {
			if p.ID != st.ID {
				s.printf("  %d match %d next %d %v%s", p.ID, p.Match, p.Next, p.State, map[bool]string{true: " learner"}[p.Learner])
			}
		}
	})
}

// pass COUNT: so many ticks pass for everybody that is up, in turn, and after each what can happen happens.
func (s *script) pass(args []string) {
	for range s.id(args[0]) {
		s.cluster.each(func(n *member) { s.tick([]string{strconv.FormatUint(n.id, 10), "1"}) })
		s.run(nil)
	}
}

// members: the configuration of each member that is up.
func (s *script) members([]string) {
	s.cluster.each(func(n *member) {
		conf := n.core.Status().ConfState
		s.printf("%d: voters %v outgoing %v learners %v next %v", n.id, conf.Voters, conf.VotersOutgoing, conf.Learners, conf.LearnersNext)
	})
}

// logs: what is on each disk.
func (s *script) logs([]string) {
	for _, id := range s.cluster.ids {
		d := s.cluster.members[id].disk
		from := ""
		if d.mark.Index > 0 {
			from = fmt.Sprintf(" [up to %d/%d]", d.mark.Index, d.mark.Term)
		}
		s.printf("%d:%s%s", id, from, showEntries(d.entries))
	}
	if err := s.cluster.logsMatch(); err != nil {
		s.t.Fatal(err)
	}
}

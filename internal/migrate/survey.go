package migrate

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Kind is the program that runs a member.
type Kind string

// The kinds.
const (
	Quoin Kind = "quoin"
	Etcd  Kind = "etcd"
)

// Cluster is what a migration asks of a live cluster.
type Cluster interface {
	// Look asks for the members, and each of them about itself. The error is that nobody tells who the members are.
	Look(ctx context.Context) (*Survey, error)
	// Hash hashes the history of a member up to a revision.
	Hash(ctx context.Context, m *Member, revision int64) (Hash, error)
	// Leases lists the leases that a member knows, in ascending order.
	Leases(ctx context.Context, m *Member) ([]int64, error)
	// MoveLeader has one member, which leads, make another the leader.
	MoveLeader(ctx context.Context, from, to *Member) error
}

// Hash is the hash of a member's history. Hashes of one revision can be compared if the compacted revisions are equal.
type Hash struct {
	Sum       uint32
	Compacted int64
}

// Survey is one look at a cluster.
type Survey struct {
	ClusterID uint64
	Members   []Member // in the order of their names
	Alarms    []string // such as "NOSPACE on m1"
}

// Member is what the cluster says of one of its members, and what the member says of itself.
type Member struct {
	ID         uint64
	Name       string // empty for one that was added and has never started
	Learner    bool
	PeerURLs   []string
	ClientURLs []string

	Endpoint string // where it was asked
	Err      error  // it does not answer; nothing below is known then
	Kind     Kind
	Version  string // of its server
	Leader   uint64 // whom it follows, 0: nobody
	Term     uint64
	Applied  uint64 // log index
	Revision int64
	Lowering bool  // a downgrade of the cluster is under way
	Reads    error // why it cannot read through the leader; nil if it can
}

// title is how a member is called in what an operator reads.
func (m *Member) title() string {
	id := strconv.FormatUint(m.ID, 16)
	if m.Name == "" {
		return "member " + id
	}
	return m.Name + " (" + id + ")"
}

// leads says whether a member is the leader, by its own account.
func (m *Member) leads() bool { return m.Err == nil && m.Leader == m.ID }

// behindMost is how many log entries a member may lack for another to be stopped.
const behindMost = 1000

// away are the members that do not answer.
func (s *Survey) away() (all []*Member) {
	for i := range s.Members {
		if s.Members[i].Err != nil {
			all = append(all, &s.Members[i])
		}
	}
	return all
}

// answering are the members that answer.
func (s *Survey) answering() (all []*Member) {
	for i := range s.Members {
		if s.Members[i].Err == nil {
			all = append(all, &s.Members[i])
		}
	}
	return all
}

// leader is the member that leads, nil if it is not known.
func (s *Survey) leader() *Member {
	for _, m := range s.answering() {
		if m.leads() {
			return m
		}
	}
	return nil
}

// byID finds a member, nil if there is none.
func (s *Survey) byID(id uint64) *Member {
	for i := range s.Members {
		if s.Members[i].ID == id {
			return &s.Members[i]
		}
	}
	return nil
}

// left are the members that are to become of a kind, the leader last: it must hand over, and then that is needed once.
func (s *Survey) left(to Kind) (all []*Member) {
	var last []*Member
	for i := range s.Members {
		switch m := &s.Members[i]; {
		case m.Err == nil && m.Kind == to:
		case m.leads():
			last = append(last, m)
		default:
			all = append(all, m)
		}
	}
	return append(all, last...)
}

// successor is the member to lead instead of another: one that has become of the new kind already, if there is one, and of those the one
// that has most of the log.
func (s *Survey) successor(of *Member, to Kind) *Member {
	var best *Member
	for _, m := range s.answering() {
		if m.ID == of.ID || m.Learner || m.Reads != nil {
			continue
		}
		if best == nil || (m.Kind == to) && best.Kind != to || (m.Kind == to) == (best.Kind == to) && m.Applied > best.Applied {
			best = m
		}
	}
	return best
}

// obstacles are the reasons not to touch the cluster as it is, apart from members that do not answer.
func (s *Survey) obstacles() []string {
	var all []string
	add := func(form string, args ...any) { all = append(all, fmt.Sprintf(form, args...)) }
	for _, alarm := range s.Alarms {
		add("there is an alarm: %s", alarm)
	}
	for i := range s.Members {
		switch m := &s.Members[i]; {
		case m.Name == "":
			add("%s was added and has never started: start or remove it", m.title())
		case m.Learner:
			add("%s is a learner: promote or remove it", m.title())
		}
	}
	leader := s.leader()
	if leader == nil {
		add("no member leads")
		return all
	}
	for _, m := range s.answering() {
		all = append(all, m.against(leader)...)
	}
	return all
}

// against are the obstacles at one member that answers.
func (m *Member) against(leader *Member) (all []string) {
	add := func(form string, args ...any) { all = append(all, m.title()+" "+fmt.Sprintf(form, args...)) }
	if reason := unfit(m.Version); reason != "" {
		add("is of version %s: %s", m.Version, reason)
	}
	if m.Leader != leader.ID || m.Term != leader.Term {
		add("follows %x in term %d, and %s leads in term %d", m.Leader, m.Term, leader.title(), leader.Term)
	}
	if m.Reads != nil {
		add("cannot read through the leader: %v", m.Reads)
	}
	if m.Applied+behindMost < leader.Applied {
		add("is %d log entries behind", leader.Applied-m.Applied)
	}
	if m.Lowering {
		add("knows of a downgrade of the cluster: finish or cancel it")
	}
	return all
}

// unfit says why a server of a version cannot be one of a mixed cluster.
func unfit(version string) string {
	major, minor, ok := parse(version)
	switch {
	case !ok:
		return "that cannot be read"
	case major < 3 || major == 3 && minor < 6:
		return "upgrade etcd to 3.6 first, one minor version at a time, or move a snapshot"
	case major > 3 || minor > 7:
		return "it is newer than what is known here, 3.7"
	}
	return ""
}

func parse(version string) (major, minor int, ok bool) {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return 0, 0, false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return major, minor, err1 == nil && err2 == nil
}

// risk says why a member must not be stopped, empty if it may: the others have to be a majority without it.
func (s *Survey) risk(victim *Member) string {
	voters, others := 0, 0
	for i := range s.Members {
		m := &s.Members[i]
		if m.Learner {
			continue
		}
		voters++
		if m.ID != victim.ID && m.Err == nil && m.Reads == nil {
			others++
		}
	}
	if others > voters/2 {
		return ""
	}
	return fmt.Sprintf("without %s %d of %d voters would be left, which is no majority", victim.title(), others, voters)
}

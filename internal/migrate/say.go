package migrate

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// say tells the operator something.
func (r *run) say(form string, args ...any) { _, _ = fmt.Fprintf(r.Out, form+"\n", args...) }

// sayMembers prints a table of the members.
func (r *run) sayMembers(s *Survey) {
	r.say("Cluster %x:", s.ClusterID)
	table := tabwriter.NewWriter(r.Out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "  MEMBER\tRUNS\tROLE\tAPPLIED\tREVISION\tASKED AT")
	for i := range s.Members {
		m := &s.Members[i]
		if m.Err != nil {
			_, _ = fmt.Fprintf(table, "  %s\tdoes not answer\t\t\t\t%s\n", m.title(), strings.Join(m.ClientURLs, ","))
			continue
		}
		role := "follower"
		if m.leads() {
			role = "leader"
		}
		_, _ = fmt.Fprintf(table, "  %s\t%s %s\t%s\t%d\t%d\t%s\n", m.title(), m.Kind, m.Version, role, m.Applied, m.Revision, m.Endpoint)
	}
	_ = table.Flush()
}

// sayPlan tells what a migration would do.
func (r *run) sayPlan(s *Survey, left []*Member) error {
	r.say("\nThis would be done, after a look at all members before each step:")
	for i, m := range left {
		hint := ""
		if m.leads() && s.successor(m, r.To) != nil {
			hint = ", which leads now and hands over before"
		}
		r.say("\n%d. %s becomes %s%s:", i+1, m.title(), r.To, hint)
		r.sayOrders(m, false)
	}
	if s.leader() != nil && len(left) == 1 && left[0].leads() && s.successor(left[0], r.To) == nil {
		r.say("\nNo other member can lead meanwhile: the cluster pauses.")
	}
	return nil
}

// sayStep announces a step.
func (r *run) sayStep(victim *Member, left int, interrupted bool) {
	r.say("\nStep %d of %d: %s becomes %s.", r.done+1, r.done+left, victim.title(), r.To)
	if interrupted {
		r.say("It does not answer: its replacement was interrupted, or it was down before. It is only started.")
	}
}

// sayOrders tells what is to be done on a member's machine.
func (r *run) sayOrders(m *Member, interrupted bool) {
	r.say("   On the machine of %s:", strings.Join(m.PeerURLs, ", "))
	if !interrupted {
		r.say("     stop %s, and wait until its process has ended", other(r.To))
	}
	r.say("     start %s on the same data directory, with the flags, variables and files that %s had, among them:", r.To, other(r.To))
	r.say("       %s --name=%s --initial-advertise-peer-urls=%s --advertise-client-urls=%s", program(r.To), m.Name,
		strings.Join(m.PeerURLs, ","), strings.Join(m.ClientURLs, ","))
}

// other is the kind that a member has before it becomes of a kind.
func other(than Kind) Kind {
	if than == Quoin {
		return Etcd
	}
	return Quoin
}

// program is the command that starts a member of a kind.
func program(k Kind) string {
	if k == Quoin {
		return "quoin server"
	}
	return "etcd"
}

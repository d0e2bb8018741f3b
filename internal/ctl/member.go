package ctl

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"
)

func (g *globals) memberCommand() *cobra.Command {
	return family("member <subcommand>", "List and change the members of the cluster",
		g.memberList(), g.memberAdd(), g.memberRemove(), g.memberUpdate(), g.memberPromote())
}

// memberList prints who the members are.
func (g *globals) memberList() *cobra.Command {
	var consistency string
	cmd := &cobra.Command{Use: "list", Short: "List the members"}
	cmd.Flags().StringVar(&consistency, "consistency", "l", "l: linearizable; s: serializable, whatever the asked member knows")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var options []clientv3.OpOption
		switch consistency {
		case "l":
		case "s":
			options = append(options, clientv3.WithSerializable())
		default:
			return fail(ExitUnsupported, "unknown consistency flag %q", consistency)
		}
		return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
			r, err := c.MemberList(ctx, options...)
			if err != nil {
				return answer{}, err
			}
			rows := memberRows(r.Members)
			return answer{
				json: g.idJSON(r, r.Header, r.Members), proto: (*etcdserverpb.MemberListResponse)(r),
				simple: func(w io.Writer) error { return WriteRows(w, rows) },
				fields: func(f *fieldWriter) { f.members(r.Header, r.Members) },
				table:  &Table{Header: []string{"ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"}, Rows: rows},
			}, nil
		})
	}
	return cmd
}

func memberRows(members []*etcdserverpb.Member) (rows [][]string) {
	for _, m := range members {
		status := "started"
		if m.Name == "" {
			status = "unstarted"
		}
		rows = append(rows, []string{
			strconv.FormatUint(m.ID, 16), status, m.Name, strings.Join(m.PeerURLs, ","), strings.Join(m.ClientURLs, ","), strconv.FormatBool(m.IsLearner),
		})
	}
	return rows
}

// WriteRows prints each row as one line.
func WriteRows(w io.Writer, rows [][]string) error {
	for _, row := range rows {
		if _, err := fmt.Fprintln(w, strings.Join(row, ", ")); err != nil {
			return err
		}
	}
	return nil
}

func (f *fieldWriter) members(h *etcdserverpb.ResponseHeader, members []*etcdserverpb.Member) {
	f.header(h)
	for _, m := range members {
		f.id("ID", m.ID)
		f.field("Name", m.Name)
		for _, u := range m.PeerURLs {
			f.field("PeerURL", u)
		}
		for _, u := range m.ClientURLs {
			f.field("ClientURL", u)
		}
		f.field("IsLearner", m.IsLearner)
		f.print("")
	}
}

// hexHeader and hexMember are the JSON of --hex: ids are texts.
type hexHeader struct {
	ClusterID string `json:"cluster_id,omitempty"`
	MemberID  string `json:"member_id,omitempty"`
	Revision  int64  `json:"revision,omitempty"`
	RaftTerm  uint64 `json:"raft_term,omitempty"`
}

type hexMember struct {
	ID         string   `json:"ID,omitempty"`
	Name       string   `json:"name,omitempty"`
	PeerURLs   []string `json:"peerURLs,omitempty"`
	ClientURLs []string `json:"clientURLs,omitempty"`
	IsLearner  bool     `json:"isLearner,omitempty"`
}

type hexMembers struct {
	Header  hexHeader   `json:"header"`
	Member  *hexMember  `json:"member,omitempty"`
	Members []hexMember `json:"members"`
}

// idJSON is what to print as JSON: the response, or with --hex its header and members with readable ids.
func (g *globals) idJSON(response any, h *etcdserverpb.ResponseHeader, members []*etcdserverpb.Member) any {
	if !g.hex {
		return response
	}
	out := hexMembers{Header: hexHeader{ClusterID: id(h.ClusterId), MemberID: id(h.MemberId), Revision: h.Revision, RaftTerm: h.RaftTerm}}
	for _, m := range members {
		out.Members = append(out.Members, readable(m))
	}
	if r, ok := response.(*clientv3.MemberAddResponse); ok {
		added := readable(r.Member)
		out.Member = &added
	}
	return out
}

func readable(m *etcdserverpb.Member) hexMember {
	return hexMember{ID: id(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, IsLearner: m.IsLearner}
}

func id(n uint64) string { return strconv.FormatUint(n, 16) }

func (g *globals) memberAdd() *cobra.Command {
	var urls []string
	var learner bool
	cmd := &cobra.Command{Use: "add <memberName> [options]", Short: "Add a member"}
	cmd.Flags().StringSliceVar(&urls, "peer-urls", nil, "where other members reach it")
	cmd.Flags().BoolVar(&learner, "learner", false, "without a vote, until it is promoted")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return fail(ExitBadArguments, "member name not provided")
		case len(args) > 1:
			return fail(ExitBadArguments, "too many arguments")
		case len(urls) == 0:
			return fail(ExitBadArguments, "member peer urls not provided")
		}
		return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
			add := c.MemberAdd
			if learner {
				add = c.MemberAddAsLearner
			}
			r, err := add(ctx, urls)
			if err != nil {
				return answer{}, err
			}
			return answer{json: g.idJSON(r, r.Header, r.Members), proto: (*etcdserverpb.MemberAddResponse)(r), simple: func(w io.Writer) error { return writeAdded(w, args[0], r) }}, nil
		})
	}
	return cmd
}

// writeAdded prints what the new member has to be started with.
func writeAdded(w io.Writer, name string, r *clientv3.MemberAddResponse) error {
	as := ""
	if r.Member.IsLearner {
		as = " as learner"
	}
	var cluster []string
	for _, m := range r.Members {
		n := m.Name
		if m.ID == r.Member.ID {
			n = name
		}
		for _, u := range m.PeerURLs {
			cluster = append(cluster, n+"="+u)
		}
	}
	return line("Member %16x added%s to cluster %16x\n\nETCD_NAME=%q\nETCD_INITIAL_CLUSTER=%q\nETCD_INITIAL_ADVERTISE_PEER_URLS=%q\nETCD_INITIAL_CLUSTER_STATE=%q",
		r.Member.ID, as, r.Header.ClusterId, name, strings.Join(cluster, ","), strings.Join(r.Member.PeerURLs, ","), "existing")(w)
}

// memberChange prints what became of one member.
func (g *globals) memberChange(cmd *cobra.Command, args []string, done string, do func(context.Context, *clientv3.Client, uint64) (changed, error)) error {
	if len(args) != 1 {
		return fail(ExitBadArguments, "member ID is not provided")
	}
	member, err := strconv.ParseUint(args[0], 16, 64)
	if err != nil {
		return fail(ExitBadArguments, "bad member ID arg (%w), expecting ID in Hex", err)
	}
	return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
		r, err := do(ctx, c, member)
		if err != nil {
			return answer{}, err
		}
		return answer{
			json: g.idJSON(r, r.GetHeader(), r.GetMembers()), proto: r,
			simple: line("Member %16x %s cluster %16x", member, done, r.GetHeader().GetClusterId()),
		}, nil
	})
}

// changed is the response to any change of a member.
type changed interface {
	proto.Message
	GetHeader() *etcdserverpb.ResponseHeader
	GetMembers() []*etcdserverpb.Member
}

func (g *globals) memberRemove() *cobra.Command {
	return &cobra.Command{Use: "remove <memberID>", Short: "Remove a member", RunE: func(cmd *cobra.Command, args []string) error {
		return g.memberChange(cmd, args, "removed from", func(ctx context.Context, c *clientv3.Client, id uint64) (changed, error) {
			r, err := c.MemberRemove(ctx, id)
			return (*etcdserverpb.MemberRemoveResponse)(r), err
		})
	}}
}

func (g *globals) memberPromote() *cobra.Command {
	return &cobra.Command{Use: "promote <memberID>", Short: "Give a learner a vote", RunE: func(cmd *cobra.Command, args []string) error {
		return g.memberChange(cmd, args, "promoted in", func(ctx context.Context, c *clientv3.Client, id uint64) (changed, error) {
			r, err := c.MemberPromote(ctx, id)
			return (*etcdserverpb.MemberPromoteResponse)(r), err
		})
	}}
}

func (g *globals) memberUpdate() *cobra.Command {
	var urls []string
	cmd := &cobra.Command{Use: "update <memberID> [options]", Short: "Change where other members reach a member"}
	cmd.Flags().StringSliceVar(&urls, "peer-urls", nil, "where other members reach it from now on")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 && len(urls) == 0 {
			return fail(ExitBadArguments, "member peer urls not provided")
		}
		return g.memberChange(cmd, args, "updated in", func(ctx context.Context, c *clientv3.Client, id uint64) (changed, error) {
			r, err := c.MemberUpdate(ctx, id, urls)
			return (*etcdserverpb.MemberUpdateResponse)(r), err
		})
	}
	return cmd
}

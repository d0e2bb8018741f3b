package utl

import (
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quoin-kv/quoin/internal/ctl"
	"github.com/quoin-kv/quoin/internal/offline"
)

func membersCommand(f *format) *cobra.Command {
	var o offline.MembersOptions
	cmd := &cobra.Command{
		Use: "members", Short: "List the members that a data directory has, and mend the list", Args: cobra.NoArgs,
		Long: "List the members that the data directory of a member that does not run has. Directories of etcd 3.5 and before can hold members that were\n" +
			"removed long ago; what is wrong with a member is said behind it. With --mend the directory gets the members that its log has. It is done in\n" +
			"the directory of every member while none of them runs.",
	}
	cmd.Flags().StringVar(&o.DataDir, "data-dir", "", "the member's data directory (required)")
	cmd.Flags().StringVar(&o.WALDir, "wal-dir", "", "directory of the log, if it is not inside the data directory")
	cmd.Flags().BoolVar(&o.Mend, "mend", false, "make the list that of the log")
	cmd.Flags().StringSliceVar(&o.Remove, "remove", nil, "ids of members to take out of the list, whatever the log says")
	required(cmd, "data-dir")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		list, err := offline.Members(o)
		if err != nil {
			return failed(err)
		}
		if o.Mend || len(o.Remove) > 0 {
			logger(cmd).Info("members mended; these were they before", "data-dir", o.DataDir)
		}
		return f.showMembers(cmd.OutOrStdout(), list)
	}
	return cmd
}

// showMembers prints one line for each member.
func (f *format) showMembers(w io.Writer, list []offline.MemberState) error {
	switch f.name {
	case "json":
		return ctl.WriteJSON(w, list)
	case "fields":
		for _, m := range list {
			one := result{columns: []column{
				{field: "ID", text: m.ID},
				{field: "Name", text: strconv.Quote(m.Name)},
				{field: "PeerURLs", text: strings.Join(m.PeerURLs, ",")},
				{field: "ClientURLs", text: strings.Join(m.ClientURLs, ",")},
				{field: "IsLearner", value: m.Learner},
				{field: "Self", value: m.Self},
				{field: "Problem", text: strconv.Quote(m.Problem)},
			}}
			if err := f.show(w, one); err != nil {
				return err
			}
		}
		return nil
	}
	var rows [][]string
	for _, m := range list {
		state := m.Problem
		if state == "" {
			state = "ok"
		}
		rows = append(rows, []string{m.ID, m.Name, strings.Join(m.PeerURLs, ","), strings.Join(m.ClientURLs, ","), strconv.FormatBool(m.Learner), state})
	}
	if f.name == "table" {
		table := ctl.Table{Header: []string{"ID", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER", "STATE"}, Rows: rows}
		return table.Write(w)
	}
	return ctl.WriteRows(w, rows)
}

package ctl

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// statusOf holds the flags of the status command.
type statusOf struct {
	*globals
}

// An endpointStatus is what one server said of itself.
type endpointStatus struct {
	Endpoint string
	Status   *clientv3.StatusResponse
}

func statusCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Print what each server says of itself",
	}
	s := &statusOf{globals: g}
	cmd.RunE = s.run
	return cmd
}

// run asks every endpoint. One that does not answer is reported on the error
// stream and makes the command fail, after the others have been printed.
func (s *statusOf) run(cmd *cobra.Command, args []string) error {
	if err := s.check(); err != nil {
		return err
	}
	if len(args) > 0 {
		return fail(ExitBadArguments, "status takes no arguments: name servers with --endpoints")
	}
	client, err := s.dial(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	answers := []endpointStatus{} // no answer at all is [] in JSON
	var failure error
	for _, endpoint := range s.endpoints {
		answer, err := s.ask(cmd.Context(), client, endpoint)
		if err != nil {
			cmd.PrintErrf("Failed to get the status of endpoint %s (%v)\n", endpoint, err)
			failure = err
			continue
		}
		answers = append(answers, endpointStatus{endpoint, answer})
	}
	err = s.show(cmd.OutOrStdout(), answer{json: answers, simple: func(w io.Writer) error { return writeStatuses(w, answers) }})
	if err != nil || failure == nil {
		return err
	}
	return fail(ExitCode(failure), "%d of %d endpoints did not answer", len(s.endpoints)-len(answers), len(s.endpoints))
}

func (s *statusOf) ask(ctx context.Context, client *clientv3.Client, endpoint string) (*clientv3.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.commandTimeout)
	defer cancel()
	answer, err := client.Status(ctx, endpoint)
	return answer, serverError(err)
}

func writeStatuses(w io.Writer, answers []endpointStatus) error {
	for i, answer := range answers {
		separator := ""
		if i > 0 {
			separator = "\n"
		}
		if _, err := io.WriteString(w, separator+statusText(answer)); err != nil {
			return err
		}
	}
	return nil
}

// statusText renders one answer, a fact per line.
func statusText(answer endpointStatus) string {
	s := answer.Status
	var b strings.Builder
	line := func(name, form string, args ...any) {
		fmt.Fprintf(&b, "%-10s%s\n", name, fmt.Sprintf(form, args...))
	}
	line("endpoint", "%s", answer.Endpoint)
	line("member", "%x (%s) of cluster %x", s.Header.MemberId, role(s), s.Header.ClusterId)
	line("version", "%s, storage %s", s.Version, s.StorageVersion)
	line("database", "%s, %s in use, quota %s", FormatBytes(s.DbSize), FormatBytes(s.DbSizeInUse), FormatBytes(s.DbSizeQuota))
	line("raft", "term %d, index %d, applied %d", s.RaftTerm, s.RaftIndex, s.RaftAppliedIndex)
	line("revision", "%d", s.Header.Revision)
	for _, text := range s.Errors {
		line("error", "%s", text)
	}
	return b.String()
}

func role(s *clientv3.StatusResponse) string {
	switch {
	case s.IsLearner:
		return "learner"
	case s.Leader == 0:
		return "no leader"
	case s.Leader == s.Header.MemberId:
		return "leader"
	}
	return fmt.Sprintf("follower of %x", s.Leader)
}

// FormatBytes renders bytes in steps of a thousand, to two digits below ten.
func FormatBytes(bytes int64) string {
	if bytes < 1000 {
		return strconv.FormatInt(bytes, 10) + " B"
	}
	value, unit := float64(bytes), ""
	for _, unit = range []string{"kB", "MB", "GB", "TB"} {
		value /= 1000
		if value < 999.5 {
			break
		}
	}
	if value < 9.95 {
		return fmt.Sprintf("%.1f %s", value, unit)
	}
	return fmt.Sprintf("%.0f %s", value, unit)
}

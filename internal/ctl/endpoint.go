package ctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// endpoints is the flag of commands that ask each server for itself.
type endpoints struct {
	*globals
	cluster bool
}

func (e *endpoints) addFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().BoolVar(&e.cluster, "cluster", false, "use all endpoints from the cluster member list")
}

// list returns the endpoints to ask.
func (e *endpoints) list(cmd *cobra.Command) ([]string, error) {
	if !e.cluster {
		return e.connection.endpoints, nil
	}
	var found []string
	err := e.connection.run(cmd, func(ctx context.Context, c *clientv3.Client) error {
		r, err := c.MemberList(ctx)
		if err != nil {
			return fail(ExitFailure, "failed to fetch endpoints from etcd cluster member list: %s", describe(err))
		}
		for _, m := range r.Members {
			found = append(found, m.ClientURLs...)
		}
		return nil
	})
	return found, err
}

func (g *globals) endpointCommand() *cobra.Command {
	e := &endpoints{globals: g}
	var revision int64
	hash := &cobra.Command{Use: "hashkv", Short: "Hash the history that each endpoint has", RunE: func(cmd *cobra.Command, _ []string) error {
		return e.hash(cmd, revision)
	}}
	hash.Flags().Int64Var(&revision, "rev", 0, "up to this revision (0: all)")
	cmd := family(
		"endpoint <subcommand>", "Ask each endpoint for itself",
		&cobra.Command{Use: "health", Short: "See whether each endpoint can write", RunE: func(cmd *cobra.Command, _ []string) error { return e.health(cmd) }},
		&cobra.Command{Use: "status", Short: "Print what each endpoint says of itself", RunE: func(cmd *cobra.Command, _ []string) error { return e.status(cmd) }},
		hash,
	)
	e.addFlag(cmd)
	return cmd
}

// each asks all endpoints in turn, and prints the failures. The error is the last failure.
func (e *endpoints) each(cmd *cobra.Command, what string, ask func(ctx context.Context, c *clientv3.Client, endpoint string) error) error {
	var failure error
	err := e.visit(cmd, func(c *clientv3.Client, endpoint string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), e.commandTimeout)
		defer cancel()
		if err := ask(ctx, c, endpoint); err != nil {
			failure = serverError(err)
			cmd.PrintErrf("Failed to get the %s of endpoint %s (%v)\n", what, endpoint, failure)
		}
		return nil
	})
	return cmp.Or(err, failure)
}

// visit calls fn for all endpoints in turn, with a client of them all, until fn fails.
func (e *endpoints) visit(cmd *cobra.Command, fn func(c *clientv3.Client, endpoint string) error) error {
	list, err := e.list(cmd)
	if err != nil {
		return err
	}
	client, err := e.dial(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, endpoint := range list {
		if err := fn(client, endpoint); err != nil {
			return err
		}
	}
	return nil
}

func (e *endpoints) status(cmd *cobra.Command) error {
	if err := e.check(); err != nil {
		return err
	}
	answers := []endpointStatus{} // no answer at all is [] in JSON
	failure := e.each(cmd, "status", func(ctx context.Context, c *clientv3.Client, endpoint string) error {
		r, err := c.Status(ctx, endpoint)
		if err == nil {
			answers = append(answers, endpointStatus{endpoint, r})
		}
		return err
	})
	rows := statusRows(answers)
	return later(failure, e.show(cmd.OutOrStdout(), answer{
		json: answers, simple: func(w io.Writer) error { return WriteRows(w, rows) },
		fields: func(f *fieldWriter) {
			for _, a := range answers {
				f.status(a)
			}
		},
		table: &Table{Header: statusColumns(), Rows: rows},
	}))
}

// later returns an earlier error, or else the one of printing.
func later(failure, printing error) error {
	if printing != nil {
		return printing
	}
	return failure
}

func statusColumns() []string {
	return []string{
		"ENDPOINT", "ID", "VERSION", "STORAGE VERSION", "DB SIZE", "IN USE", "PERCENTAGE NOT IN USE", "QUOTA", "IS LEADER", "IS LEARNER",
		"RAFT TERM", "RAFT INDEX", "RAFT APPLIED INDEX", "ERRORS", "DOWNGRADE TARGET VERSION", "DOWNGRADE ENABLED",
	}
}

func statusRows(answers []endpointStatus) (rows [][]string) {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	for _, a := range answers {
		s := a.Status
		unused := int64(0)
		if s.DbSize > 0 {
			unused = 100 - s.DbSizeInUse*100/s.DbSize
		}
		rows = append(rows, []string{
			a.Endpoint, id(s.Header.MemberId), s.Version, s.StorageVersion, FormatBytes(s.DbSize), FormatBytes(s.DbSizeInUse), strconv.FormatInt(unused, 10) + "%",
			FormatBytes(s.DbSizeQuota), strconv.FormatBool(s.Leader == s.Header.MemberId), strconv.FormatBool(s.IsLearner), number(s.RaftTerm), number(s.RaftIndex),
			number(s.RaftAppliedIndex), strings.Join(s.Errors, ", "), s.DowngradeInfo.GetTargetVersion(), strconv.FormatBool(s.DowngradeInfo.GetEnabled()),
		})
	}
	return rows
}

func (f *fieldWriter) status(a endpointStatus) {
	s := a.Status
	f.header(s.Header)
	f.field("Version", s.Version)
	f.field("StorageVersion", s.StorageVersion)
	f.field("DBSize", s.DbSize)
	f.field("DBSizeInUse", s.DbSizeInUse)
	f.field("DBSizeQuota", s.DbSizeQuota)
	f.field("Leader", s.Leader)
	f.field("IsLearner", s.IsLearner)
	f.field("RaftIndex", s.RaftIndex)
	f.field("RaftAppliedIndex", s.RaftAppliedIndex)
	f.field("Errors", s.Errors)
	f.field("Endpoint", a.Endpoint)
	f.field("DowngradeTargetVersion", s.DowngradeInfo.GetTargetVersion())
	f.field("DowngradeEnabled", s.DowngradeInfo.GetEnabled())
	f.print("")
}

// An endpointHash is what one server hashed.
type endpointHash struct {
	Endpoint string
	HashKV   *clientv3.HashKVResponse
}

func (e *endpoints) hash(cmd *cobra.Command, revision int64) error {
	if err := e.check(); err != nil {
		return err
	}
	answers := []endpointHash{}
	failure := e.each(cmd, "hash", func(ctx context.Context, c *clientv3.Client, endpoint string) error {
		r, err := c.HashKV(ctx, endpoint, revision)
		if err == nil {
			answers = append(answers, endpointHash{endpoint, r})
		}
		return err
	})
	if failure != nil && len(answers) == 0 {
		return failure
	}
	var rows [][]string
	for _, a := range answers {
		rows = append(rows, []string{a.Endpoint, strconv.FormatUint(uint64(a.HashKV.Hash), 10), strconv.FormatInt(a.HashKV.HashRevision, 10)})
	}
	return later(failure, e.show(cmd.OutOrStdout(), answer{
		json: answers, simple: func(w io.Writer) error { return WriteRows(w, rows) },
		fields: func(f *fieldWriter) {
			for _, a := range answers {
				f.header(a.HashKV.Header)
				f.field("Endpoint", a.Endpoint)
				f.field("Hash", a.HashKV.Hash)
				f.field("HashRevision", a.HashKV.HashRevision)
				f.print("")
			}
		},
		table: &Table{Header: []string{"ENDPOINT", "HASH", "HASH REVISION"}, Rows: rows},
	}))
}

// An endpointHealth says whether a server can write.
type endpointHealth struct {
	Endpoint string `json:"endpoint"`
	Health   bool   `json:"health"`
	Took     string `json:"took"`
	Error    string `json:"error,omitempty"`
}

// health asks all endpoints at once: one that does not answer must not keep the others.
func (e *endpoints) health(cmd *cobra.Command) error {
	if err := e.check(); err != nil {
		return err
	}
	list, err := e.list(cmd)
	if err != nil {
		return err
	}
	answers := make([]endpointHealth, len(list))
	var wg sync.WaitGroup
	for i, endpoint := range list {
		wg.Go(func() { answers[i] = e.healthOf(cmd, endpoint) })
	}
	wg.Wait()
	if err := e.show(cmd.OutOrStdout(), healthAnswer(answers, cmd.ErrOrStderr())); err != nil {
		return err
	}
	if slices.ContainsFunc(answers, func(a endpointHealth) bool { return !a.Health }) {
		return fail(ExitFailure, "unhealthy cluster")
	}
	return nil
}

// healthOf reads through the leader, for which the endpoint needs all that a write needs.
func (e *endpoints) healthOf(cmd *cobra.Command, endpoint string) endpointHealth {
	start := time.Now()
	one := *e.connection
	one.endpoints = []string{endpoint}
	err := one.run(cmd, func(ctx context.Context, c *clientv3.Client) error {
		if _, err := c.Get(ctx, "health"); err != nil && !errors.Is(err, rpctypes.ErrPermissionDenied) {
			return err
		}
		r, err := c.AlarmList(ctx)
		if err != nil {
			//lint:ignore ST1005 these are the words that scripts look for
			return fmt.Errorf("Unable to fetch the alarm list")
		}
		if len(r.Alarms) == 0 {
			return nil
		}
		var names []string
		for _, a := range r.Alarms {
			names = append(names, a.Alarm.String())
		}
		//lint:ignore ST1005 these are the words that scripts look for
		return fmt.Errorf("Active Alarm(s): %s", strings.Join(names, " "))
	})
	h := endpointHealth{Endpoint: endpoint, Health: err == nil, Took: time.Since(start).String()}
	if err != nil {
		h.Error = describe(err)
	}
	return h
}

func healthAnswer(answers []endpointHealth, errs io.Writer) answer {
	var rows [][]string
	for _, a := range answers {
		rows = append(rows, []string{a.Endpoint, strconv.FormatBool(a.Health), a.Took, a.Error})
	}
	return answer{
		json: answers, table: &Table{Header: []string{"ENDPOINT", "HEALTH", "TOOK", "ERROR"}, Rows: rows},
		simple: func(w io.Writer) error {
			for _, a := range answers {
				if !a.Health {
					fmt.Fprintf(errs, "%s is unhealthy: failed to commit proposal: %s\n", a.Endpoint, a.Error)
				} else if _, err := fmt.Fprintf(w, "%s is healthy: successfully committed proposal: took = %s\n", a.Endpoint, a.Took); err != nil {
					return err
				}
			}
			return nil
		},
		fields: func(f *fieldWriter) {
			for _, a := range answers {
				f.field("Endpoint", a.Endpoint)
				f.field("Health", a.Health)
				f.print("%q : %s", "Took", a.Took)
				f.print("%q : %s\n", "Error", a.Error)
			}
		},
	}
}

func (g *globals) defragCommand() *cobra.Command {
	e := &endpoints{globals: g}
	cmd := &cobra.Command{Use: "defrag", Short: "Rewrite the database file of each endpoint without its free pages"}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return e.defrag(cmd)
	}
	e.addFlag(cmd)
	return cmd
}

func (e *endpoints) defrag(cmd *cobra.Command) error {
	failed := false
	err := e.visit(cmd, func(c *clientv3.Client, endpoint string) error {
		start := time.Now()
		ctx, cancel := context.WithTimeout(cmd.Context(), e.commandTimeout)
		defer cancel()
		if _, err := c.Defragment(ctx, endpoint); err != nil {
			cmd.PrintErrf("Failed to defragment etcd member[%s]. took %s. (%v)\n", endpoint, time.Since(start), serverError(err))
			failed = true
			return nil
		}
		if err := line("Finished defragmenting etcd member[%s]. took %s", endpoint, time.Since(start))(cmd.OutOrStdout()); err != nil {
			return fail(ExitIO, "%w", err)
		}
		return nil
	})
	if err == nil && failed {
		err = &ExitError{Code: ExitFailure, Err: ErrReported}
	}
	return err
}

func (g *globals) moveLeaderCommand() *cobra.Command {
	return &cobra.Command{Use: "move-leader <transferee-member-id>", Short: "Have another member lead", RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fail(ExitBadArguments, "move-leader command needs 1 argument")
		}
		target, err := strconv.ParseUint(args[0], 16, 64)
		if err != nil {
			return fail(ExitBadArguments, "%w", err)
		}
		leader, endpoint, err := g.findLeader(cmd)
		if err != nil {
			return err
		}
		one := *g.connection
		one.endpoints = []string{endpoint}
		atLeader := &globals{connection: &one, format: g.format, hex: g.hex, flags: g.flags}
		return atLeader.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
			r, err := c.MoveLeader(ctx, target)
			return answer{json: r, proto: (*etcdserverpb.MoveLeaderResponse)(r), simple: line("Leadership transferred from %x to %x", leader, target)}, err
		})
	}}
}

// findLeader asks the endpoints which of them leads.
func (g *globals) findLeader(cmd *cobra.Command) (leader uint64, endpoint string, err error) {
	err = g.connection.run(cmd, func(ctx context.Context, c *clientv3.Client) error {
		for _, candidate := range g.connection.endpoints {
			r, err := c.Status(ctx, candidate)
			if err != nil {
				return serverError(err)
			}
			if r.Header.MemberId == r.Leader {
				leader, endpoint = r.Leader, candidate
				return nil
			}
		}
		return fail(ExitBadArguments, "no leader endpoint given at %v", g.connection.endpoints)
	})
	return leader, endpoint, err
}

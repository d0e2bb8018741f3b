package ctl

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func (g *globals) alarmCommand() *cobra.Command {
	return family("alarm <subcommand>", "List and clear alarms", &cobra.Command{
		Use: "list", Short: "List the alarms that members have raised",
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.alarm(cmd, args, func(ctx context.Context, c *clientv3.Client) (*clientv3.AlarmResponse, error) {
				return c.AlarmList(ctx)
			})
		},
	}, &cobra.Command{
		Use: "disarm", Short: "Clear all alarms",
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.alarm(cmd, args, func(ctx context.Context, c *clientv3.Client) (*clientv3.AlarmResponse, error) {
				return c.AlarmDisarm(ctx, &clientv3.AlarmMember{})
			})
		},
	})
}

func (g *globals) alarm(cmd *cobra.Command, args []string, do func(context.Context, *clientv3.Client) (*clientv3.AlarmResponse, error)) error {
	if len(args) > 0 {
		return fail(ExitBadArguments, "alarm %s command accepts no arguments", cmd.Name())
	}
	return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
		r, err := do(ctx, c)
		return answer{json: r, proto: (*etcdserverpb.AlarmResponse)(r), simple: func(w io.Writer) error {
			for _, a := range r.Alarms {
				if _, err := fmt.Fprintf(w, "memberID:%d alarm:%s\n", a.MemberID, a.Alarm); err != nil {
					return err
				}
			}
			return nil
		}, fields: func(f *fieldWriter) {
			f.header(r.Header)
			for _, a := range r.Alarms {
				f.id("MemberID", a.MemberID)
				f.print("%q : %v\n", "AlarmType", a.Alarm)
			}
		}}, err
	})
}

func (g *globals) compactionCommand() *cobra.Command {
	var physical bool
	cmd := &cobra.Command{Use: "compaction [options] <revision>", Short: "Forget the history below a revision"}
	cmd.Flags().BoolVar(&physical, "physical", false, "wait until it is gone from the file")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fail(ExitBadArguments, "compaction command needs 1 argument")
		}
		revision, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil {
			return fail(ExitFailure, "%w", err)
		}
		var options []clientv3.CompactOption
		if physical {
			options = append(options, clientv3.WithCompactPhysical())
		}
		return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
			r, err := c.Compact(ctx, revision, options...)
			return answer{
				json: r, proto: (*etcdserverpb.CompactionResponse)(r), simple: line("compacted revision %d", revision),
				fields: func(f *fieldWriter) { f.header(r.Header) },
			}, err
		})
	}
	return cmd
}

func (g *globals) downgradeCommand() *cobra.Command {
	one := func(use, short string, action clientv3.DowngradeAction, needsTarget bool) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, RunE: func(cmd *cobra.Command, args []string) error {
			target := ""
			switch {
			case needsTarget && len(args) == 0:
				return fail(ExitBadArguments, "TARGET_VERSION not provided")
			case needsTarget && len(args) > 1:
				return fail(ExitBadArguments, "too many arguments")
			case needsTarget:
				target = args[0]
			}
			return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
				r, err := c.Downgrade(ctx, action, target)
				return answer{json: r, proto: (*etcdserverpb.DowngradeResponse)(r), simple: func(w io.Writer) error {
					return line("Downgrade %s success, cluster version %s", cmd.Name(), r.Version)(w)
				}}, err
			})
		}}
	}
	return family(
		"downgrade <TARGET_VERSION>", "Take the cluster down to the version below",
		one("validate <TARGET_VERSION>", "See whether the cluster could go down", clientv3.DowngradeValidate, true),
		one("enable <TARGET_VERSION>", "Let the cluster go down", clientv3.DowngradeEnable, true),
		one("cancel", "End a downgrade that is under way", clientv3.DowngradeCancel, false),
	)
}

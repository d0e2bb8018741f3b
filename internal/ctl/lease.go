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

func (g *globals) leaseCommand() *cobra.Command {
	return family("lease <subcommand>", "Grant, keep and end leases", g.leaseGrant(), g.leaseRevoke(), g.leaseTimeToLive(), g.leaseList(), g.leaseKeepAlive())
}

// parseLease reads the id of a lease.
func parseLease(text string) (clientv3.LeaseID, error) {
	id, err := strconv.ParseInt(text, 16, 64)
	if err != nil {
		return 0, fail(ExitBadArguments, "bad lease ID arg (%w), expecting ID in Hex", err)
	}
	return clientv3.LeaseID(id), nil
}

func (g *globals) leaseGrant() *cobra.Command {
	return &cobra.Command{Use: "grant <ttl>", Short: "Grant a lease", RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fail(ExitBadArguments, "lease grant command needs TTL argument")
		}
		ttl, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil {
			return fail(ExitBadArguments, "bad TTL (%w)", err)
		}
		return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
			r, err := c.Grant(ctx, ttl)
			if err != nil {
				return answer{}, err
			}
			return answer{
				json: r, proto: r.ResponseHeader, simple: line("lease %016x granted with TTL(%ds)", r.ID, r.TTL),
				fields: func(f *fieldWriter) {
					f.header(r.ResponseHeader)
					f.lease("ID", int64(r.ID))
					f.field("TTL", r.TTL)
				},
			}, nil
		})
	}}
}

func (g *globals) leaseRevoke() *cobra.Command {
	return &cobra.Command{Use: "revoke <leaseID>", Short: "End a lease, and delete its keys", RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fail(ExitBadArguments, "lease revoke command needs 1 argument")
		}
		id, err := parseLease(args[0])
		if err != nil {
			return err
		}
		return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
			r, err := c.Revoke(ctx, id)
			if err != nil {
				return answer{}, fail(ExitFailure, "failed to revoke lease (%s)", describe(err))
			}
			return answer{
				json: r, proto: (*etcdserverpb.LeaseRevokeResponse)(r), simple: line("lease %016x revoked", id),
				fields: func(f *fieldWriter) { f.header(r.Header) },
			}, nil
		})
	}}
}

func (g *globals) leaseTimeToLive() *cobra.Command {
	var keys bool
	cmd := &cobra.Command{Use: "timetolive <leaseID> [options]", Short: "Tell how long a lease still has"}
	cmd.Flags().BoolVar(&keys, "keys", false, "also the keys that are attached")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fail(ExitBadArguments, "lease timetolive command needs lease ID as argument")
		}
		id, err := parseLease(args[0])
		if err != nil {
			return err
		}
		var options []clientv3.LeaseOption
		if keys {
			options = append(options, clientv3.WithAttachedKeys())
		}
		return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
			r, err := c.TimeToLive(ctx, id, options...)
			if err != nil {
				return answer{}, fail(ExitNoConnection, "%s", describe(err))
			}
			return answer{
				json: r, proto: r.ResponseHeader, simple: func(w io.Writer) error { return writeTimeToLive(w, r, keys) },
				fields: func(f *fieldWriter) {
					f.header(r.ResponseHeader)
					f.lease("ID", int64(r.ID))
					f.field("TTL", r.TTL)
					f.field("GrantedTTL", r.GrantedTTL)
					for _, k := range r.Keys {
						f.field("Key", k)
					}
				},
			}, nil
		})
	}
	return cmd
}

func writeTimeToLive(w io.Writer, r *clientv3.LeaseTimeToLiveResponse, keys bool) error {
	if r.GrantedTTL == 0 && r.TTL == -1 {
		return line("lease %016x already expired", r.ID)(w)
	}
	text := fmt.Sprintf("lease %016x granted with TTL(%ds), remaining(%ds)", r.ID, r.GrantedTTL, r.TTL)
	if keys {
		text += fmt.Sprintf(", attached keys(%s)", r.Keys)
	}
	return line("%s", text)(w)
}

func (g *globals) leaseList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List all leases", RunE: func(cmd *cobra.Command, _ []string) error {
		return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
			r, err := c.Leases(ctx)
			if err != nil {
				return answer{}, fail(ExitNoConnection, "%s", describe(err))
			}
			return answer{
				json: r, proto: r.ResponseHeader,
				simple: func(w io.Writer) error {
					text := fmt.Sprintf("found %d leases", len(r.Leases))
					for _, l := range r.Leases {
						text += fmt.Sprintf("\n%016x", l.ID)
					}
					return line("%s", text)(w)
				},
				fields: func(f *fieldWriter) {
					f.header(r.ResponseHeader)
					for _, l := range r.Leases {
						f.lease("ID", int64(l.ID))
					}
				},
			}, nil
		})
	}}
}

func (g *globals) leaseKeepAlive() *cobra.Command {
	var once bool
	cmd := &cobra.Command{Use: "keep-alive [options] <leaseID>", Short: "Renew a lease until it is gone or this is interrupted"}
	cmd.Flags().BoolVar(&once, "once", false, "only once")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fail(ExitBadArguments, "lease keep-alive command needs lease ID as argument")
		}
		id, err := parseLease(args[0])
		if err != nil {
			return err
		}
		if once {
			return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
				r, err := c.KeepAliveOnce(ctx, id)
				if err != nil {
					return answer{}, fail(ExitNoConnection, "%s", describe(err))
				}
				return renewed(r), nil
			})
		}
		return g.keepAlive(cmd, id)
	}
	return cmd
}

func renewed(r *clientv3.LeaseKeepAliveResponse) answer {
	return answer{
		json: r, proto: r.ResponseHeader, simple: line("lease %016x keepalived with TTL(%d)", r.ID, r.TTL),
		fields: func(f *fieldWriter) {
			f.header(r.ResponseHeader)
			f.lease("ID", int64(r.ID))
			f.field("TTL", r.TTL)
		},
	}
}

// keepAlive renews a lease until it is gone, or the command's context ends.
func (g *globals) keepAlive(cmd *cobra.Command, id clientv3.LeaseID) error {
	if err := g.check(); err != nil {
		return err
	}
	client, err := g.dial(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	answers, err := client.KeepAlive(cmd.Context(), id)
	if err != nil {
		return fail(ExitNoConnection, "%s", describe(err))
	}
	for r := range answers {
		if err := g.show(cmd.OutOrStdout(), renewed(r)); err != nil {
			return err
		}
	}
	if cmd.Context().Err() != nil {
		return nil
	}
	if *g.format == formatSimple {
		return line("lease %016x expired or revoked.", id)(cmd.OutOrStdout())
	}
	return nil
}

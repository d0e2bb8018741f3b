package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/quoin-kv/quoin/embed"
	"github.com/quoin-kv/quoin/internal/config"
)

// maxDevMembers bounds a cluster for trying things.
const maxDevMembers = 9

// portStep is the distance between the ports of two members.
const portStep = 10

// devOptions are what quoin dev can be told.
type devOptions struct {
	members int
	dir     string
	host    string
	port    int // for the clients of the first member; peers use the one above
}

// devCommand starts several members on this machine.
func devCommand() *cobra.Command {
	o := devOptions{members: 3, dir: "quoin.dev", host: "127.0.0.1", port: 2379}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Start a cluster on this machine, for trying things",
		Long: `Start a cluster on this machine, for trying things: several members in this process, each with its own ports, data and log.
Ctrl-C stops them; started again with the same directory they go on where they were.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	cmd.Flags().IntVar(&o.members, "members", o.members, "number of members")
	cmd.Flags().StringVar(&o.dir, "data-dir", o.dir, "directory of the members' data and logs")
	cmd.Flags().StringVar(&o.host, "host", o.host, "address to listen on")
	cmd.Flags().IntVar(&o.port, "port", o.port, "client port of the first member; its peer port is the next one, and each further member's are 10 higher")
	return cmd
}

func (o *devOptions) clientURL(i int) string { return o.url(o.port + i*portStep) }
func (o *devOptions) peerURL(i int) string   { return o.url(o.port + i*portStep + 1) }

func (o *devOptions) url(port int) string {
	return "http://" + net.JoinHostPort(o.host, strconv.Itoa(port))
}

func devName(i int) string { return "m" + strconv.Itoa(i+1) }

// check refuses what cannot be, among it another number of members than the directory has: who founded a cluster cannot be changed afterwards.
func (o *devOptions) check() error {
	if o.members < 1 || o.members > maxDevMembers {
		return fmt.Errorf("--members %d: expected 1 to %d", o.members, maxDevMembers)
	}
	if last := o.port + (o.members-1)*portStep + 1; o.port < 1 || last > 65535 {
		return fmt.Errorf("--port %d: the members' ports would go up to %d", o.port, last)
	}
	found, err := filepath.Glob(filepath.Join(o.dir, "m*", "member"))
	if err != nil {
		return err
	}
	if len(found) > 0 && len(found) != o.members {
		return fmt.Errorf("%s holds a cluster of %d members: start it with --members %d, or choose another --data-dir", o.dir, len(found), len(found))
	}
	return nil
}

// arguments are those that would start member i with quoin server.
func (o *devOptions) arguments(i int) []string {
	var cluster []string
	for j := range o.members {
		cluster = append(cluster, devName(j)+"="+o.peerURL(j))
	}
	return []string{
		"--name", devName(i), "--data-dir", filepath.Join(o.dir, devName(i)),
		"--listen-client-urls", o.clientURL(i), "--advertise-client-urls", o.clientURL(i),
		"--listen-peer-urls", o.peerURL(i), "--initial-advertise-peer-urls", o.peerURL(i),
		"--initial-cluster", strings.Join(cluster, ","), "--initial-cluster-token", "quoin-dev",
		"--log-outputs", filepath.Join(o.dir, devName(i)+".log"),
	}
}

// run starts all members and stops them when ctx ends or one of them fails.
func (o *devOptions) run(ctx context.Context, out io.Writer) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	var running []*devMember
	defer func() {
		for _, m := range slices.Backward(running) {
			err = errors.Join(err, m.close())
		}
	}()
	for i := range o.members {
		m, err := startDev(ctx, o.arguments(i))
		if err != nil {
			return fmt.Errorf("member %s: %w", devName(i), err)
		}
		running = append(running, m)
	}
	for _, m := range running {
		select {
		case <-m.Ready():
		case <-m.Done():
		case <-ctx.Done():
			return nil
		}
	}
	o.describe(out)
	return firstEnd(ctx, running)
}

// describe tells where the members are.
func (o *devOptions) describe(out io.Writer) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	var endpoints []string
	_, _ = fmt.Fprintln(table, "MEMBER\tCLIENTS\tPEERS\tDATA\tLOG")
	for i := range o.members {
		data := filepath.Join(o.dir, devName(i))
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", devName(i), o.clientURL(i), o.peerURL(i), data, data+".log")
		endpoints = append(endpoints, o.clientURL(i))
	}
	_ = table.Flush()
	_, _ = fmt.Fprintf(out, "\nThe cluster serves. Try:\n  quoin put --endpoints %s hello world\nCtrl-C stops it.\n", strings.Join(endpoints, ","))
}

// firstEnd waits for the end of ctx or of the first member that ends by itself.
func firstEnd(ctx context.Context, running []*devMember) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{}, len(running))
	for _, m := range running {
		go func() {
			select {
			case <-m.Done():
				ended <- struct{}{}
			case <-ctx.Done():
			}
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case <-ended:
		return errors.New("a member ended; the others are stopped (see the logs)")
	}
}

// devMember is a member with a log of its own.
type devMember struct {
	*embed.Member
	closeLog func() error
}

func startDev(ctx context.Context, args []string) (*devMember, error) {
	cfg, _, err := config.Parse(args, nil)
	if err != nil {
		return nil, err
	}
	log, closeLog, err := cfg.OpenLog()
	if err != nil {
		return nil, err
	}
	m, err := embed.Start(ctx, cfg, config.NewLogger(log, cfg))
	if err != nil {
		return nil, errors.Join(err, closeLog())
	}
	return &devMember{m, closeLog}, nil
}

func (m *devMember) close() error { return errors.Join(m.Close(), m.closeLog()) }

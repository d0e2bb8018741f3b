package migrate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/quoin-kv/quoin/internal/ctl"
)

// flags are those of the command.
type flags struct {
	to           string
	dryRun, yes  bool
	pause        bool
	hook         string
	settle, away time.Duration
}

// Command is `quoin migrate`.
func Command() *cobra.Command {
	f := flags{to: string(Quoin), settle: 30 * time.Second, away: 30 * time.Minute}
	cmd := &cobra.Command{
		Use:   "migrate --endpoints URLS",
		Short: "Replace the members of a live etcd cluster by Quoin, one by one, or back",
		Long: `Replace the members of a live cluster, one by one, by those of the other kind: etcd by Quoin, or back with --to etcd.

Each member is stopped and started again as the other program, on the same directory and with the same flags. Before each step all
members are looked at, and nothing is done unless the cluster is well and all members have equal data. This command prints what to do on
which machine and waits until it is done; with --run a command of yours does it. Interrupted, it is simply begun again.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&f.to, "to", f.to, "what the members become: quoin or etcd")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "look at the cluster and print what would be done")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask before each step")
	cmd.Flags().StringVar(&f.hook, "run", "", "shell command that stops or starts a member, as QUOIN_STEP and other variables tell")
	cmd.Flags().BoolVar(&f.pause, "allow-pause", false, "go on although the cluster does not serve while a member is away: with one or two members")
	cmd.Flags().DurationVar(&f.settle, "settle", f.settle, "how long the cluster may take to be well before a step")
	cmd.Flags().DurationVar(&f.away, "away", f.away, "how long a member may take to be back")
	dialer := ctl.NewDialer(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd, dialer) }
	return cmd
}

func (f *flags) run(cmd *cobra.Command, dialer *ctl.Dialer) (err error) {
	to := Kind(f.to)
	if to != Quoin && to != Etcd {
		return fmt.Errorf("--to %s: expected quoin or etcd", f.to)
	}
	o := Options{
		To: to, DryRun: f.dryRun, Pause: f.pause, Settle: f.settle, Away: f.away, Poll: 250 * time.Millisecond, Tries: 60, Out: cmd.OutOrStdout(),
		Confirm: func(string) (bool, error) { return true, nil },
	}
	if !f.yes {
		o.Confirm = asker(cmd)
	}
	if f.hook != "" {
		o.Act = hook(cmd, f.hook)
	}
	dial := func(endpoint string) (*clientv3.Client, error) { return dialer.Dial(cmd, endpoint) }
	cluster := newLive(dialer.Endpoints(), dialer.Timeout(), dial)
	defer func() { err = errors.Join(err, cluster.close()) }()
	return Run(cmd.Context(), o, cluster)
}

// asker asks on the terminal. The end of the input is a no.
func asker(cmd *cobra.Command) func(string) (bool, error) {
	lines := bufio.NewScanner(cmd.InOrStdin())
	return func(question string) (bool, error) {
		cmd.Printf("%s [y/N] ", question)
		if !lines.Scan() {
			return false, lines.Err()
		}
		answer := strings.ToLower(strings.TrimSpace(lines.Text()))
		return answer == "y" || answer == "yes", nil
	}
}

// hook runs the operator's command.
func hook(cmd *cobra.Command, command string) func(context.Context, Action) error {
	return func(ctx context.Context, a Action) error {
		shell := exec.CommandContext(ctx, "/bin/sh", "-c", command)
		shell.Stdout, shell.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
		shell.WaitDelay = time.Second // what it has started may keep its output open
		shell.Env = append(os.Environ(), a.variables()...)
		err := shell.Run()
		if errors.Is(err, exec.ErrWaitDelay) {
			return nil
		}
		return err
	}
}

// variables tell a command what to do.
func (a *Action) variables() []string {
	return []string{
		"QUOIN_STEP=" + a.Step,
		"QUOIN_TO=" + string(a.To),
		"QUOIN_MEMBER=" + a.Member.Name,
		"QUOIN_MEMBER_ID=" + strconv.FormatUint(a.Member.ID, 16),
		"QUOIN_ENDPOINT=" + a.Member.Endpoint,
		"QUOIN_CLIENT_URLS=" + strings.Join(a.Member.ClientURLs, ","),
		"QUOIN_PEER_URLS=" + strings.Join(a.Member.PeerURLs, ","),
	}
}

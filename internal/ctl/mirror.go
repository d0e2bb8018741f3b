package ctl

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	mirrorReport = 30 * time.Second // between two lines that say how many changes were made
	mirrorPage   = 128              // keys that are read at once
)

// mirror holds the flags of the make-mirror command.
type mirror struct {
	*globals
	prefix, destPrefix string
	noDestPrefix       bool
	rev                int64
	mostOps            uint
	dest               connection
	insecure           bool // the destination may be without TLS
}

func (g *globals) mirrorCommand() *cobra.Command {
	m := &mirror{globals: g}
	cmd := &cobra.Command{
		Use: "make-mirror <destination>", Short: "Copy keys to another cluster, and what becomes of them",
		Long: "Copy keys to another cluster, and what becomes of them, until it fails or is interrupted. Each half minute it prints how many changes it has made there.",
		RunE: m.run,
	}
	f := cmd.Flags()
	f.StringVar(&m.prefix, "prefix", "", "only keys that begin so")
	f.Int64Var(&m.rev, "rev", 0, "copy only changes, those of this revision first (0: copy what is there, then changes)")
	f.UintVar(&m.mostOps, "max-txn-ops", 128, "at most so many changes in a transaction; a larger one is divided")
	f.StringVar(&m.destPrefix, "dest-prefix", "", "what the prefix becomes (default: it stays)")
	f.BoolVar(&m.noDestPrefix, "no-dest-prefix", false, "leave the prefix out")
	f.StringVar(&m.dest.certFile, "dest-cert", "", "file with the client's own certificate for the destination")
	f.StringVar(&m.dest.keyFile, "dest-key", "", "file with the key of --dest-cert")
	f.StringVar(&m.dest.caFile, "dest-cacert", "", "file with the certificate authorities to trust for the destination")
	f.BoolVar(&m.insecure, "dest-insecure-transport", true, "without TLS, unless the destination says https:// or there is a certificate")
	f.StringVar(&m.dest.user, "dest-user", "", "user name there, or user:password")
	f.StringVar(&m.dest.password, "dest-password", "", "password of --dest-user")
	return cmd
}

func (m *mirror) run(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) != 1:
		return fail(ExitBadArguments, "make-mirror takes one destination argument")
	case m.noDestPrefix && m.destPrefix != "":
		return fail(ExitBadArguments, "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one")
	case m.destPrefix == "" && !m.noDestPrefix:
		m.destPrefix = m.prefix
	}
	to, err := m.dialDestination(cmd, args[0])
	if err != nil {
		return err
	}
	defer to.Close()
	from, err := m.dial(cmd)
	if err != nil {
		return err
	}
	defer from.Close()
	c := &copier{mirror: m, from: from, to: to}
	var reporter sync.WaitGroup
	defer reporter.Wait()
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	reporter.Go(func() { reportCount(ctx, cmd.OutOrStdout(), &c.made) })
	return serverError(c.copy(ctx))
}

// dialDestination returns a client of the other cluster, with the time limits of this one.
func (m *mirror) dialDestination(cmd *cobra.Command, endpoint string) (*clientv3.Client, error) {
	d := *m.connection
	d.endpoints, d.user, d.password, d.token, d.flagPrefix = []string{endpoint}, m.dest.user, m.dest.password, "", "dest-"
	d.certFile, d.keyFile, d.caFile, d.skipVerify, d.alwaysTLS = m.dest.certFile, m.dest.keyFile, m.dest.caFile, false, !m.insecure
	d.discovery.Domain = ""
	return d.dial(cmd)
}

// reportCount prints a number again and again, until ctx ends.
func reportCount(ctx context.Context, w io.Writer, n *atomic.Int64) {
	tick := time.NewTicker(mirrorReport)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Fprintln(w, n.Load())
		case <-ctx.Done():
			return
		}
	}
}

// A copier makes the changes of one cluster in another.
type copier struct {
	*mirror
	from, to *clientv3.Client
	made     atomic.Int64 // changes
}

// copy ends with an error, that of ctx if nothing else fails; then the caller ends ctx, and with it the watch.
func (c *copier) copy(ctx context.Context) error {
	first := c.rev
	if first == 0 {
		revision, err := c.copyAll(ctx)
		if err != nil {
			return err
		}
		first = revision + 1
	}
	key, end := c.keys()
	for response := range c.from.Watch(ctx, key, clientv3.WithRange(end), clientv3.WithRev(first)) {
		if err := response.Err(); err != nil {
			return err
		}
		if err := c.repeat(ctx, response.Events); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return fail(ExitFailure, "watch is canceled by the server")
}

// keys returns what is copied, as a range.
func (c *copier) keys() (key, end string) {
	if c.prefix == "" {
		return "\x00", "\x00"
	}
	return c.prefix, clientv3.GetPrefixRangeEnd(c.prefix)
}

// copyAll copies what is there, as of one revision, which it returns.
func (c *copier) copyAll(ctx context.Context) (revision int64, err error) {
	key, end := c.keys()
	for {
		r, err := c.from.Get(ctx, key, clientv3.WithRange(end), clientv3.WithRev(revision), clientv3.WithLimit(mirrorPage))
		if err != nil {
			return 0, err
		}
		if revision == 0 {
			revision = r.Header.Revision
		}
		for _, kv := range r.Kvs {
			if _, err := c.to.Put(ctx, c.name(kv.Key), string(kv.Value)); err != nil {
				return 0, err
			}
			c.made.Add(1)
		}
		if !r.More || len(r.Kvs) == 0 {
			return revision, nil
		}
		key = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
	}
}

// repeat makes the changes of each revision in one transaction, or in more if they are too many for one.
func (c *copier) repeat(ctx context.Context, events []*clientv3.Event) error {
	for len(events) > 0 {
		n := together(events, c.mostOps)
		var ops []clientv3.Op
		for _, e := range events[:n] {
			ops = append(ops, c.operation(e))
		}
		if _, err := c.to.Txn(ctx).Then(ops...).Commit(); err != nil {
			return err
		}
		c.made.Add(int64(n))
		events = events[n:]
	}
	return nil
}

// together returns how many events, at most some, are of the revision of the first.
func together(events []*clientv3.Event, most uint) int {
	n := 1
	for n < len(events) && uint(n) < most && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
		n++
	}
	return n
}

func (c *copier) operation(e *clientv3.Event) clientv3.Op {
	if e.Type == clientv3.EventTypeDelete {
		return clientv3.OpDelete(c.name(e.Kv.Key))
	}
	return clientv3.OpPut(c.name(e.Kv.Key), string(e.Kv.Value))
}

// name is what a key is called at the destination.
func (c *copier) name(key []byte) string {
	return c.destPrefix + strings.TrimPrefix(string(key), c.prefix)
}

package ctl

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// What check measures with.
const (
	perfLength    = 60 * time.Second
	perfKeyBytes  = 256
	valueBytes    = 1024
	cleanTimeout  = 5 * time.Minute // for the deletion of what was written, compaction and defragmentation
	metricsLength = 16 << 20        // bytes of the metrics that are read at most
)

// Limits of check perf.
const (
	leastRate     = 0.9 // of what was asked for
	mostSlowest   = 0.5 // seconds
	mostDeviation = 0.1 // seconds
)

// check holds the flags of a check command.
type check struct {
	*globals
	load, prefix    string
	compact, defrag bool
	refusal         string // of a prefix that has keys; names it twice
	clients         []*clientv3.Client
}

func (g *globals) checkCommand() *cobra.Command {
	perf := &check{globals: g, refusal: "prefix %q has keys. Delete with 'etcdctl del --prefix %s' first"}
	scale := &check{globals: g, refusal: "prefix %q has keys. Delete with etcdctl del --prefix %s first"}
	return family(
		"check <subcommand>", "Measure a cluster",
		perf.command(&cobra.Command{
			Use: "perf", Short: "Write for a minute, and judge how fast it was", RunE: perf.perf,
			Long: "Write for a minute, and judge how fast it was. The loads s, m, l and xl are 150, 1000, 8000 and 15000 writes per second by 50, 200, 500 and 1000 clients.",
		}, "/etcdctl-check-perf/"),
		scale.command(&cobra.Command{
			Use: "datascale", Short: "Write many keys, and see how much memory they take at the first endpoint", RunE: scale.datascale,
			Long: "Write many keys of 1 KiB, and see how much memory they take at the first endpoint.\n" +
				"The loads s, m, l and xl are 10000, 100000, 1000000 and 3000000 keys by 50, 200, 500 and 1000 clients.",
		}, "/etcdctl-check-datascale/"),
	)
}

func (c *check) command(cmd *cobra.Command, prefix string) *cobra.Command {
	f := cmd.Flags()
	f.StringVar(&c.load, "load", "s", "how much: s, m, l or xl")
	f.StringVar(&c.prefix, "prefix", prefix, "beginning of the keys that are written, and deleted in the end")
	f.BoolVar(&c.compact, "auto-compact", false, "compact in the end")
	f.BoolVar(&c.defrag, "auto-defrag", false, "defragment in the end")
	return cmd
}

// choose returns the value of the load among those of s, m, l and xl, and how many clients make it.
func (c *check) choose(values [4]int) (value, clients int, err error) {
	for i, names := range []string{"s small", "m medium", "l large", "xl xLarge"} {
		if slices.Contains(strings.Fields(names), c.load) {
			return values[i], [4]int{50, 200, 500, 1000}[i], nil
		}
	}
	return 0, 0, fail(ExitUnsupported, "unknown load option %s", c.load)
}

// perf measures the speed.
func (c *check) perf(cmd *cobra.Command, _ []string) error {
	rate, clients, err := c.choose([4]int{150, 1000, 8000, 15000})
	if err != nil {
		return err
	}
	var o *outcome
	err = c.with(cmd, clients, func(ctx context.Context) error {
		o = c.writes(cmd, rate*int(perfLength/time.Second), perfLength, perfKeyBytes).run(ctx)
		return ctx.Err()
	})
	if err != nil {
		return serverError(err)
	}
	text, good := o.judge(rate)
	if good {
		return line("%sPASS", text)(cmd.OutOrStdout())
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%sFAIL\n", text)
	return ErrReported
}

// datascale measures the memory.
func (c *check) datascale(cmd *cobra.Command, _ []string) error {
	keys, clients, err := c.choose([4]int{10_000, 100_000, 1_000_000, 3_000_000})
	if err != nil {
		return err
	}
	var o *outcome
	var before, after float64
	err = c.with(cmd, clients, func(ctx context.Context) (err error) {
		if before, err = c.memory(ctx); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Start data scale check for work load [%d key-value pairs, %d bytes per key-value, %d concurrent clients].\n", keys, valueBytes, clients)
		if o = c.writes(cmd, keys, 0, 0).run(ctx); ctx.Err() != nil {
			return ctx.Err()
		}
		after, err = c.memory(ctx)
		return err
	})
	if err != nil {
		return serverError(err)
	}
	if text := o.failures(); text != "" {
		fmt.Fprint(cmd.OutOrStdout(), text)
		return ErrReported
	}
	const megabyte = 1 << 20
	return line("PASS: Approximate system memory used : %.2f MB.", (after-before)/megabyte)(cmd.OutOrStdout())
}

// with connects clients, calls measure unless there are keys already, and deletes what was written, whatever came of it.
func (c *check) with(cmd *cobra.Command, clients int, measure func(context.Context) error) error {
	defer func() {
		for _, client := range c.clients {
			client.Close()
		}
	}()
	for range clients {
		client, err := c.dial(cmd)
		if err != nil {
			return err
		}
		c.clients = append(c.clients, client)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), c.commandTimeout)
	defer cancel()
	r, err := c.clients[0].Get(ctx, c.prefix, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	if len(r.Kvs) > 0 {
		return fail(ExitInvalidInput, c.refusal, c.prefix, c.prefix)
	}
	err = measure(cmd.Context())
	if cleaned := c.clean(cmd); err == nil {
		err = cleaned
	}
	return err
}

// writes is the workload of so many keys, which are at least so long.
func (c *check) writes(cmd *cobra.Command, keys int, over time.Duration, keyBytes int) workload {
	value := strings.Repeat("v", valueBytes)
	return workload{
		requests: keys, workers: len(c.clients), over: over, progress: NewProgress(cmd.ErrOrStderr(), false),
		send: func(ctx context.Context, worker, n int) error {
			ctx, cancel := context.WithTimeout(ctx, c.commandTimeout)
			defer cancel()
			_, err := c.clients[worker].Put(ctx, fmt.Sprintf("%s%0*d", c.prefix, max(10, keyBytes-len(c.prefix)), n), value)
			return err
		},
	}
}

// clean deletes the keys, also when the command was interrupted, and compacts and defragments as was asked.
func (c *check) clean(cmd *cobra.Command) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), cleanTimeout)
	defer cancel()
	out, client := cmd.OutOrStdout(), c.clients[0]
	r, err := client.Delete(ctx, c.prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	if c.compact {
		fmt.Fprintf(out, "Compacting with revision %d\n", r.Header.Revision)
		if _, err := client.Compact(ctx, r.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
			return err
		}
		fmt.Fprintf(out, "Compacted with revision %d\n", r.Header.Revision)
	}
	if !c.defrag {
		return nil
	}
	for _, endpoint := range c.connection.endpoints {
		fmt.Fprintf(out, "Defragmenting %q\n", endpoint)
		if _, err := client.Defragment(ctx, endpoint); err != nil {
			return err
		}
		fmt.Fprintf(out, "Defragmented %q\n", endpoint)
	}
	return nil
}

// memory is what the first endpoint says that it uses, in bytes.
func (c *check) memory(ctx context.Context) (float64, error) {
	security, err := c.tlsConfig()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.commandTimeout)
	defer cancel()
	url := c.connection.endpoints[0]
	if !strings.Contains(url, "://") {
		url = map[bool]string{false: "http://", true: "https://"}[security != nil] + url
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", http.NoBody)
	if err != nil {
		return 0, err
	}
	transport := &http.Transport{TLSClientConfig: security}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return residentMemory(io.LimitReader(response.Body, metricsLength))
}

// residentMemory finds the memory of a process among its metrics.
func residentMemory(metrics io.Reader) (float64, error) {
	lines := bufio.NewScanner(metrics)
	for lines.Scan() {
		if value, found := strings.CutPrefix(lines.Text(), "process_resident_memory_bytes "); found {
			return strconv.ParseFloat(value, 64)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fail(ExitFailure, "the metrics of the first endpoint do not say how much memory it uses")
}

// judge says what was good and what was not, in lines.
func (o *outcome) judge(rate int) (text string, good bool) {
	var s strings.Builder
	s.WriteString(o.failures())
	good = s.Len() == 0
	say := func(passed bool, pass, failure string, value any) {
		good = good && passed
		form := map[bool]string{true: pass, false: failure}[passed]
		fmt.Fprintf(&s, form+"\n", value)
	}
	say(o.rate() > leastRate*float64(rate), "PASS: Throughput is %d writes/s", "FAIL: Throughput too low: %d writes/s", int(math.Round(o.rate())))
	say(o.slowest() <= mostSlowest, "PASS: Slowest request took %fs", "Slowest request took too long: %fs", o.slowest())
	say(o.deviation() <= mostDeviation, "PASS: Stddev is %fs", "Stddev too high: %fs", o.deviation())
	return s.String(), good
}

// failures names the errors that came, in lines.
func (o *outcome) failures() string {
	if len(o.failed) == 0 {
		return ""
	}
	text := "FAIL: too many errors\n"
	for _, failure := range slices.Sorted(maps.Keys(o.failed)) {
		text += fmt.Sprintf("FAIL: ERROR(%s) -> %d\n", failure, o.failed[failure])
	}
	return text
}

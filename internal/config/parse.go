package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// ErrUsage wraps what is wrong with the command line itself: an unknown flag or a value that does not parse. A program ends with status 2 on it.
var ErrUsage = errors.New("usage")

// Parse reads the command line and the environment over the defaults and checks the result. Unknown ETCD_* variables are returned as
// warnings. flag.ErrHelp is returned as it is.
func Parse(args, environ []string) (c *Config, warnings []string, err error) {
	c = Default()
	flags := flag.NewFlagSet("quoin server", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	table := c.options()
	for _, o := range table {
		flags.Var(o.Value, o.Name, o.Usage)
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, nil, err
		}
		return nil, nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if flags.NArg() > 0 {
		return nil, nil, fmt.Errorf("%q is not a valid flag", flags.Arg(0))
	}
	flags.Visit(func(f *flag.Flag) { c.set[f.Name] = true })
	if warnings, err = c.applyEnviron(table, environ); err != nil {
		return nil, nil, err
	}
	c.derive()
	return c, warnings, c.Validate()
}

// applyEnviron sets what the environment says and no flag does. A flag and its variable together are an error: one of them would be ignored unseen.
func (c *Config) applyEnviron(table []Option, environ []string) (warnings []string, err error) {
	byEnv := map[string]Option{}
	for _, o := range table {
		byEnv[o.Env()] = o
	}
	for _, kv := range environ {
		key, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(key, "ETCD_") || value == "" {
			continue
		}
		o, known := byEnv[key]
		switch {
		case !known:
			warnings = append(warnings, "unrecognized environment variable "+key)
		case c.set[o.Name]:
			return nil, fmt.Errorf("conflicting environment variable %s is shadowed by corresponding command-line flag (either unset environment variable or disable flag)", key)
		default:
			if err := o.Value.Set(value); err != nil {
				return nil, fmt.Errorf("invalid value %q for %s: %w", value, key, err)
			}
			c.set[o.Name] = true
		}
	}
	return warnings, nil
}

// derive fills what follows from other options.
func (c *Config) derive() {
	if c.DataDir == "" {
		c.DataDir = c.Name + ".etcd"
	}
	if c.InitialCluster == "" {
		parts := make([]string, 0, len(c.AdvertisePeerURLs))
		for _, u := range c.AdvertisePeerURLs.Strings() {
			parts = append(parts, c.Name+"="+u)
		}
		c.InitialCluster = strings.Join(parts, ",")
	}
	setZero(&c.SnapshotCount, 10000)
	setZero(&c.SnapshotCatchup, 5000)
	setZero(&c.WatchProgress, defaultWatchProgress)
	setZero(&c.BatchInterval, time.Second)
	setZero(&c.CompactionBatchLimit, 1000)
	setZero(&c.CompactionSleep, 10*time.Millisecond)
	setZero(&c.QuotaBytes, DefaultQuotaBytes)
}

func setZero[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports the first thing that makes the configuration unusable.
func (c *Config) Validate() error {
	for _, check := range []func() error{c.checkTicks, c.checkURLs, c.checkCluster, c.checkLogging} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkTicks() error {
	switch {
	case c.HeartbeatMs == 0:
		return errors.New("--heartbeat-interval must be >0 (set to 0ms)")
	case c.ElectionMs == 0:
		return errors.New("--election-timeout must be >0 (set to 0ms)")
	case 5*c.HeartbeatMs > c.ElectionMs:
		return fmt.Errorf("--election-timeout[%dms] should be at least as 5 times as --heartbeat-interval[%dms]", c.ElectionMs, c.HeartbeatMs)
	case c.ElectionMs > maxElectionMs:
		return fmt.Errorf("--election-timeout[%dms] is too long, and should be set less than %dms", c.ElectionMs, maxElectionMs)
	}
	return nil
}

func (c *Config) checkURLs() error {
	for _, u := range slices.Concat(c.ListenClientURLs, c.ListenPeerURLs) {
		if err := checkBindable(u.String(), u.Scheme, u.Hostname()); err != nil {
			return err
		}
		if u.Scheme == "https" || u.Scheme == "unixs" {
			return fmt.Errorf("TLS is not available in this version: cannot listen on %s", u.String())
		}
	}
	if c.set["listen-client-urls"] && !c.set["advertise-client-urls"] {
		return errors.New("--advertise-client-urls is required when --listen-client-urls is set explicitly")
	}
	return nil
}

func (c *Config) checkCluster() error {
	if c.DataDir == "" {
		return errors.New("--data-dir must not be empty")
	}
	if c.MaxLearners <= 0 {
		return fmt.Errorf("--max-learners must be >0 (set to %d)", c.MaxLearners)
	}
	return nil
}

func (c *Config) checkLogging() error {
	if strings.Contains(c.LogOutputs, ",") && slices.Contains(strings.Split(c.LogOutputs, ","), "default") {
		return errors.New(`multi logoutput for "default" is not supported yet`)
	}
	return nil
}

// WriteHelp prints every option with its default and environment variable, by group.
func WriteHelp(w io.Writer) {
	fmt.Fprintln(w, "Usage:\n  quoin server [flags]\n      Start a member.\n\nEvery flag can also be given as an environment variable: --data-dir is ETCD_DATA_DIR.")
	group := ""
	for _, o := range Default().options() {
		if o.Group != group {
			group = o.Group
			fmt.Fprintf(w, "\n%s:\n", group)
		}
		fmt.Fprintf(w, "  --%s '%s'\n        %s.\n", o.Name, o.Default, o.Usage)
	}
}

// OpenLog opens the outputs named by --log-outputs as one writer; close releases the files.
func (c *Config) OpenLog() (w io.Writer, closeAll func() error, err error) {
	var writers []io.Writer
	var files []*os.File
	for name := range strings.SplitSeq(c.LogOutputs, ",") {
		switch name {
		case "default", "stderr":
			writers = append(writers, os.Stderr)
		case "stdout":
			writers = append(writers, os.Stdout)
		default:
			f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				return nil, nil, fmt.Errorf("opening log output: %w", err)
			}
			files, writers = append(files, f), append(writers, f)
		}
	}
	return io.MultiWriter(writers...), func() error {
		var errs []error
		for _, f := range files {
			errs = append(errs, f.Close())
		}
		return errors.Join(errs...)
	}, nil
}

// checkBindable refuses a host that is a name: one binds to addresses.
func checkBindable(full, scheme, host string) error {
	if scheme == "unix" || scheme == "unixs" || host == "" || host == "localhost" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return fmt.Errorf("expected IP in URL for binding (%s)", full)
	}
	return nil
}

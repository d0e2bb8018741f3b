package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// ErrUsage wraps what is wrong with the command line itself: an unknown flag or a value that does not parse. A program ends with status 2 on it.
var ErrUsage = errors.New("usage")

// ErrVersion says that --version was asked for.
var ErrVersion = errors.New("version asked for")

// Warning is something in the environment that has no effect.
type Warning struct {
	Text     string
	Variable string // name of the environment variable
}

// Parse reads the command line and the environment over the defaults and checks the result. flag.ErrHelp and ErrVersion say that the
// command line asks for these instead of a member.
func Parse(args, environ []string) (c *Config, warnings []Warning, err error) {
	c = Default()
	table := c.options()
	if err := c.applyFlags(table, args); err != nil {
		return nil, nil, err
	}
	if warnings, err = c.applyEnviron(table, environ); err != nil {
		return nil, nil, err
	}
	return c, warnings, c.Complete()
}

// applyFlags sets what the command line says.
func (c *Config) applyFlags(table []Option, args []string) error {
	flags := flag.NewFlagSet("quoin server", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	version := flags.Bool("version", false, "")
	for _, o := range table {
		flags.Var(o.Value, o.Name, o.Usage)
	}
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUsage, err)
	case *version:
		return ErrVersion
	case flags.NArg() > 0:
		return fmt.Errorf("%q is not a valid flag", flags.Arg(0))
	}
	flags.Visit(func(f *flag.Flag) { c.set[f.Name] = true })
	return nil
}

// applyEnviron sets what the environment says and no flag does.
func (c *Config) applyEnviron(table []Option, environ []string) (warnings []Warning, err error) {
	byEnv := map[string]Option{}
	for _, o := range table {
		byEnv[o.Env()] = o
	}
	for _, kv := range environ {
		key, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(key, "ETCD_") || value == "" {
			continue
		}
		if o, ok := byEnv[key]; ok {
			err = c.applyVariable(o, key, value)
		} else if warning := unknownVariable(key); warning != "" {
			warnings = append(warnings, Warning{warning, key})
		} else if key == "ETCD_CONFIG_FILE" {
			err = errors.New("configuration files are not available in this version: unset ETCD_CONFIG_FILE")
		}
		if err != nil {
			return nil, err
		}
	}
	return warnings, nil
}

// applyVariable sets one option. A flag and its variable together are an error: one of them would be ignored unseen.
func (c *Config) applyVariable(o Option, key, value string) error {
	if c.set[o.Name] {
		return fmt.Errorf("conflicting environment variable is shadowed by corresponding command-line flag (either unset environment variable or disable flag): %s", key)
	}
	if err := o.Value.Set(value); err != nil {
		return fmt.Errorf("invalid value %q for %s: %w", value, key, err)
	}
	c.set[o.Name] = true
	return nil
}

// unknownVariable is what to say about a variable that sets no option; nothing about those that have a meaning for programs around us.
func unknownVariable(key string) string {
	switch key {
	case "ETCD_VERSION":
		return "cannot set special environment variable"
	case "ETCD_CONFIG_FILE", "ETCD_UNSUPPORTED_ARCH", "ETCD_VERIFY":
		return ""
	}
	return "unrecognized environment variable"
}

// Complete fills what follows from other options and reports the first thing that makes the configuration unusable. Completing again
// changes nothing.
func (c *Config) Complete() error {
	c.derive()
	for _, check := range []func() error{c.checkTicks, c.checkNumbers, c.checkURLs, c.checkBootstrap, c.checkSecurity, c.checkMaintenance, c.checkLogging} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// derive fills what follows from other options.
func (c *Config) derive() {
	if c.DataDir == "" {
		c.DataDir = c.Name + ".etcd"
	}
	if c.InitialCluster == "" && c.DiscoverySRV == "" && !c.Discovery.Enabled() {
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
	setZero(&c.AutoCompactionRetention, "0")
	c.RaftReadTimeout = max(c.RaftReadTimeout, minPeerTimeout)
	c.RaftWriteTimeout = max(c.RaftWriteTimeout, minPeerTimeout)
}

func setZero[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
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

func (c *Config) checkNumbers() error {
	switch {
	case c.MaxLearners <= 0:
		return fmt.Errorf("--max-learners must be >0 (set to %d)", c.MaxLearners)
	case c.CompactionBatchLimit < 0:
		return fmt.Errorf("--compaction-batch-limit must be >=0 (set to %d)", c.CompactionBatchLimit)
	case min(c.BatchInterval, c.CompactionSleep, c.WatchProgress, c.WarningApply, c.WarningUnary, c.CorruptCheckTime, c.DowngradeCheckTime, c.KeepAliveMinTime, c.KeepAliveInterval, c.KeepAliveTimeout) < 0:
		return errors.New("durations must not be negative")
	}
	return nil
}

func (c *Config) checkURLs() error {
	if len(c.ListenClientURLs) == 0 {
		return errors.New("--listen-client-urls must not be empty")
	}
	for _, u := range slices.Concat(c.ListenPeerURLs, c.ListenClientURLs, c.ListenClientHTTPURLs, c.ListenMetricsURLs) {
		if err := checkBindable(&u); err != nil {
			return err
		}
	}
	for _, u := range c.ListenClientURLs {
		if isTLS(&u) {
			return fmt.Errorf("TLS is not available in this version: cannot listen on client URL %s", &u)
		}
	}
	if err := checkReachable(c.AdvertisePeerURLs); err != nil {
		return fmt.Errorf(`--initial-advertise-peer-urls %q must be "host:port" (%w)`, c.AdvertisePeerURLs.String(), err)
	}
	if err := checkReachable(c.AdvertiseClientURLs); err != nil {
		return fmt.Errorf(`--advertise-client-urls %q must be in the format "host:port", "unix:/path/to/socket" or "unixs:/path/to/socket" (%w)`,
			c.AdvertiseClientURLs.String(), err)
	}
	if c.set["listen-client-urls"] && !c.set["advertise-client-urls"] {
		return errors.New("--advertise-client-urls is required when --listen-client-urls is set explicitly")
	}
	return nil
}

func (c *Config) checkLogging() error {
	outputs := strings.Split(c.LogOutputs, ",")
	switch {
	case c.Logger == "capnslog":
		return errors.New("--logger=capnslog is removed in v3.5")
	case c.Logger != "zap":
		return fmt.Errorf("unknown logger option %q", c.Logger)
	case c.LogFormat != "json" && c.LogFormat != "console":
		return fmt.Errorf("unknown log format: %s, supported values json, console", c.LogFormat)
	case c.Metrics != "basic" && c.Metrics != "extensive":
		return fmt.Errorf("unknown --metrics %q, want basic or extensive", c.Metrics)
	case slices.Contains(outputs, ""):
		return errors.New("--log-outputs must not contain empty names")
	case len(outputs) > 1 && slices.Contains(outputs, "default"):
		return errors.New(`multi logoutput for "default" is not supported yet`)
	case slices.Contains(outputs, "systemd/journal"):
		return errors.New("log output systemd/journal is not available in this version: systemd records what is written to stderr")
	}
	return nil
}

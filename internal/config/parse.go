package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// ErrUsage wraps what is wrong with the command line itself: an unknown flag or a value that does not parse. A program ends with status 2 on it.
var ErrUsage = errors.New("usage")

// ErrVersion says that --version was asked for.
var ErrVersion = errors.New("version asked for")

// ConflictError says that an option is set twice, by a flag and by a variable: one of them would be ignored unseen.
type ConflictError struct{ Variable string }

func (e *ConflictError) Error() string {
	return "conflicting environment variable is shadowed by corresponding command-line flag (either unset environment variable or disable flag))"
}

// Notice is something to be logged once there is a log.
type Notice struct {
	Level  slog.Level
	Text   string
	Fields []any // keys and values
}

// Parse reads the command line and the environment, or the configuration file that one of them names, over the defaults and checks the result.
// flag.ErrHelp and ErrVersion say that the command line asks for these instead of a member.
func Parse(args, environ []string) (*Config, []Notice, error) {
	c := Default()
	table := c.options()
	if err := c.applyFlags(table, args); err != nil {
		return nil, nil, err
	}
	if err := checkArchitecture(runtime.GOARCH, environ); err != nil {
		return nil, nil, err
	}
	path := c.file
	if path == "" {
		path = variable(environ, "ETCD_CONFIG_FILE")
	}
	if path != "" {
		return parseFile(path)
	}
	notices, err := c.applyEnviron(table, environ)
	if err != nil {
		return nil, nil, err
	}
	return c.finish(notices, table)
}

// parseFile reads a configuration file over the defaults. Nothing else counts then.
func parseFile(path string) (*Config, []Notice, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	c := Default()
	c.file = path
	table := c.options()
	notices, err := c.applyFile(table, content)
	if err != nil {
		return nil, nil, err
	}
	loaded := Notice{slog.LevelInfo, "loaded server configuration, other configuration command line flags and environment variables will be ignored if provided", []any{"path", path}}
	return c.finish(append([]Notice{loaded}, notices...), table)
}

// finish checks the configuration and adds what there is to say of it.
func (c *Config) finish(notices []Notice, table []*Option) (*Config, []Notice, error) {
	doubts := append(c.doubts(), c.advertiseDefaultHost(defaultHost)...)
	if c.DataDir == "" {
		doubts = append(doubts, Notice{slog.LevelWarn, "'data-dir' was empty; using default", []any{"data-dir", c.Name + ".etcd"}})
	}
	if err := c.Complete(); err != nil {
		return nil, nil, err
	}
	for _, o := range table {
		if o.Idle != "" && c.set[o.Name] {
			notices = append(notices, Notice{slog.LevelWarn, "this option has no effect", []any{"flag", o.Name, "reason", o.Idle}})
		}
		if o.Parting != "" && c.set[o.Name] {
			notices = append(notices, Notice{slog.LevelWarn, o.Parting, []any{"flag", o.Name}})
		}
	}
	return c, append(notices, doubts...), nil
}

// applyFlags sets what the command line says.
func (c *Config) applyFlags(table []*Option, args []string) error {
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
func (c *Config) applyEnviron(table []*Option, environ []string) (notices []Notice, err error) {
	byEnv := map[string]*Option{}
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
		} else if text := unknownVariable(key); text != "" {
			notices = append(notices, Notice{slog.LevelWarn, text, []any{"environment-variable", key}})
		}
		if err != nil {
			return nil, err
		}
	}
	return notices, nil
}

// applyVariable sets one option.
func (c *Config) applyVariable(o *Option, key, value string) error {
	if c.set[o.Name] {
		return &ConflictError{key}
	}
	if err := o.Value.Set(value); err != nil {
		return fmt.Errorf("invalid value %q for %s: %w", value, key, err)
	}
	c.set[o.Name] = true
	return nil
}

// unknownVariable is what to say about a variable that sets no option; nothing about those that have a meaning of their own.
func unknownVariable(key string) string {
	switch key {
	case "ETCD_VERSION":
		return "cannot set special environment variable"
	case archVariable, "ETCD_VERIFY":
		return ""
	}
	return "unrecognized environment variable"
}

// variable returns the value of a variable, "" if it is not set.
func variable(environ []string, name string) string {
	for _, kv := range environ {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

const archVariable = "ETCD_UNSUPPORTED_ARCH"

// checkArchitecture refuses processors that the server is not tested on, unless the environment names them.
func checkArchitecture(arch string, environ []string) error {
	switch arch {
	case "amd64", "arm64", "ppc64le", "s390x", variable(environ, archVariable):
		return nil
	}
	return fmt.Errorf("this platform is not supported without %s=%s set", archVariable, arch)
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
	c.deriveLists()
	if c.FreelistType != "array" {
		c.FreelistType = "map"
	}
	if !c.validCost() {
		c.BcryptCost = defaultBcryptCost
	}
}

// deriveLists makes "all" of empty lists of whom to answer.
func (c *Config) deriveLists() {
	for _, list := range []*Words{&c.CORS, &c.HostWhitelist} {
		if len(*list) == 0 {
			*list = Words{"*"}
		}
	}
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
	case c.MaxLearners < 0:
		return fmt.Errorf("--max-learners must be >=0 (set to %d)", c.MaxLearners)
	case c.BatchLimit < 0:
		return fmt.Errorf("--backend-batch-limit must be >=0 (set to %d)", c.BatchLimit)
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
	if err := c.checkClientURLs(); err != nil {
		return err
	}
	if err := checkReachable(c.AdvertisePeerURLs); err != nil {
		return fmt.Errorf(`--initial-advertise-peer-urls %q must be "host:port" (%w)`, c.AdvertisePeerURLs.String(), err)
	}
	if err := checkReachable(c.AdvertiseClientURLs); err != nil {
		return fmt.Errorf(`--advertise-client-urls %q must be in the format "host:port", "unix:/path/to/socket" or "unixs:/path/to/socket" (%w)`,
			c.AdvertiseClientURLs.String(), err)
	}
	if c.file == "" && c.set["listen-client-urls"] && !c.set["advertise-client-urls"] {
		return errors.New("--advertise-client-urls is required when --listen-client-urls is set explicitly")
	}
	return nil
}

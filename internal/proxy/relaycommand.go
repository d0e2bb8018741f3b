package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/quoin-kv/quoin/internal/certs"
)

// relayFlags are those of the command; what they mean for the relay goes to its options at once.
type relayFlags struct {
	RelayOptions
	listen, metrics string
	discovery       discovery
	listener        certs.Files
	autoTLS         bool
	years           uint
	dataDir         string
	leasing         string
	debug           bool
}

// RelayCommand is `quoin grpc-proxy`, whose one subcommand is start; log makes the logger. It runs until the context of the command ends.
func RelayCommand(log func(debug bool) *slog.Logger) *cobra.Command {
	root := &cobra.Command{Use: "grpc-proxy <subcommand>", Short: "Pass calls of gRPC clients on to the members of a cluster"}
	f := &relayFlags{}
	start := &cobra.Command{
		Use: "start", Short: "Start passing calls on", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), log(f.debug)) },
	}
	set := start.Flags()
	f.addMembers(set)
	f.addClients(set)
	f.addTLS(set)
	root.AddCommand(start)
	return root
}

func (f *relayFlags) addMembers(set *pflag.FlagSet) {
	set.StringSliceVar(&f.Endpoints, "endpoints", []string{"127.0.0.1:2379"}, "endpoints of the cluster, comma separated")
	set.DurationVar(&f.Sync, "endpoints-auto-sync-interval", 0,
		"time between two looks at the list of members, from which the endpoints are taken; at least 1s (0: never)")
	set.StringVar(&f.discovery.Domain, "discovery-srv", "", "DNS domain whose SRV records name the endpoints")
	set.StringVar(&f.discovery.Name, "discovery-srv-name", "", "suffix of the service that is looked up there: etcd-client-ssl, etcd-client")
	set.BoolVar(&f.discovery.Insecure, "insecure-discovery", false, "take endpoints without TLS from there as well")
	set.DurationVar(&f.Dial.Time, "dial-keepalive-time", 0, "time between two pings of members (0: none)")
	set.DurationVar(&f.Dial.Timeout, "dial-keepalive-timeout", 20*time.Second, "time that a member has to answer a ping")
	set.BoolVar(&f.Dial.PermitWithoutStream, "permit-without-stream", false, "ping members without calls under way too")
	set.IntVar(&f.MaxSendBytes, "max-send-bytes", 3<<19, "largest message to a member")
	set.IntVar(&f.MaxReceiveBytes, "max-recv-bytes", math.MaxInt32, "largest message from a member")
	set.StringVar(&f.Members.ClientCert, "cert", "", "certificate shown to members; it must have no common name")
	set.StringVar(&f.Members.ClientKey, "key", "", "key of that certificate")
	set.StringVar(&f.Members.TrustedCA, "cacert", "", "authorities that the certificates of members are checked against")
	set.BoolVar(&f.Members.SkipServerVerify, "insecure-skip-tls-verify", false, "accept any certificate of a member: for tests only")
}

func (f *relayFlags) addClients(set *pflag.FlagSet) {
	set.StringVar(&f.listen, "listen-addr", "127.0.0.1:23790", "address to listen on")
	set.StringVar(&f.metrics, "metrics-addr", "", "URL where metrics and health are served as well")
	set.StringVar(&f.Advertise, "advertise-client-url", "127.0.0.1:23790",
		"address that clients are told when they ask for the members (empty: the members answer)")
	set.StringVar(&f.ResolverPrefix, "resolver-prefix", "", "prefix of the keys under which proxies register, for clients to be told all of them")
	set.Int64Var(&f.ResolverTTL, "resolver-ttl", 0, "seconds that a proxy stays registered when it is gone")
	set.StringVar(&f.Namespace, "namespace", "", "prefix that is put before the keys of clients, and cut off from answers")
	set.BoolVar(&f.Pprof, "enable-pprof", false, "serve profiles under /debug/pprof/")
	set.DurationVar(&f.KeepAliveMinTime, "grpc-keepalive-min-time", 5*time.Second, "time that a client must leave between two pings")
	set.DurationVar(&f.KeepAlive.Time, "grpc-keepalive-interval", 2*time.Hour, "time between two pings of clients (0: none)")
	set.DurationVar(&f.KeepAlive.Timeout, "grpc-keepalive-timeout", 20*time.Second, "time that a client has to answer a ping")
	set.Uint32Var(&f.MaxStreams, "max-concurrent-streams", math.MaxUint32, "calls that a client may have under way on a connection; never more than 65536")
	set.BoolVar(&f.Ordered, "experimental-serializable-ordering", false, "no serializable read is older than an answer before it")
	set.StringVar(&f.leasing, "experimental-leasing-prefix", "", "not supported")
	set.BoolVar(&f.LogCalls, "experimental-enable-grpc-logging", false, "log every call")
	set.BoolVar(&f.debug, "debug", false, "log more")
}

func (f *relayFlags) addTLS(set *pflag.FlagSet) {
	set.StringVar(&f.listener.Cert, "cert-file", "", "certificate shown to clients")
	set.StringVar(&f.listener.Key, "key-file", "", "key of that certificate")
	set.StringVar(&f.listener.TrustedCA, "trusted-ca-file", "", "authorities that clients must have a certificate of")
	set.StringVar(&f.listener.CRL, "client-crl-file", "", "list of revoked certificates of clients")
	set.StringSliceVar(&f.listener.CipherSuites, "listen-cipher-suites", nil, "cipher suites of TLS with clients, comma separated (empty: Go's choice)")
	set.StringVar(&f.listener.MinVersion, "tls-min-version", "TLS1.2", "oldest version of TLS with clients: TLS1.2, TLS1.3")
	set.StringVar(&f.listener.MaxVersion, "tls-max-version", "", "newest version of TLS with clients: TLS1.2, TLS1.3 (empty: Go's choice)")
	set.BoolVar(&f.autoTLS, "auto-tls", false, "make a certificate to show to clients")
	set.UintVar(&f.years, "self-signed-cert-validity", 1, "years that a certificate which is made is valid")
	set.StringVar(&f.dataDir, "data-dir", "default.proxy", "directory for a certificate which is made")
}

func (f *relayFlags) run(ctx context.Context, logger *slog.Logger) error {
	if err := f.check(); err != nil {
		return err
	}
	f.Logger = logger
	security, err := f.security()
	if err != nil {
		return err
	}
	if err := f.find(ctx); err != nil {
		return err
	}
	if f.Sync > 0 && f.Sync < minSyncInterval {
		logger.Warn("endpoints-auto-sync-interval is too short, and raised", "given", f.Sync, "used", minSyncInterval)
	}
	doors, err := f.open(ctx, security)
	if err != nil {
		return err
	}
	r, err := NewRelay(f.RelayOptions)
	if err != nil {
		return errors.Join(err, closeDoors(doors))
	}
	logger.Info("started gRPC proxy", "address", doors[0].Listener.Addr().String(), "endpoints", f.Endpoints)
	return r.Serve(ctx, doors[0], doors[1:]...)
}

// check looks at what flags say together.
func (f *relayFlags) check() error {
	switch {
	case f.leasing != "":
		return errors.New("experimental-leasing-prefix is not supported: reads go to the members")
	case f.ResolverPrefix != "" && f.ResolverTTL < 1:
		return fmt.Errorf("invalid resolver-ttl %d", f.ResolverTTL)
	case f.ResolverPrefix == "" && f.ResolverTTL > 0:
		return fmt.Errorf("invalid resolver-prefix %q", f.ResolverPrefix)
	case f.ResolverPrefix != "" && f.Advertise == "":
		return fmt.Errorf("invalid advertise-client-url %q", f.Advertise)
	case f.autoTLS && f.years == 0:
		return errors.New("selfSignedCertValidity is invalid,it should be greater than 0")
	case f.MaxSendBytes < 0 || f.MaxReceiveBytes < 0:
		return errors.New("max-send-bytes and max-recv-bytes must not be negative")
	}
	versions := certs.Files{MinVersion: f.listener.MinVersion, MaxVersion: f.listener.MaxVersion, CipherSuites: f.listener.CipherSuites}
	if _, err := versions.Dialer(); err != nil {
		return fmt.Errorf("TLS for clients: %w", err)
	}
	return emptyName(f.Members.ClientCert)
}

// emptyName refuses a certificate that names somebody: with it, members that take the names of users from certificates would take every client
// for that user.
func emptyName(file string) error {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s holds no certificate", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if cert.Subject.CommonName != "" {
		return fmt.Errorf("cert has non empty Common Name (%s): %s", cert.Subject.CommonName, file)
	}
	return nil
}

// security returns how the proxy proves itself to clients, and they to it; nil: without TLS.
func (f *relayFlags) security() (_ *tls.Config, err error) {
	files := f.listener
	if f.autoTLS && files.Cert == "" && files.Key == "" {
		dir := filepath.Join(f.dataDir, "fixtures", "proxy")
		if files.Cert, files.Key, err = certs.SelfSigned(dir, []string{f.listen}, int(min(f.years, math.MaxInt32))); err != nil {
			return nil, fmt.Errorf("auto-tls: %w", err)
		}
	}
	if files.Cert == "" && files.Key == "" && files.TrustedCA == "" {
		return nil, nil
	}
	config, err := files.Server("h2", "http/1.1")
	if err != nil {
		return nil, fmt.Errorf("TLS for clients: %w", err)
	}
	return config, nil
}

// find finishes what the relay must know about the members.
func (f *relayFlags) find(ctx context.Context) error {
	m := &f.Members
	f.TLS = m.ClientCert != "" || m.ClientKey != "" || m.TrustedCA != "" || m.SkipServerVerify
	if f.discovery.Domain == "" {
		return nil
	}
	d := f.discovery
	d.Resolver, d.logger, d.trustedCA = net.DefaultResolver, f.Logger, m.TrustedCA
	found, err := d.trusted(ctx)
	if err != nil {
		return err
	}
	f.Endpoints = nil
	for _, e := range found {
		f.Endpoints = append(f.Endpoints, e.URL())
	}
	return nil
}

// open opens the door for clients, and after it the one for monitors if there is one.
func (f *relayFlags) open(ctx context.Context, security *tls.Config) ([]Door, error) {
	var how net.ListenConfig
	l, err := how.Listen(ctx, "tcp", f.listen)
	if err != nil {
		return nil, err
	}
	doors := []Door{{l, security}}
	if f.metrics == "" {
		return doors, nil
	}
	u, err := url.Parse(f.metrics)
	switch {
	case err != nil:
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		err = fmt.Errorf("metrics-addr %q: expected http://host:port or https://host:port", f.metrics)
	case u.Scheme == "https" && security == nil:
		err = fmt.Errorf("cannot listen on TLS for %s: KeyFile and CertFile are not presented", u.Host)
	case u.Scheme == "http":
		security = nil
	}
	if err == nil {
		l, err = how.Listen(ctx, "tcp", u.Host)
	}
	if err != nil {
		return nil, errors.Join(err, closeDoors(doors))
	}
	return append(doors, Door{l, security}), nil
}

func closeDoors(doors []Door) (err error) {
	for _, d := range doors {
		err = errors.Join(err, d.Listener.Close())
	}
	return err
}

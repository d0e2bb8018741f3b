package ctl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/quoin-kv/quoin/internal/discover"
)

// A connection is where the servers are and how to reach them: the flags that
// every client command has.
type connection struct {
	endpoints      []string
	dialTimeout    time.Duration
	commandTimeout time.Duration
	keepAliveTime  time.Duration
	keepAliveWait  time.Duration

	user, password string
	token          string // instead of the two

	discovery discover.Clients // of the endpoints, unless its domain is empty

	caFile, certFile, keyFile string
	skipVerify                bool
	alwaysTLS                 bool   // also without a file or an endpoint that asks for it
	flagPrefix                string // of the flags' names in errors

	sendMost, receiveMost int // bytes; 0 for the client library's

	given func(flag string) bool // whether a flag was given, or its environment variable
}

// environmentPrefix stands before the name of a flag in capitals in the
// environment variable that gives the flag's default.
const environmentPrefix = "ETCDCTL_"

// newConnection adds the connection flags to flags.
func newConnection(f *pflag.FlagSet) *connection {
	c := &connection{given: f.Changed, discovery: discover.Clients{Resolver: net.DefaultResolver}}
	f.StringSliceVar(&c.endpoints, "endpoints", []string{"127.0.0.1:2379"}, "addresses of the servers")
	f.DurationVar(&c.dialTimeout, "dial-timeout", 2*time.Second, "time limit for logging in to a server")
	f.DurationVar(&c.commandTimeout, "command-timeout", 5*time.Second, "time limit for a command (watch has none)")
	f.DurationVar(&c.keepAliveTime, "keepalive-time", 2*time.Second, "silence after which the server is probed")
	f.DurationVar(&c.keepAliveWait, "keepalive-timeout", 6*time.Second, "time limit for the answer to a probe")
	f.StringVar(&c.user, "user", "", "user name, or user:password")
	f.StringVar(&c.password, "password", "", "password of --user")
	f.StringVar(&c.token, "auth-jwt-token", "", "signed token to show instead of --user and --password")
	f.StringVarP(&c.discovery.Domain, "discovery-srv", "d", "", "DNS domain whose SRV records name the endpoints, instead of --endpoints")
	f.StringVar(&c.discovery.Name, "discovery-srv-name", "", "suffix of the service that is looked up there: etcd-client-ssl, etcd-client")
	f.BoolVar(&c.discovery.Insecure, "insecure-discovery", true, "take endpoints without TLS from there as well")
	f.StringVar(&c.caFile, "cacert", "", "file with the certificate authorities to trust for the servers")
	f.StringVar(&c.certFile, "cert", "", "file with the client's own certificate")
	f.StringVar(&c.keyFile, "key", "", "file with the key of --cert")
	f.BoolVar(&c.skipVerify, "insecure-skip-tls-verify", false, "accept any server certificate")
	f.IntVar(&c.sendMost, "max-request-bytes", 0, "largest request in bytes (0: 2 MiB)")
	f.IntVar(&c.receiveMost, "max-recv-bytes", 0, "largest answer in bytes (0: no limit)")
	f.Bool("insecure-transport", true, "accepted, and without effect: an endpoint says https:// if it wants TLS")
	return c
}

// fromEnvironment gives flags that are not on the command line the values of
// their environment variables. A flag given both ways is an error.
func fromEnvironment(flags *pflag.FlagSet) error {
	var failures []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := environmentPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := os.Getenv(name)
		switch {
		case value == "":
		case f.Changed:
			failures = append(failures, fmt.Errorf("both %s and --%s are given: leave one out", name, f.Name))
		default:
			if err := flags.Set(f.Name, value); err != nil {
				failures = append(failures, fmt.Errorf("invalid value %q for %s: %w", value, name, err))
			}
		}
	})
	return errors.Join(failures...)
}

// warnOfStrangers names environment variables that look like flags and are none.
func warnOfStrangers(w io.Writer, flags *pflag.FlagSet) {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		rest, ours := strings.CutPrefix(name, environmentPrefix)
		if ours && rest != "WATCH_KEY" && rest != "WATCH_RANGE_END" && flags.Lookup(strings.ToLower(strings.ReplaceAll(rest, "_", "-"))) == nil {
			fmt.Fprintf(w, "Warning: no flag belongs to the environment variable %s\n", name)
		}
	}
}

// discover replaces the endpoints by those that DNS knows, if there is a domain to ask for.
func (c *connection) discover(ctx context.Context) error {
	if c.discovery.Domain == "" {
		return nil
	}
	found, err := c.discovery.Find(ctx)
	if err != nil {
		return err
	}
	c.endpoints = nil
	for _, e := range found {
		c.endpoints = append(c.endpoints, e.URL())
	}
	return nil
}

// dial returns a client for the servers. With a user it logs in; otherwise
// nothing is sent before the first call.
func (c *connection) dial(cmd *cobra.Command) (*clientv3.Client, error) {
	user, password, err := c.credentials()
	if err != nil {
		return nil, err
	}
	security, err := c.tlsConfig()
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            c.endpoints,
		DialTimeout:          c.dialTimeout,
		DialKeepAliveTime:    c.keepAliveTime,
		DialKeepAliveTimeout: c.keepAliveWait,
		Username:             user,
		Password:             password,
		Token:                c.token,
		TLS:                  security,
		MaxCallSendMsgSize:   c.sendMost,
		MaxCallRecvMsgSize:   c.receiveMost,
		Context:              cmd.Context(),
		Logger:               zap.NewNop(), // the error that is returned says it all
	})
	if err != nil {
		return nil, fail(ExitNoConnection, "%s", describe(err))
	}
	return client, nil
}

// credentials splits --user user:password. With a token there are none.
func (c *connection) credentials() (user, password string, err error) {
	user, password, found := strings.Cut(c.user, ":")
	switch {
	case user == "" && c.password == "", c.token != "":
		return "", "", nil
	case user == "":
		return "", "", fail(ExitBadArguments, "--%[1]spassword needs --%[1]suser", c.flagPrefix)
	case c.password != "":
		return c.user, c.password, nil // the name may hold a colon then
	case !found:
		return "", "", fail(ExitBadArguments, "no password: give --%[1]suser %[2]s:password or --%[1]spassword", c.flagPrefix, user)
	}
	return user, password, nil
}

// tlsConfig returns nil for clear text: no TLS flag is set and no endpoint asks for it.
func (c *connection) tlsConfig() (*tls.Config, error) {
	if c.caFile == "" && c.certFile == "" && c.keyFile == "" && !c.skipVerify && !c.alwaysTLS && !c.secureEndpoint() {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.skipVerify}
	if !c.discovery.Insecure {
		config.ServerName = c.discovery.Domain // certificates are the domain's: what DNS says of its hosts is not trusted
	}
	if c.caFile != "" {
		pool, err := readAuthorities(c.caFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	if (c.certFile == "") != (c.keyFile == "") {
		return nil, fail(ExitBadArguments, "--%[1]scert and --%[1]skey belong together", c.flagPrefix)
	}
	if c.certFile != "" {
		pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
		if err != nil {
			return nil, fail(ExitNoConnection, "client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (c *connection) secureEndpoint() bool {
	for _, endpoint := range c.endpoints {
		if strings.HasPrefix(endpoint, "https://") || strings.HasPrefix(endpoint, "unixs:") {
			return true
		}
	}
	return false
}

func readAuthorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fail(ExitNoConnection, "certificate authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fail(ExitNoConnection, "certificate authorities: no certificate in %s", file)
	}
	return pool, nil
}

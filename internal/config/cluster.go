package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"syscall"
	"time"

	"github.com/quoin-kv/quoin/internal/certs"
	"github.com/quoin-kv/quoin/internal/token"
)

// UsesTLS reports whether what listens at, or connects to, a URL speaks TLS.
func UsesTLS(u url.URL) bool { return u.Scheme == "https" || u.Scheme == "unixs" }

// checkReachable refuses addresses without a host, which nobody can reach.
func checkReachable(urls URLs) error {
	for i := range urls {
		if u := &urls[i]; u.Host == "" && u.Path == "" || u.Hostname() == "" && u.Port() != "" {
			return fmt.Errorf("unexpected empty host (%s)", u)
		}
	}
	return nil
}

// checkBootstrap checks how a member without data is to find its cluster: there is one way at most.
func (c *Config) checkBootstrap() error {
	sources := 0
	for _, given := range []bool{c.InitialCluster != "", c.DiscoverySRV != "", c.Discovery.Enabled()} {
		if given {
			sources++
		}
	}
	d := &c.Discovery
	switch {
	case c.DiscoveryFallback == "proxy":
		return errors.New(`v2 proxy is deprecated, and --discovery-fallback can't be configured as "proxy"`)
	case c.DiscoveryFallback != "exit":
		return fmt.Errorf("unexpected discovery-fallback %q", c.DiscoveryFallback)
	case c.InitialClusterState != "new" && c.InitialClusterState != "existing":
		return fmt.Errorf("unexpected clusterState %q", c.InitialClusterState)
	case sources > 1:
		return errors.New(`multiple discovery or bootstrap flags are set. Choose one of "initial-cluster", "discovery-endpoints" or "discovery-srv"`)
	case d.Enabled() && (d.Token == "" || len(d.Endpoints) == 0):
		return errors.New("both --discovery-token and --discovery-endpoints must be set")
	case slices.Contains(d.Endpoints, ""):
		return errors.New("--discovery-endpoints must not contain empty endpoints")
	}
	return nil
}

// checkToken refuses kinds of tokens that there are not, and keys that cannot be read.
func (c *Config) checkToken() error {
	_, err := token.Parse(c.AuthToken, time.Now)
	return err
}

func (c *Config) checkSecurity() error {
	for _, check := range []func() error{c.checkTLSVersions, c.checkCipherSuites, c.checkClientTLS, c.checkPeerTLS, c.checkToken} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkTLSVersions() error {
	least, err := tlsVersion(c.TLSMinVersion)
	if err != nil {
		return err
	}
	most, err := tlsVersion(c.TLSMaxVersion)
	switch {
	case err != nil:
		return err
	case most != 0 && least > most:
		return fmt.Errorf("min version (%s) is greater than max version (%s)", c.TLSMinVersion, c.TLSMaxVersion)
	case least == tls.VersionTLS13 && len(c.CipherSuites) > 0:
		return errors.New("cipher suites cannot be configured when only TLS1.3 is enabled")
	}
	return nil
}

// tlsVersion is the number of a version, 0 for none.
func tlsVersion(name string) (uint16, error) {
	switch name {
	case "":
		return 0, nil
	case "TLS1.2":
		return tls.VersionTLS12, nil
	case "TLS1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("unexpected TLS version %q (must be one of: TLS1.2, TLS1.3)", name)
}

func (c *Config) checkCipherSuites() error {
	for _, name := range c.CipherSuites {
		if _, ok := certs.CipherSuite(name); !ok {
			return fmt.Errorf("unexpected TLS cipher suite %q", name)
		}
	}
	return nil
}

// checkClientURLs checks that there are certificates for https URLs, and that nothing is to be bound twice.
func (c *Config) checkClientURLs() error {
	t := &c.ClientTLS
	proven := t.AutoTLS || t.CertFile != "" && t.KeyFile != ""
	for _, u := range slices.Concat(c.ListenClientURLs, c.ListenClientHTTPURLs) {
		if UsesTLS(u) && !proven {
			return fmt.Errorf("TLS key/cert (--cert-file, --key-file) must be provided for client url %s with HTTPS scheme", &u)
		}
	}
	for _, u := range c.ListenMetricsURLs {
		if UsesTLS(u) && !proven {
			return fmt.Errorf("client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url %s", &u)
		}
	}
	for _, u := range c.ListenClientHTTPURLs {
		if slices.Contains(c.ListenClientURLs, u) {
			return fmt.Errorf("cannot bind both --listen-client-urls and --listen-client-http-urls on the same url %s", &u)
		}
	}
	return nil
}

// checkClientTLS checks the certificates for clients. Without https URLs they have no effect and are not looked at.
func (c *Config) checkClientTLS() error {
	t := &c.ClientTLS
	listens := slices.ContainsFunc(slices.Concat(c.ListenClientURLs, c.ListenClientHTTPURLs, c.ListenMetricsURLs), UsesTLS)
	switch {
	case !listens:
		return nil
	case (t.ClientCertFile == "") != (t.ClientKeyFile == ""):
		return fmt.Errorf("ClientKeyFile and ClientCertFile must both be present or both absent: key: %s, cert: %s]", t.ClientKeyFile, t.ClientCertFile)
	case t.AutoTLS && c.SelfSignedYears == 0:
		return errors.New("--self-signed-cert-validity must be >0 (set to 0)")
	}
	return nil
}

// checkPeerTLS checks the files that https peer URLs need. Without such URLs they have no effect and are not looked at.
func (c *Config) checkPeerTLS() error {
	p := &c.PeerTLS
	listens := slices.ContainsFunc(c.ListenPeerURLs, UsesTLS)
	switch {
	case !listens && !slices.ContainsFunc(c.AdvertisePeerURLs, UsesTLS):
		return nil
	case (p.CertFile == "") != (p.KeyFile == ""):
		return fmt.Errorf("--peer-key-file and --peer-cert-file: KeyFile and CertFile must both be present[key: %s, cert: %s]", p.KeyFile, p.CertFile)
	case listens && p.CertFile == "" && !p.AutoTLS:
		return fmt.Errorf("cannot listen on TLS for %s: KeyFile and CertFile are not presented", c.ListenPeerURLs.String())
	case (p.ClientCertFile == "") != (p.ClientKeyFile == ""):
		return fmt.Errorf("ClientKeyFile and ClientCertFile must both be present or both absent: key: %s, cert: %s]", p.ClientKeyFile, p.ClientCertFile)
	case len(p.AllowedCNs) > 0 && len(p.AllowedHostnames) > 0:
		return fmt.Errorf("AllowedCNs and AllowedHostnames are mutually exclusive (cns=%q, hostnames=%q)", []string(p.AllowedCNs), []string(p.AllowedHostnames))
	case p.AutoTLS && c.SelfSignedYears == 0:
		return errors.New("--self-signed-cert-validity must be >0 (set to 0)")
	}
	return nil
}

// soReusePort is Linux's SO_REUSEPORT, which package syscall does not have for every architecture.
const soReusePort = 0xf

// ListenConfig is how sockets are opened. Addresses that closed connections still hold are always taken; Go does so by itself.
func (c *Config) ListenConfig() net.ListenConfig {
	if !c.SocketReusePort {
		return net.ListenConfig{}
	}
	return net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soReusePort, 1) })
		return errors.Join(err, failed)
	}}
}

package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"time"
)

// handshakeTimeout bounds a handshake with a server.
const handshakeTimeout = 10 * time.Second

// Dialer makes the configuration of each connection to a server.
type Dialer struct {
	base    *tls.Config
	pair    *cached[*tls.Certificate] // nil: no certificate
	pool    *cached[*x509.CertPool]   // nil: the system's authorities
	revoked *cached[revoked]          // nil: none are known
}

// Dialer returns the dialing side. All files are read once, so that what is wrong shows at the start.
func (f Files) Dialer() (*Dialer, error) {
	cert, key := f.Cert, f.Key
	if f.ClientCert != "" || f.ClientKey != "" {
		cert, key = f.ClientCert, f.ClientKey
	}
	if (cert == "") != (key == "") {
		return nil, fmt.Errorf("a client certificate needs its key, and a key its certificate: certificate %q, key %q", cert, key)
	}
	base, err := f.base()
	if err != nil {
		return nil, err
	}
	base.ServerName, base.InsecureSkipVerify = f.ServerName, f.SkipServerVerify
	d := &Dialer{base: base}
	d.pool, d.revoked = f.others()
	if cert != "" {
		d.pair = newPair(cert, key)
	}
	_, err = d.Config("")
	return d, err
}

// Config returns the configuration for a connection to host, a name or an address, as the files say now. It belongs to the caller.
func (d *Dialer) Config(host string) (c *tls.Config, err error) {
	c = d.base.Clone()
	if c.ServerName == "" {
		c.ServerName = host
	}
	if c.RootCAs, err = d.pool.get(); err != nil {
		return nil, err
	}
	list, err := d.revoked.get()
	if err != nil {
		return nil, err
	}
	c.VerifyConnection = func(state tls.ConnectionState) error { return list.check(state.PeerCertificates) }
	pair, err := d.pair.get()
	if err != nil {
		return nil, err
	}
	if pair != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	}
	return c, nil
}

// DialFunc opens a connection, as net.Dialer does.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// Over returns the function that opens a connection with dial and takes it through TLS, for http.Transport.DialTLSContext. The connection speaks no
// other protocol than HTTP/1.1.
func (d *Dialer) Over(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		config, err := d.Config(host)
		if err != nil {
			return nil, err
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		session := tls.Client(conn, config)
		ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		if err := session.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return session, nil
	}
}

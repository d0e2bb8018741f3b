package ctl

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// names answers for a domain.
type names map[string]*net.SRV

func (n names) LookupSRV(_ context.Context, service, _, name string) (string, []*net.SRV, error) {
	if r := n[service+" "+name]; r != nil {
		return "", []*net.SRV{r}, nil
	}
	return "", nil, errors.New("no such host")
}

// TestDiscover: endpoints of DNS come instead of those of the command line, and if only those with TLS count, they must have the domain's certificate.
func TestDiscover(t *testing.T) {
	dns := names{
		"etcd-client-ssl d": {Target: "s.", Port: 1}, "etcd-client d": {Target: "p.", Port: 2}, "etcd-client-x d": {Target: "x.", Port: 3},
	}
	for _, c := range []struct{ args, endpoints, server, failure string }{
		{"", "127.0.0.1:2379", "", ""},
		{"-d d --endpoints a:1", "https://s:1 http://p:2", "", ""},
		{"--discovery-srv d --insecure-discovery=false", "https://s:1", "d", ""},
		{"--discovery-srv d --discovery-srv-name x", "http://x:3", "", ""},
		{"--discovery-srv e", "", "", "dns lookup errors: no such host and no such host"},
	} {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		conn := newConnection(flags)
		if err := flags.Parse(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		conn.discovery.Resolver = dns
		if err := conn.discover(t.Context()); err != nil {
			if err.Error() != c.failure {
				t.Errorf("%s: %v", c.args, err)
			}
			continue
		}
		if c.failure != "" || !slices.Equal(conn.endpoints, strings.Fields(c.endpoints)) {
			t.Errorf("%s: %v", c.args, conn.endpoints)
		}
		security, err := conn.tlsConfig()
		if server := ""; err != nil {
			t.Error(err)
		} else if security != nil {
			if server = security.ServerName; server != c.server {
				t.Errorf("%s: server name %q", c.args, server)
			}
		}
	}
}

// TestTokenIsShown: a token goes with each call, and a password that is given as well does not.
func TestTokenIsShown(t *testing.T) {
	f := startFake(t)
	t.Setenv("ETCDCTL_AUTH_JWT_TOKEN", "signed")
	var out, errs bytes.Buffer
	code := execute(t.Context(), strings.NewReader(""), &out, &errs, "put", "a", "1", "--endpoints", f.address, "--user", "root:pw")
	if code != 0 || f.token() != "signed" {
		t.Errorf("exit code %d, errors %q, token %q", code, errs.String(), f.token())
	}
}

// TestOptions: the flags are listed without a server, and without a look at the variables that give them.
func TestOptions(t *testing.T) {
	t.Setenv("ETCDCTL_DISCOVERY_SRV", "nowhere.invalid")
	var out, errs bytes.Buffer
	if code := execute(t.Context(), strings.NewReader(""), &out, &errs, "options"); code != 0 || errs.Len() > 0 {
		t.Errorf("exit code %d, errors %q", code, errs.String())
	}
	newGlobals().flags.VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(out.String(), " --"+f.Name+" ") {
			t.Errorf("--%s is not listed", f.Name)
		}
	})
}

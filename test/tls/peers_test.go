package tlstest

import (
	"context"
	"crypto/tls"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/embed"
	"github.com/quoin-kv/quoin/internal/certs/certstest"
	"github.com/quoin-kv/quoin/internal/config"
	"github.com/quoin-kv/quoin/test/freeport"
)

// cluster is three members that prove to each other who they are, each with a folder of its own.
type cluster struct {
	t       *testing.T
	folders [3]folder
	peers   [3]string
	configs [3]*embed.Config
	members [3]*embed.Member
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t}
	var initial []string
	for i := range c.peers {
		c.folders[i], c.peers[i] = newFolder(t), freeport.Address(t)
		initial = append(initial, fmt.Sprintf("m%d=https://%s", i, c.peers[i]))
	}
	for i := range c.peers {
		cfg := newConfig(t, "http://127.0.0.1:0")
		cfg.Name, cfg.InitialCluster = fmt.Sprintf("m%d", i), strings.Join(initial, ",")
		cfg.HeartbeatMs, cfg.ElectionMs = 50, 500
		setURLs(t, &cfg.ListenPeerURLs, "https://"+c.peers[i])
		setURLs(t, &cfg.AdvertisePeerURLs, "https://"+c.peers[i])
		f := c.folders[i]
		cfg.PeerTLS = config.TLS{CertFile: f.path("cert"), KeyFile: f.path("key"), TrustedCAFile: f.path("ca"), CRLFile: f.path("crl")}
		c.configs[i] = cfg
	}
	return c
}

// each calls fn for every member's folder.
func (c *cluster) each(fn func(i int, f folder)) {
	c.t.Helper()
	for i, f := range c.folders {
		fn(i, f)
	}
}

// equip gives every member a certificate of one authority, and trust in some.
func (c *cluster) equip(of *certstest.Authority, trusted ...*certstest.Authority) {
	c.t.Helper()
	c.each(func(i int, f folder) {
		f.show(of.Issue(fmt.Sprintf("m%d", i), certstest.Hosts("127.0.0.1")))
		var pems [][]byte
		for _, a := range trusted {
			pems = append(pems, a.Cert)
		}
		f.put("ca", pems...)
		f.put("crl", of.Revoke())
	})
}

func (c *cluster) launch(i int) {
	c.t.Helper()
	c.members[i] = launch(c.t, c.configs[i])
}

// works checks that some members answer, through their leader.
func (c *cluster) works(what string, members ...int) {
	c.t.Helper()
	for _, i := range members {
		awaitReady(c.t, c.members[i])
		until(c.t, fmt.Sprintf("%s, member %d", what, i), func() error {
			return askHTTP1(c.t.Context(), c.members[i].ClientAddrs()[0].String(), nil)
		})
	}
}

// connected checks that a member has connections to both others.
func (c *cluster) connected(what string, i int) {
	c.t.Helper()
	until(c.t, what, func() error {
		body, err := fetch(c.t.Context(), c.members[i].ClientAddrs()[0].String(), nil, "HTTP/1.1", "GET", "/metrics", "")
		if err != nil {
			return err
		}
		active := regexp.MustCompile(`(?m)^etcd_network_active_peers\{.*\} 1$`).FindAllString(body, -1)
		if len(active) != 2 {
			return fmt.Errorf("member %d is connected: %v", i, active)
		}
		return nil
	})
}

// restart stops a member and starts it again: it and the others must accept each other anew.
func (c *cluster) restart(i int) {
	c.t.Helper()
	check(c.t, c.members[i].Close())
	c.launch(i)
}

// TestPeersRotation: leaves and roots of a cluster are replaced while it works. What restarts in between is one member, so that there are new
// connections; the others run from the first to the last.
func TestPeersRotation(t *testing.T) {
	before, after := certstest.New(t, "before"), certstest.New(t, "after")
	c := newCluster(t)
	c.equip(before, before)
	for i := range c.members {
		c.launch(i)
	}
	c.works("at first", 0, 1, 2)
	for _, stage := range []struct {
		what    string
		of      *certstest.Authority
		trusted []*certstest.Authority
	}{
		{"new leaves", before, []*certstest.Authority{before}},
		{"two roots", before, []*certstest.Authority{before, after}},
		{"leaves of the new root", after, []*certstest.Authority{before, after}},
		{"new root", after, []*certstest.Authority{after}},
	} {
		c.equip(stage.of, stage.trusted...)
		c.restart(2)
		c.works(stage.what, 0, 1, 2)
		for i := range c.members {
			c.connected(stage.what, i)
		}
	}
	// The old root does not open any door now.
	conf := after.Client(before.Issue("old", certstest.Hosts("127.0.0.1")))
	for _, address := range c.peers {
		_, err := fetch(t.Context(), address, conf, "HTTP/1.1", "GET", "/version", "")
		refused(t, "old certificate", err, "unknown certificate authority")
	}
}

// TestPeerListener: every fault that a certificate can have, at the door for members.
func TestPeerListener(t *testing.T) {
	ours, others := certstest.New(t, "ours"), certstest.New(t, "others")
	revoked := ours.Issue("revoked", certstest.Hosts("127.0.0.1"))
	c := newCluster(t)
	c.equip(ours, ours)
	c.each(func(_ int, f folder) { f.put("crl", ours.Revoke(revoked.Serial)) })
	cfg := c.configs[0]
	cfg.InitialCluster = "m0=https://" + c.peers[0]
	start(t, cfg)
	for _, v := range visitors(ours, others, revoked) {
		t.Run(v.name, func(t *testing.T) {
			conf := ours.Client(v.shown...)
			body, err := fetch(t.Context(), c.peers[0], conf, "HTTP/1.1", "GET", "/members", "")
			refused(t, "members", err, v.want)
			if err == nil && !strings.Contains(body, c.peers[0]) {
				t.Errorf("members: %s", body)
			}
		})
	}
	t.Run("without TLS", func(t *testing.T) {
		if _, err := fetch(t.Context(), c.peers[0], nil, "HTTP/1.1", "GET", "/members", ""); err == nil {
			t.Error("answered")
		}
	})
}

// TestPeersAllowedNames: members are known by the common name of their certificates.
func TestPeersAllowedNames(t *testing.T) {
	ours := certstest.New(t, "ours")
	c := newCluster(t)
	c.equip(ours, ours)
	cfg := c.configs[0]
	cfg.InitialCluster = "m0=https://" + c.peers[0]
	cfg.PeerTLS.AllowedCNs = []string{"m1", "m2"}
	start(t, cfg)
	for name, want := range map[string]string{"m1": "", "m3": "bad certificate"} {
		conf := ours.Client(ours.Issue(name, certstest.Hosts("127.0.0.1")))
		_, err := fetch(t.Context(), c.peers[0], conf, "HTTP/1.1", "GET", "/version", "")
		refused(t, name, err, want)
	}
}

// TestForeignMember: a member whose certificate the others do not accept gets no leader, and does not disturb them. When its certificate is put
// right it joins them, without a restart of anybody.
func TestForeignMember(t *testing.T) {
	ours, others := certstest.New(t, "ours"), certstest.New(t, "others")
	for _, tc := range []struct {
		name string
		bad  certstest.Identity
	}{
		{"wrong authority", others.Issue("m2", certstest.Hosts("127.0.0.1"))},
		{"expired", ours.Issue("m2", certstest.Hosts("127.0.0.1"), certstest.Valid(-time.Hour, -time.Minute))},
		{"wrong name", ours.Issue("m2", certstest.Hosts("192.0.2.1"))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			c.equip(ours, ours)
			c.folders[2].show(tc.bad)
			for i := range c.members {
				c.launch(i)
			}
			c.works("the two", 0, 1)
			select {
			case <-c.members[2].Ready():
				t.Fatal("the foreign member has a leader")
			case <-time.After(time.Second): // some election timeouts
			}
			c.folders[2].show(ours.Issue("m2", certstest.Hosts("127.0.0.1")))
			c.works("all", 0, 1, 2)
		})
	}
}

// TestRevokedServer: a member does not talk to one whose certificate is revoked, though it is the one that dials.
func TestRevokedServer(t *testing.T) {
	ours := certstest.New(t, "ours")
	c := newCluster(t)
	c.equip(ours, ours)
	gone := ours.Issue("m1", certstest.Hosts("127.0.0.1"))
	pair := gone.Pair()
	l, err := tls.Listen("tcp", c.peers[1], &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}})
	check(t, err)
	defer l.Close()
	c.folders[0].put("crl", ours.Revoke(gone.Serial))
	c.launch(0)
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	conn, err := l.Accept()
	check(t, err)
	defer conn.Close()
	// The dialer ends the session once it has seen the certificate: nothing that a member says comes through.
	_, err = conn.Read(make([]byte, 1))
	expect(t, "read", err, "bad certificate")
}

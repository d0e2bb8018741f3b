package flags

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/quoin-kv/quoin/test/freeport"
)

// Types of messages among members, as they are numbered on the wire.
const (
	typeVote    = 5
	typePreVote = 17
)

// clusterScenarios are of members that do not exist, or whose part the test plays.
func clusterScenarios() []scenario {
	return []scenario{
		{name: "learners", flags: "max-learners", options: fixed(options{"max-learners": 2, "strict-reconfig-check": false}), see: func(t *testing.T, m *member) {
			c := m.client(t)
			for i, want := range []bool{true, true, false} {
				if _, err := c.MemberAddAsLearner(soon(t), []string{"http://127.0.0.1:" + fmtInt(1+i)}); (err == nil) != want {
					t.Errorf("learner %d: %v", i+1, err)
				}
			}
		}},
		{name: "reckless changes", flags: "strict-reconfig-check", options: fixed(options{"strict-reconfig-check": false}), see: func(t *testing.T, m *member) {
			if err := addTwo(t, m); !errors.Is(err, context.DeadlineExceeded) { // there is no quorum any more
				t.Errorf("a second voter that never started: %v", err)
			}
		}},
		{name: "strict changes", flags: "strict-reconfig-check", options: fixed(options{"strict-reconfig-check": true}), see: func(t *testing.T, m *member) {
			if err := addTwo(t, m); !errors.Is(err, rpctypes.ErrMemberNotEnoughStarted) {
				t.Errorf("a second voter that never started: %v", err)
			}
		}},
		{name: "votes", flags: "pre-vote", play: func(t *testing.T, f form) {
			p := newPeer(t, nil)
			launch(t, f, t.TempDir(), p.with(options{"pre-vote": false}))
			if got := expect(t, "message", p.types); got != typeVote {
				t.Errorf("message of type %d", got)
			}
		}},
		{name: "votes after asking", flags: "pre-vote", play: func(t *testing.T, f form) {
			p := newPeer(t, nil)
			launch(t, f, t.TempDir(), p.with(options{"pre-vote": true}))
			if got := expect(t, "message", p.types); got != typePreVote {
				t.Errorf("message of type %d", got)
			}
		}},
		{name: "alone from now on", flags: "force-new-cluster", play: func(t *testing.T, f form) {
			p := newPeer(t, nil)
			m := launch(t, f, t.TempDir(), p.with(nil))
			expect(t, "message", p.types)
			m = m.again(t, options{"force-new-cluster": true})
			if list, err := m.client(t).MemberList(soon(t)); err != nil || len(list.Members) != 1 {
				t.Errorf("members %v, %v", list, err)
			}
		}},
		{name: "patience with members", flags: "raft-read-timeout", play: func(t *testing.T, f form) {
			p := newPeer(t, nil)
			launch(t, f, t.TempDir(), p.with(options{"raft-read-timeout": "6s"}))
			if got := expect(t, "end of a stream", p.streams); got < 5800*time.Millisecond || got > 10*time.Second {
				t.Errorf("a stream without a word was kept for %v", got)
			}
		}},
		{name: "patience when writing to members", flags: "raft-write-timeout", options: fixed(options{"raft-write-timeout": "7s"}), see: told("raft-write-timeout", "7s")}, // whose effect internal/transport tests
		{name: "hurry at the start", flags: "initial-election-tick-advance", play: func(t *testing.T, f form) {
			const hurried = "another member is reached: an election need not wait any longer"
			for _, hurry := range []bool{true, false} {
				p, begin := newPeer(t, nil), time.Now()
				m := launch(t, f, t.TempDir(), p.with(options{"initial-election-tick-advance": hurry, "election-timeout": 1000, "heartbeat-interval": 100}))
				expect(t, "message", p.types) // which comes later than the hurry
				if hurry {
					m.waitLog(t, hurried)
				} else if took := time.Since(begin); took < time.Second || m.logged(hurried) != nil {
					t.Errorf("it hurries all the same: an election after %v", took)
				}
			}
		}},
		{name: "comparison of all data", flags: "corrupt-check-time", play: func(t *testing.T, f form) {
			seeComparison(t, f, options{"corrupt-check-time": "100ms"})
		}},
		{name: "comparison of compactions", flags: "compact-hash-check-time feature-gates", play: func(t *testing.T, f form) {
			seeComparison(t, f, options{"compact-hash-check-time": "100ms", "feature-gates": "CompactHashCheck=true"})
		}},
	}
}

// addTwo adds two voters that do not run, and returns what came of the second.
func addTwo(t *testing.T, m *member) error {
	t.Helper()
	c := m.client(t)
	if _, err := c.MemberAdd(soon(t), []string{"http://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(soon(t), time.Second)
	defer cancel()
	_, err := c.MemberAdd(ctx, []string{"http://127.0.0.1:2"})
	return err
}

// seeComparison adds a learner whose part the test plays: the leader asks it for the hash of its data.
func seeComparison(t *testing.T, f form, o options) {
	t.Helper()
	p := newPeer(t, nil)
	m := start(t, f, t.TempDir(), o)
	c := m.client(t)
	if _, err := c.MemberAddAsLearner(soon(t), []string{p.URL}); err != nil {
		t.Fatal(err)
	}
	put(t, c, 5, "x")
	if _, err := c.Compact(soon(t), 3); err != nil {
		t.Fatal(err)
	}
	expect(t, "question for a hash", p.hashes)
}

// discoveryScenarios are of members that find each other through another cluster.
func discoveryScenarios() []scenario {
	return []scenario{
		{name: "discovery", flags: "discovery-endpoints discovery-token discovery-keepalive-time discovery-keepalive-timeout", play: seeDiscovery},
		{name: "discovery over TLS", flags: "discovery-cacert discovery-cert discovery-key discovery-insecure-transport", play: seeSecureDiscovery},
		{name: "discovery over TLS unchecked", flags: "discovery-insecure-skip-tls-verify", play: seeUncheckedDiscovery},
		{name: "discovery in vain", flags: "discovery-dial-timeout discovery-request-timeout", play: func(t *testing.T, f form) {
			begin := time.Now()
			m := launch(t, f, t.TempDir(), options{"discovery-endpoints": freeport.Address(t), "discovery-token": "t", "discovery-request-timeout": "50ms", "discovery-dial-timeout": "50ms"})
			m.waitLog(t, "retry connecting to discovery service")
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("the first try took %v", took)
			}
		}},
		{name: "user of discovery", flags: "discovery-user discovery-password", play: seeDiscoveryUser},
		{
			name: "records of a name service", flags: "discovery-srv discovery-srv-name", options: fixed(options{"discovery-srv": "invalid.", "discovery-srv-name": "n"}),
			refuses: &refusal{1, "_etcd-server-ssl-n._tcp.invalid"},
		},
		{
			name: "no way but out", flags: "discovery-fallback", options: fixed(options{"discovery-fallback": "proxy"}),
			refuses: &refusal{1, `v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"`},
		},
	}
}

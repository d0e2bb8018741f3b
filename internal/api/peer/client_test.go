package peer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
)

// deaf is a URL at which nobody listens.
const deaf = "http://127.0.0.1:1"

func TestClientAndHandler(t *testing.T) {
	m := &member{members: three(), cluster: "3.7.0", downgrade: true, revision: 9, hash: mvcc.Hash{Hash: 1 << 31, CompactRev: 4, Rev: 8}, reply: []byte("reply")}
	url, c := start(t, Handler(m, testCluster))
	ctx, urls := t.Context(), []string{deaf, url + "/"}

	id, members, err := c.Members(ctx, urls)
	if err != nil || id != testCluster || !reflect.DeepEqual(members, three()) {
		t.Errorf("members of %x: %v, %v", id, members, err)
	}
	if server, cluster, err := c.Version(ctx, urls); err != nil || server != "3.7.3" || cluster != "3.7.0" {
		t.Errorf("versions %s, %s, %v", server, cluster, err)
	}
	if enabled, err := c.DowngradeEnabled(ctx, urls); err != nil || !enabled {
		t.Errorf("downgrade %t, %v", enabled, err)
	}
	if hash, err := c.HashKV(ctx, urls, 8); err != nil || hash != (Hash{m.hash, 9}) || m.hashed != 8 {
		t.Errorf("hash %+v of %d, %v", hash, m.hashed, err)
	}
	if reply, err := c.LeaseKeepAlive(ctx, urls, []byte("ask")); err != nil || string(reply) != "reply" || string(m.asked) != "ask" {
		t.Errorf("keep-alive: %q for %q, %v", reply, m.asked, err)
	}
	if reply, err := c.LeaseTimeToLive(ctx, urls, []byte("ask more")); err != nil || string(reply) != "reply" || string(m.asked) != "ask more" {
		t.Errorf("time to live: %q for %q, %v", reply, m.asked, err)
	}
	if err := c.Promote(ctx, urls, 1<<63); err != nil || m.promoted != 1<<63 {
		t.Errorf("promoted %d, %v", m.promoted, err)
	}
	if since, ok := c.Connected(3); since != 3 || !ok {
		t.Errorf("connected %s, %t", since, ok)
	}
}

func TestClientSaysWhoAsks(t *testing.T) {
	var got http.Header
	url, c := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		http.NotFound(w, r)
	}))
	_, _ = c.HashKV(t.Context(), []string{url}, 1)
	for key, want := range map[string]string{"X-Etcd-Cluster-ID": "55e7d9dac8894f3", "X-Server-From": "7", "Content-Type": "application/json"} {
		if got.Get(key) != want {
			t.Errorf("%s: %q, want %q", key, got.Get(key), want)
		}
	}
}

// TestErrorsTravel: what a handler was given comes out of the client.
func TestErrorsTravel(t *testing.T) {
	keepAlive := func(c *Client, urls []string) error {
		_, err := c.LeaseKeepAlive(context.Background(), urls, nil)
		return err
	}
	timeToLive := func(c *Client, urls []string) error {
		_, err := c.LeaseTimeToLive(context.Background(), urls, nil)
		return err
	}
	promote := func(c *Client, urls []string) error { return c.Promote(context.Background(), urls, 1) }
	hash := func(c *Client, urls []string) error {
		_, err := c.HashKV(context.Background(), urls, 1)
		return err
	}
	for _, tc := range []struct {
		name        string
		call        func(*Client, []string) error
		given, want error
	}{
		{"keep-alive", keepAlive, kverr.LeaseNotFound, kverr.LeaseNotFound},
		{"keep-alive", keepAlive, kverr.NotPrimaryLessor, kverr.NotPrimaryLessor},
		{"keep-alive", keepAlive, kverr.Timeout, kverr.Timeout},
		{"keep-alive", keepAlive, kverr.TimeoutWaitAppliedIndex, kverr.Timeout},
		{"keep-alive", keepAlive, context.DeadlineExceeded, kverr.Timeout},
		{"keep-alive", keepAlive, kverr.Stopped, kverr.Stopped},
		{"keep-alive", keepAlive, errors.New("odd"), errUnsupported},
		{"time to live", timeToLive, kverr.LeaseNotFound, kverr.LeaseNotFound},
		{"time to live", timeToLive, kverr.NotPrimaryLessor, kverr.NotPrimaryLessor},
		{"promote", promote, membership.ErrIDNotFound, membership.ErrIDNotFound},
		{"promote", promote, kverr.MemberNotFound, kverr.MemberNotFound},
		{"promote", promote, membership.ErrNotLearner, membership.ErrNotLearner},
		{"promote", promote, kverr.MemberNotLearner, kverr.MemberNotLearner},
		{"promote", promote, kverr.LearnerNotReady, kverr.LearnerNotReady},
		{"promote", promote, kverr.NotLeader, kverr.NotLeader},
		{"promote", promote, kverr.Timeout, kverr.Timeout},
		{"promote", promote, kverr.MemberNotEnoughStarted, kverr.MemberNotEnoughStarted},
		{"hash", hash, kverr.Compacted, kverr.Compacted},
		{"hash", hash, kverr.FutureRev, kverr.FutureRev},
		{"hash", hash, kverr.Corrupt, kverr.Corrupt},
	} {
		t.Run(tc.name+" "+tc.given.Error(), func(t *testing.T) {
			url, c := start(t, Handler(&member{err: tc.given}, testCluster))
			if err := tc.call(c, []string{url}); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
	url, c := start(t, Handler(&member{}, testCluster+1))
	if err := hash(c, []string{url}); !errors.Is(err, kverr.ClusterIDMismatch) {
		t.Errorf("other cluster: %v", err)
	}
}

// TestSettledMatters: an answer that decides ends the search, one that does not goes on to the next URL.
func TestSettledMatters(t *testing.T) {
	good, c := start(t, Handler(&member{reply: []byte{}}, testCluster))
	for _, tc := range []struct {
		err  error
		ends bool
	}{{kverr.LeaseNotFound, true}, {kverr.NotPrimaryLessor, false}, {kverr.Timeout, false}} {
		bad, _ := start(t, Handler(&member{err: tc.err}, testCluster))
		_, err := c.LeaseKeepAlive(t.Context(), []string{bad, good}, nil)
		if got := errors.Is(err, tc.err); got != tc.ends {
			t.Errorf("%v: then %v", tc.err, err)
		}
	}
}

func TestPromoteIsNotRepeated(t *testing.T) {
	m := &member{err: kverr.Timeout}
	url, c := start(t, Handler(m, testCluster))
	if err := c.Promote(t.Context(), []string{deaf, url, url}, 1); !errors.Is(err, kverr.Timeout) || m.calls != 1 {
		t.Errorf("%d calls, %v", m.calls, err)
	}
	if err := c.Promote(t.Context(), []string{deaf}, 1); err == nil || errors.Is(err, kverr.Timeout) {
		t.Errorf("nobody there: %v", err)
	}
}

// TestPromoteWhoseAnswerIsLost: nobody knows what came of it, and nobody else is asked.
func TestPromoteWhoseAnswerIsLost(t *testing.T) {
	m := &member{}
	good, _ := start(t, Handler(m, testCluster))
	url, c := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	if err := c.Promote(t.Context(), []string{url, good}, 1); !errors.Is(err, kverr.TimeoutDueToConnectionLost) || m.calls > 0 {
		t.Errorf("%d calls, %v", m.calls, err)
	}
	if _, err := c.LeaseKeepAlive(t.Context(), []string{url}, nil); err == nil || errors.Is(err, kverr.TimeoutDueToConnectionLost) {
		t.Errorf("a renewal can be repeated: %v", err)
	}
}

func TestNobodyToAsk(t *testing.T) {
	c := NewClient(http.DefaultClient, 0, 0, nil)
	if err := c.Promote(t.Context(), nil, 1); !errors.Is(err, errNoURL) {
		t.Errorf("promote: %v", err)
	}
	if _, _, err := c.Members(t.Context(), nil); !errors.Is(err, errNoURL) {
		t.Errorf("members: %v", err)
	}
	if _, _, err := c.Members(t.Context(), []string{":"}); err == nil {
		t.Error("an address that is none was asked")
	}
	if _, ok := c.Connected(1); ok {
		t.Error("connected to nobody")
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	good, _ := start(t, Handler(&member{}, testCluster))
	url, c := start(t, http.RedirectHandler(good+"/members", http.StatusTemporaryRedirect))
	if _, _, err := c.Members(t.Context(), []string{url}); !errors.Is(err, errUnsupported) {
		t.Errorf("error %v", err)
	}
}

// TestTimes: no URL holds a call up for longer than its limit, and the caller's context ends all.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		c := NewClient(silent, testCluster, 1, nil)
		begin := time.Now()
		_, _, err := c.Version(t.Context(), []string{"http://a:1", "http://b:1"})
		if took := time.Since(begin); !errors.Is(err, kverr.Timeout) || took != 2*askTimeout {
			t.Errorf("%v after %s", err, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin = time.Now()
		_, err = c.LeaseKeepAlive(ctx, []string{"http://a:1", "http://b:1"}, nil)
		if took := time.Since(begin); !errors.Is(err, kverr.Timeout) || took != time.Second {
			t.Errorf("%v after %s", err, took)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err = c.HashKV(gone, []string{"http://a:1"}, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

// endless is a body without end, of which it counts what was read.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	e.read += len(b)
	return len(b), nil
}
func (*endless) Close() error { return nil }

func TestAnswersAreBounded(t *testing.T) {
	for name, ask := range map[string]func(*Client) error{
		"version": func(c *Client) error {
			_, _, err := c.Version(t.Context(), []string{"http://a:1"})
			return err
		},
		"members": func(c *Client) error {
			_, _, err := c.Members(t.Context(), []string{"http://a:1"})
			return err
		},
	} {
		body := &endless{}
		c := NewClient(&http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: body, Header: http.Header{}}, nil
		})}, 0, 0, nil)
		if err := ask(c); !errors.Is(err, errTooLong) || body.read > 2*maxMembersBytes {
			t.Errorf("%s: %v after %d bytes", name, err, body.read)
		}
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	members := func(c *Client, urls []string) error {
		_, _, err := c.Members(context.Background(), urls)
		return err
	}
	version := func(c *Client, urls []string) error {
		_, _, err := c.Version(context.Background(), urls)
		return err
	}
	downgrade := func(c *Client, urls []string) error {
		_, err := c.DowngradeEnabled(context.Background(), urls)
		return err
	}
	hash := func(c *Client, urls []string) error {
		_, err := c.HashKV(context.Background(), urls, 1)
		return err
	}
	timeToLive := func(c *Client, urls []string) error {
		_, err := c.LeaseTimeToLive(context.Background(), urls, nil)
		return err
	}
	for _, tc := range []struct {
		name          string
		ask           func(*Client, []string) error
		cluster, body string
		want          error
	}{
		{"members without cluster", members, "", "[]", errNoCluster},
		{"members of cluster words", members, "zz", "[]", errNoCluster},
		{"members of cluster too large", members, "10000000000000000", "[]", errNoCluster},
		{"members cut off", members, "1", `[{"id":1`, errUnreadable},
		{"members twice", members, "1", `[{"id":1},{"id":2},{"id":1}]`, errUnreadable},
		{"member nobody", members, "1", `[{"id":0}]`, errUnreadable},
		{"member negative", members, "1", `[{"id":-1}]`, errUnreadable},
		{"version of nothing", version, "", `{}`, errUnreadable},
		{"version words", version, "", `{"etcdserver":"three"}`, errUnreadable},
		{"version cut off", version, "", `{"etcdserver"`, errUnreadable},
		{"downgrade perhaps", downgrade, "", "maybe", errUnreadable},
		{"hash words", hash, "55e7d9dac8894f3", `{"hash":"x"}`, errUnreadable},
		{"hash too large", hash, "55e7d9dac8894f3", `{"hash":4294967296}`, errUnreadable},
		{"hash of nobody", hash, "", `{}`, kverr.ClusterIDMismatch},
		{"time to live cut off", timeToLive, "", "\x0a\x05", request.ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url, c := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Etcd-Cluster-ID", tc.cluster)
				_, _ = io.WriteString(w, tc.body)
			}))
			if err := tc.ask(c, []string{url}); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
}

func TestErrorTextsAreShort(t *testing.T) {
	url, c := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, strings.Repeat("x", 10000), http.StatusTeapot)
	}))
	_, err := c.DowngradeEnabled(t.Context(), []string{url})
	if !errors.Is(err, errUnsupported) || len(err.Error()) > 500 {
		t.Errorf("error of %d bytes: %v", len(err.Error()), err)
	}
}

func TestWrapUnwrap(t *testing.T) {
	for _, tc := range []struct {
		name, in, want string
		fails          bool
	}{
		{"nothing", "", "", false},
		{"empty", "\x0a\x00", "", false},
		{"one", "\x0a\x02ab", "ab", false},
		{"twice", "\x0a\x02ab\x0a\x01c", "abc", false},
		{"unknown fields", "\x10\x05\x0a\x01a\x1a\x02xx", "a", false},
		{"other wire type", "\x08\x05", "", false},
		{"cut off", "\x0a\x03ab", "", true},
		{"length beyond all", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "", true},
		{"field 0", "\x02\x00", "", true},
		{"half a tag", "\x80", "", true},
	} {
		in := []byte(tc.in)
		got, err := unwrap(in)
		if string(got) != tc.want || (err != nil) != tc.fails || err != nil && !errors.Is(err, request.ErrMalformed) {
			t.Errorf("%s: %q, %v", tc.name, got, err)
		}
		if string(in) != tc.in {
			t.Errorf("%s: the input was changed", tc.name)
		}
	}
}

func FuzzUnwrap(f *testing.F) {
	f.Add([]byte("\x10\x05\x0a\x01a\x0a\x02bc"))
	f.Fuzz(func(t *testing.T, in []byte) {
		raw, err := unwrap(in)
		if err != nil {
			return
		}
		if again, err := unwrap(wrap(raw)); err != nil || !bytes.Equal(again, raw) {
			t.Errorf("%q became %q, %v", raw, again, err)
		}
	})
}

func FuzzMembers(f *testing.F) {
	f.Add("55e7d9dac8894f3", []byte(membersJSON))
	f.Add("1", []byte(`[{"id":2},{"id":1}]`))
	f.Fuzz(func(t *testing.T, cluster string, body []byte) {
		id, members, err := parseMembers(&answer{http.StatusOK, http.Header{"X-Etcd-Cluster-Id": {cluster}}, body})
		if err != nil {
			return
		}
		for i, m := range members {
			if m.ID == 0 || i > 0 && m.ID <= members[i-1].ID {
				t.Errorf("cluster %x: members %v", id, members)
			}
		}
	})
}

func FuzzSmallAnswers(f *testing.F) {
	f.Add(200, []byte(`{"etcdserver":"3.7.3","etcdcluster":"not_decided"}`))
	f.Add(200, []byte(`{"header":{"revision":5},"hash":1,"compact_revision":-1,"hash_revision":4}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		a := &answer{status, http.Header{}, body}
		if v, err := parseVersions(a); err == nil {
			if _, err := membership.ParseVersion(v.Server); err != nil || v.Cluster == versionUndecided {
				t.Errorf("versions %+v", v)
			}
		}
		_, _ = (&Client{}).parseHash(a)
		_, _ = leaseError(a), promoteError(a)
	})
}

func BenchmarkLeaseTimeToLive(b *testing.B) {
	s := httptest.NewServer(Handler(&member{reply: []byte("\x10\x01\x18\x64")}, testCluster))
	defer s.Close()
	c := NewClient(s.Client(), testCluster, 1, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.LeaseTimeToLive(b.Context(), []string{s.URL}, []byte("\x08\x01")); err != nil {
			b.Fatal(err)
		}
	}
}

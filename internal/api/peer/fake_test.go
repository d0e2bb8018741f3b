package peer

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testCluster = 0x55e7d9dac8894f3

// member is a Service that answers what it is told to.
type member struct {
	members   []schema.Member
	cluster   string
	downgrade bool
	revision  int64
	hash      mvcc.Hash
	reply     []byte
	err       error

	asked    []byte // last lease request
	promoted uint64
	hashed   int64
	calls    int
}

func (m *member) Members(context.Context, bool) ([]schema.Member, error) { return m.members, nil }
func (m *member) Versions() (server, cluster, storage string)            { return "3.7.3", m.cluster, m.cluster }
func (m *member) DowngradeEnabled() bool                                 { return m.downgrade }
func (m *member) Header() request.ResponseHeader {
	return request.ResponseHeader{Revision: m.revision}
}

func (m *member) HashKV(_ context.Context, revision int64) (mvcc.Hash, error) {
	m.hashed = revision
	return m.hash, m.err
}

func (m *member) PromoteAsLeader(_ context.Context, id uint64) error {
	m.promoted = id
	m.calls++
	return m.err
}

func (m *member) PrimaryKeepAlive(_ context.Context, raw []byte) ([]byte, error) {
	m.asked = raw
	return m.reply, m.err
}

func (m *member) PrimaryTimeToLive(_ context.Context, raw []byte) ([]byte, error) {
	m.asked = raw
	return m.reply, m.err
}

// three are members as a cluster of etcd showed them.
func three() []schema.Member {
	return []schema.Member{
		{ID: 2750249758798236044, PeerURLs: []string{"http://127.0.0.1:21180"}, Name: "m1", ClientURLs: []string{"http://127.0.0.1:21179"}},
		{ID: 4688542081471871724, PeerURLs: []string{"http://127.0.0.1:22180"}, Name: "m2", ClientURLs: []string{"http://127.0.0.1:22179"}},
		{ID: 7018281163937450193, PeerURLs: []string{"http://127.0.0.1:24180"}, IsLearner: true},
	}
}

// start serves h and returns its URL and a client for it.
func start(t *testing.T, h http.Handler) (string, *Client) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL, NewClient(s.Client(), testCluster, 7, func(id uint64) (time.Duration, bool) { return time.Duration(id), id != 0 })
}

// roundTrip answers requests in place of a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

package peer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Limits of the time that one URL has to answer. The caller's context bounds the whole.
const (
	askTimeout     = 5 * time.Second // of what is answered from memory
	leaseTimeout   = 5 * time.Second
	promoteTimeout = 15 * time.Second // the leader proposes and waits
	hashTimeout    = 60 * time.Second // the other side reads its key space
)

var (
	errNoURL       = errors.New("no peer URL to ask")
	errTooLong     = errors.New("the answer is too long")
	errNoCluster   = errors.New("the answer does not say of which cluster it is")
	errUnreadable  = errors.New("the answer cannot be read")
	errUnsupported = errors.New("unexpected answer")
)

// Client asks other members. Every call takes the peer URLs of one member, or of several that know the same, and tries them in turn until
// one answers; an answer that settles the matter, good or bad, ends the search. A call of which no URL knew anything returns the last
// error.
//
// Invariants:
//  1. What is read of an answer is bounded, whatever the other side sends.
//  2. No call outlasts its context, nor the limit of its kind for each URL.
//  3. A promotion is never asked for twice once it may have been received.
type Client struct {
	http      *http.Client
	clusterID uint64
	self      uint64
	connected func(id uint64) (time.Duration, bool)
}

// NewClient returns a client that sends with hc, of which it follows no redirects. clusterID and self go along with each request, if they
// are not 0. connected tells how long the connection to a member has stood; nil: there are none.
func NewClient(hc *http.Client, clusterID, self uint64, connected func(id uint64) (time.Duration, bool)) *Client {
	own := *hc
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if connected == nil {
		connected = func(uint64) (time.Duration, bool) { return 0, false }
	}
	return &Client{http: &own, clusterID: clusterID, self: self, connected: connected}
}

// Connected tells how long the connection to a member has been standing, and false if there is none.
func (c *Client) Connected(id uint64) (time.Duration, bool) { return c.connected(id) }

// call is one request, to whatever URL.
type call struct {
	method, path, contentType string
	body                      []byte
	timeout                   time.Duration
	limit                     int64 // of the answer, in bytes
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// text is the body of an answer that is an error.
func (a *answer) text() string { return strings.TrimSpace(string(a.body)) }

// unexpected is the error of an answer that no rule of its call knows.
func (a *answer) unexpected() error {
	text := a.text()
	for _, e := range kverr.All() {
		if text == e.Text {
			return e
		}
	}
	const longest = 200
	if len(text) > longest {
		text = text[:longest] + "…"
	}
	return fmt.Errorf("%w: %d %q", errUnsupported, a.status, text)
}

// do sends one request and reads the answer, of whatever status.
func (c *Client) do(ctx context.Context, base string, what call) (*answer, error) {
	limited, cancel := context.WithTimeout(ctx, what.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, what.method, strings.TrimSuffix(base, "/")+what.path, bytes.NewReader(what.body))
	if err != nil {
		return nil, err
	}
	c.sign(req, what)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unanswered{timeoutError(ctx, limited, err)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, what.limit+1))
	switch {
	case err != nil:
		return nil, unanswered{timeoutError(ctx, limited, err)}
	case int64(len(body)) > what.limit:
		return nil, errTooLong
	}
	return &answer{resp.StatusCode, resp.Header, body}, nil
}

// sign says who asks.
func (c *Client) sign(req *http.Request, what call) {
	if what.contentType != "" {
		req.Header.Set("Content-Type", what.contentType)
	}
	if c.clusterID != 0 {
		req.Header.Set(headerClusterID, membership.FormatID(c.clusterID))
	}
	if c.self != 0 {
		req.Header.Set(headerFrom, membership.FormatID(c.self))
	}
}

// unanswered is the error of a request that was not answered, though it may have been received.
type unanswered struct{ error }

func (u unanswered) Unwrap() error { return u.error }

// timeoutError replaces err if time is what failed: the caller that has gone gets its own error, one that is still there kverr.Timeout.
func timeoutError(parent, limited context.Context, err error) error {
	var network net.Error
	switch {
	case errors.Is(parent.Err(), context.Canceled):
		return parent.Err()
	case limited.Err() != nil, errors.As(err, &network) && network.Timeout():
		return fmt.Errorf("%w (%w)", kverr.Timeout, err)
	}
	return err
}

// settled is the error of a call that no other URL can mend.
type settled struct{ error }

func (s settled) Unwrap() error { return s.error }

// each asks one URL after the other until understand is content or the matter settled.
func (c *Client) each(ctx context.Context, urls []string, what call, understand func(*answer) error) error {
	err := errNoURL
	for _, u := range urls {
		var a *answer
		if a, err = c.do(ctx, u, what); err == nil {
			err = understand(a)
		}
		if err == nil {
			return nil
		}
		var last settled
		if errors.As(err, &last) {
			return last.error
		}
		err = fmt.Errorf("asking %s%s: %w", u, what.path, err)
		if ctx.Err() != nil {
			break
		}
	}
	return err
}

// LeaseKeepAlive has the leader renew a lease: a LeaseKeepAliveRequest for a LeaseKeepAliveResponse. Errors, among others:
// LeaseNotFound, NotPrimaryLessor, Timeout.
func (c *Client) LeaseKeepAlive(ctx context.Context, urls []string, raw []byte) (reply []byte, err error) {
	what := call{http.MethodPost, pathLeases, typeProtobuf, raw, leaseTimeout, maxAnswerBytes}
	err = c.each(ctx, urls, what, func(a *answer) error {
		reply = a.body
		return leaseError(a)
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// LeaseTimeToLive has the leader tell a lease's remaining time: a LeaseTimeToLiveRequest for a LeaseTimeToLiveResponse. Errors as
// LeaseKeepAlive's.
func (c *Client) LeaseTimeToLive(ctx context.Context, urls []string, raw []byte) (reply []byte, err error) {
	what := call{http.MethodPost, pathInternal, typeProtobuf, wrap(raw), leaseTimeout, maxLeaseBytes}
	err = c.each(ctx, urls, what, func(a *answer) (err error) {
		if err := leaseError(a); err != nil {
			return err
		}
		reply, err = unwrap(a.body)
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// leaseError reverses writeLeaseError.
func leaseError(a *answer) error {
	switch {
	case a.status == http.StatusOK:
		return nil
	case a.status == http.StatusNotFound && a.text() == textLeaseNotFound:
		return settled{kverr.LeaseNotFound}
	case a.status == http.StatusRequestTimeout:
		return kverr.Timeout
	}
	return a.unexpected()
}

// Promote has the leader give a learner a vote. Errors, among others: LearnerNotReady, membership.ErrIDNotFound,
// membership.ErrNotLearner, NotLeader, Timeout, TimeoutDueToConnectionLost. After the latter two it may have happened or still happen.
func (c *Client) Promote(ctx context.Context, urls []string, id uint64) error {
	err := errNoURL
	what := call{http.MethodPost, pathPromote + strconv.FormatUint(id, 10), "", nil, promoteTimeout, maxMembersBytes}
	for _, u := range urls {
		err = c.each(ctx, []string{u}, what, promoteError)
		if !notSent(err) {
			return doubtful(err)
		}
	}
	return err
}

// doubtful gives a request whose answer got lost the error that says that nobody knows what came of it.
func doubtful(err error) error {
	var lost unanswered
	if errors.As(err, &lost) && !errors.Is(err, kverr.Timeout) && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w (%w)", kverr.TimeoutDueToConnectionLost, err)
	}
	return err
}

// notSent tells whether a request failed before anybody can have received it.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// promoteError reverses writePromoteError.
func promoteError(a *answer) error {
	text := a.text()
	switch {
	case a.status == http.StatusOK:
		return nil
	case a.status == http.StatusNotFound && text == textMemberNotFound:
		return settled{membership.ErrIDNotFound}
	case a.status == http.StatusPreconditionFailed && text == textNotReady:
		return settled{kverr.LearnerNotReady}
	case a.status == http.StatusPreconditionFailed && text == textNotLearner:
		return settled{membership.ErrNotLearner}
	}
	return a.unexpected()
}

// Version asks a member for its own version and for the cluster's, which is empty if it is not decided yet.
func (c *Client) Version(ctx context.Context, urls []string) (server, cluster string, err error) {
	var v versions
	what := call{http.MethodGet, pathVersion, "", nil, askTimeout, maxAnswerBytes}
	err = c.each(ctx, urls, what, func(a *answer) (err error) {
		v, err = parseVersions(a)
		return err
	})
	return v.Server, v.Cluster, err
}

func parseVersions(a *answer) (v versions, err error) {
	if a.status != http.StatusOK {
		return v, a.unexpected()
	}
	if err := json.Unmarshal(a.body, &v); err != nil {
		return versions{}, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if _, err := membership.ParseVersion(v.Server); err != nil {
		return versions{}, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if v.Cluster == versionUndecided {
		v.Cluster = ""
	}
	return v, nil
}

// Members asks for the cluster's id and its members, by id. No two have the same id, none has 0.
func (c *Client) Members(ctx context.Context, urls []string) (clusterID uint64, members []schema.Member, err error) {
	what := call{http.MethodGet, pathMembers, "", nil, askTimeout, maxMembersBytes}
	err = c.each(ctx, urls, what, func(a *answer) (err error) {
		clusterID, members, err = parseMembers(a)
		return err
	})
	return clusterID, members, err
}

func parseMembers(a *answer) (clusterID uint64, members []schema.Member, err error) {
	if a.status != http.StatusOK {
		return 0, nil, a.unexpected()
	}
	if clusterID, err = strconv.ParseUint(a.header.Get(headerClusterID), 16, 64); err != nil {
		return 0, nil, errNoCluster
	}
	if err := json.Unmarshal(a.body, &members); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	slices.SortFunc(members, func(a, b schema.Member) int { return cmp.Compare(a.ID, b.ID) })
	for i := range members {
		if id := members[i].ID; id == 0 || i > 0 && id == members[i-1].ID {
			return 0, nil, fmt.Errorf("%w: member id %s is not possible or occurs twice", errUnreadable, membership.FormatID(id))
		}
	}
	return clusterID, members, nil
}

// DowngradeEnabled asks whether the cluster is on its way to an older version.
func (c *Client) DowngradeEnabled(ctx context.Context, urls []string) (enabled bool, err error) {
	what := call{http.MethodGet, pathDowngrade, "", nil, askTimeout, maxAnswerBytes}
	err = c.each(ctx, urls, what, func(a *answer) (err error) {
		if a.status != http.StatusOK {
			return a.unexpected()
		}
		if enabled, err = strconv.ParseBool(a.text()); err != nil {
			return fmt.Errorf("%w: %w", errUnreadable, err)
		}
		return nil
	})
	return enabled, err
}

// Hash is another member's checksum of its key space.
type Hash struct {
	mvcc.Hash
	CurrentRev int64 // how far its history went when it answered
}

// HashKV asks for the hash of the key space as of a revision, 0 for the current one. Errors, among others: Compacted, FutureRev,
// ClusterIDMismatch.
func (c *Client) HashKV(ctx context.Context, urls []string, revision int64) (hash Hash, err error) {
	body, err := json.Marshal(hashRequest{revision})
	if err != nil {
		return Hash{}, err
	}
	what := call{http.MethodGet, pathHashKV, typeJSON, body, hashTimeout, maxAnswerBytes}
	err = c.each(ctx, urls, what, func(a *answer) (err error) {
		hash, err = c.parseHash(a)
		return err
	})
	return hash, err
}

func (c *Client) parseHash(a *answer) (Hash, error) {
	text := a.text()
	switch {
	case a.status == http.StatusOK:
	case strings.Contains(text, textFutureRev):
		return Hash{}, settled{kverr.FutureRev}
	case strings.Contains(text, textCompacted):
		return Hash{}, settled{kverr.Compacted}
	case a.status == http.StatusPreconditionFailed && text == textClusterMismatch:
		return Hash{}, settled{kverr.ClusterIDMismatch}
	default:
		return Hash{}, a.unexpected()
	}
	if c.clusterID != 0 && a.header.Get(headerClusterID) != membership.FormatID(c.clusterID) {
		return Hash{}, settled{kverr.ClusterIDMismatch}
	}
	var r hashResponse
	if err := json.Unmarshal(a.body, &r); err != nil {
		return Hash{}, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return Hash{mvcc.Hash{Hash: r.Hash, CompactRev: r.CompactRevision, Rev: r.HashRevision}, r.Header.Revision}, nil
}

package peer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Service is the member that answers; *service.Service is one. Requests and answers of leases are in wire form.
type Service interface {
	// Members lists the members by id; the list is shared.
	Members(ctx context.Context, linearizable bool) ([]schema.Member, error)
	// Versions are those of server, cluster and storage; the latter two are empty until the cluster has agreed.
	Versions() (server, cluster, storage string)
	// DowngradeEnabled tells whether the cluster is on its way to an older version.
	DowngradeEnabled() bool
	// Header carries the current revision.
	Header() request.ResponseHeader
	// HashKV hashes the key space as of a revision, 0 for the current one.
	HashKV(ctx context.Context, revision int64) (mvcc.Hash, error)
	// PromoteAsLeader gives a learner a vote, if this member is the leader.
	PromoteAsLeader(ctx context.Context, id uint64) error
	// PrimaryKeepAlive answers a LeaseKeepAliveRequest, if this member is the leader.
	PrimaryKeepAlive(ctx context.Context, raw []byte) ([]byte, error)
	// PrimaryTimeToLive answers a LeaseTimeToLiveRequest, if this member is the leader.
	PrimaryTimeToLive(ctx context.Context, raw []byte) ([]byte, error)
}

// server answers other members.
type server struct {
	svc       Service
	clusterID string
}

// Handler serves everything of this package; any other path is not found. Consensus, under /raft, has a handler of its own.
func Handler(svc Service, clusterID uint64) http.Handler {
	s := &server{svc: svc, clusterID: membership.FormatID(clusterID)}
	return http.HandlerFunc(s.route)
}

// route does without http.ServeMux, which would clean paths and redirect where others expect a 404.
func (s *server) route(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == pathMembers:
		s.only(http.MethodGet, s.members)(w, r)
	case strings.HasPrefix(path, pathPromote):
		s.only(http.MethodPost, s.promote)(w, r)
	case path == pathHashKV:
		s.only(http.MethodGet, s.hashKV)(w, r)
	case path == pathLeases:
		s.only(http.MethodPost, s.keepAlive)(w, r)
	case path == pathInternal:
		s.only(http.MethodPost, s.timeToLive)(w, r)
	case path == pathDowngrade:
		s.only(http.MethodGet, s.downgradeEnabled)(w, r)
	case path == pathVersion:
		s.only(http.MethodGet, s.version)(w, r)
	default:
		http.NotFound(w, r)
	}
}

// only lets requests of one method through.
func (s *server) only(method string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			w.Header().Set("Allow", method)
			http.Error(w, textMethodNotAllowed, http.StatusMethodNotAllowed)
			return
		}
		next(w, r)
	}
}

func (s *server) members(w http.ResponseWriter, r *http.Request) {
	s.sign(w)
	s.writeMembers(w, r)
}

// sign says which cluster answers.
func (s *server) sign(w http.ResponseWriter) { w.Header().Set(headerClusterID, s.clusterID) }

func (s *server) writeMembers(w http.ResponseWriter, r *http.Request) {
	members, err := s.svc.Members(r.Context(), false)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if members == nil {
		members = []schema.Member{}
	}
	writeJSON(w, members, "\n")
}

// writeJSON writes v and end, which is a line break where etcd's answer has one.
func writeJSON(w http.ResponseWriter, v any, end string) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, typeJSON, append(b, end...))
}

// write sends an answer. An error means that the other side has gone, which nobody here needs to know.
func write(w http.ResponseWriter, contentType string, b []byte) {
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(b)
}

func (s *server) promote(w http.ResponseWriter, r *http.Request) {
	s.sign(w)
	text := strings.TrimPrefix(r.URL.Path, pathPromote)
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		http.Error(w, "member "+text+" not found in cluster", http.StatusNotFound)
		return
	}
	if err := s.svc.PromoteAsLeader(r.Context(), id); err != nil {
		writePromoteError(w, err)
		return
	}
	s.writeMembers(w, r)
}

func writePromoteError(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, kverr.MemberNotFound):
		http.Error(w, textMemberNotFound, http.StatusNotFound)
	case errors.Is(err, kverr.LearnerNotReady):
		http.Error(w, textNotReady, http.StatusPreconditionFailed)
	case errors.Is(err, kverr.MemberNotLearner):
		http.Error(w, textNotLearner, http.StatusPreconditionFailed)
	default:
		http.Error(w, errorText(err), http.StatusInternalServerError)
	}
}

// errorText is how an error is sent that has no status code of its own: by the text that clients match, if it has one.
func errorText(err error) string {
	if e, ok := kverr.From(err); ok {
		return e.Text
	}
	return err.Error()
}

func (s *server) hashKV(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get(headerClusterID); id != "" && id != s.clusterID {
		http.Error(w, textClusterMismatch, http.StatusPreconditionFailed)
		return
	}
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	var ask hashRequest
	if err := json.Unmarshal(body, &ask); err != nil {
		http.Error(w, textBadRequest, http.StatusBadRequest)
		return
	}
	hash, err := s.svc.HashKV(r.Context(), ask.Revision)
	if err != nil {
		http.Error(w, hashText(err), http.StatusBadRequest)
		return
	}
	s.sign(w)
	writeJSON(w, hashResponse{
		Header: hashHeader{s.svc.Header().Revision},
		Hash:   hash.Hash, CompactRevision: hash.CompactRev, HashRevision: hash.Rev,
	}, "")
}

func hashText(err error) string {
	switch {
	case errors.Is(err, kverr.Compacted):
		return textCompacted
	case errors.Is(err, kverr.FutureRev):
		return textFutureRev
	}
	return errorText(err)
}

// readBody reads a request of limited size. It reports false if that failed, and has answered then.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		http.Error(w, textBodyTooLarge, http.StatusRequestEntityTooLarge)
	case err != nil:
		http.Error(w, textBadBody, http.StatusBadRequest)
	}
	return body, err == nil
}

func (s *server) keepAlive(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	reply, err := s.svc.PrimaryKeepAlive(r.Context(), body)
	if err != nil {
		writeLeaseError(w, err)
		return
	}
	write(w, typeProtobuf, reply)
}

func (s *server) timeToLive(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	ask, err := unwrap(body)
	if err != nil {
		writeLeaseError(w, err)
		return
	}
	reply, err := s.svc.PrimaryTimeToLive(r.Context(), ask)
	if err != nil {
		writeLeaseError(w, err)
		return
	}
	write(w, typeProtobuf, wrap(reply))
}

func writeLeaseError(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, kverr.LeaseNotFound):
		http.Error(w, textLeaseNotFound, http.StatusNotFound)
	case errors.Is(err, request.ErrMalformed):
		http.Error(w, textBadRequest, http.StatusBadRequest)
	case isTimeout(err):
		http.Error(w, textApplyTimeout, http.StatusRequestTimeout)
	default:
		http.Error(w, errorText(err), http.StatusBadRequest)
	}
}

func isTimeout(err error) bool {
	return errors.Is(err, kverr.TimeoutWaitAppliedIndex) || errors.Is(err, kverr.Timeout) || errors.Is(err, context.DeadlineExceeded)
}

func (s *server) downgradeEnabled(w http.ResponseWriter, _ *http.Request) {
	s.sign(w)
	write(w, "text/plain", strconv.AppendBool(nil, s.svc.DowngradeEnabled()))
}

func (s *server) version(w http.ResponseWriter, _ *http.Request) {
	var v versions
	v.Server, v.Cluster, v.Storage = s.svc.Versions()
	if v.Cluster == "" {
		v.Cluster = versionUndecided
	}
	writeJSON(w, v, "")
}

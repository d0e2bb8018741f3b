package transport

import (
	"encoding/json"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// The texts of refusals that the protocol knows.
const (
	textVersion       = "incompatible version"
	textCluster       = "cluster ID mismatch"
	textPath          = "invalid path"
	textFrom          = "invalid from"
	textRemoved       = "removed member"
	textUnknownSender = "error sender not found"
	textTo            = "to field mismatch"
	textStopping      = "the member is stopping"
)

// Handler serves what peers ask under /raft. Anything else is answered 404. Streams last as long as their connections: a server that
// limits the time of requests must not do so here.
func (t *Transport) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/raft", t.receivePost)
	mux.HandleFunc("/raft/snapshot", t.receiveSnapshot)
	mux.HandleFunc("/raft/probing", t.answerProbe)
	mux.HandleFunc("/raft/stream/", t.serveStream)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !t.enter() {
			http.Error(w, textStopping, http.StatusServiceUnavailable)
			return
		}
		defer t.wg.Done()
		mux.ServeHTTP(w, r)
	})
}

// admit makes the checks that all requests but probes have in common, or answers why not.
func (t *Transport) admit(w http.ResponseWriter, r *http.Request, method string) bool {
	if r.Method != method {
		w.Header().Set("Allow", method)
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return false
	}
	w.Header().Set(headerCluster, hexID(t.cfg.ClusterID))
	if text := t.incompatible(r.Header); text != "" {
		t.logRefusal(r, text)
		http.Error(w, text, http.StatusPreconditionFailed)
		return false
	}
	if from, err := strconv.ParseUint(r.Header.Get(headerFrom), 16, 64); err == nil {
		t.rememberSender(from, r.Header)
	}
	return true
}

// logRefusal says who was refused. Peers ask again ten times a second, so not every time.
func (t *Transport) logRefusal(r *http.Request, text string) {
	if t.refusals.now() {
		h := r.Header
		t.log.Warn("refused a request of a peer", "path", r.URL.Path, "remote", r.RemoteAddr, "from", h.Get(headerFrom), "to", h.Get(headerTo),
			"version", h.Get(headerVersion), "cluster", h.Get(headerCluster), "error", text)
	}
}

// incompatible says what about the sender does not fit.
func (t *Transport) incompatible(h http.Header) string {
	lowest := h.Get(headerMinVersion)
	if lowest == "" {
		lowest = silentVersion
	}
	if !atLeast(h.Get(headerVersion), minVersion) || !atLeast(t.cfg.Version, lowest) {
		return textVersion
	}
	if h.Get(headerCluster) != hexID(t.cfg.ClusterID) {
		return textCluster
	}
	return ""
}

// rememberSender notes where a sender says that it is reached, if it is not known.
func (t *Transport) rememberSender(from uint64, h http.Header) {
	if urls := h.Get(headerPeerURLs); urls != "" {
		t.remember(from, strings.Split(urls, ","))
	}
}

// serveStream is GET /raft/stream/message/<id> and /raft/stream/msgapp/<id>.
func (t *Transport) serveStream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(headerVersion, t.cfg.Version)
	if !t.admit(w, r, http.MethodGet) {
		return
	}
	p, k, text, code := t.streamFor(r)
	if text != "" {
		t.logRefusal(r, text)
		http.Error(w, text, code)
		return
	}
	p.serve(p.outgoing(k), w, r)
}

// streamFor finds out which stream a peer wants, or says why it gets none.
func (t *Transport) streamFor(r *http.Request) (p *peer, k streamKind, text string, code int) {
	dir, base := path.Split(strings.TrimPrefix(r.URL.Path, "/raft/stream/"))
	switch dir {
	case messageStream.String() + "/":
		k = messageStream
	case msgAppStream.String() + "/":
		k = msgAppStream
	default:
		return nil, 0, textPath, http.StatusNotFound
	}
	from, err := strconv.ParseUint(base, 16, 64)
	if err != nil {
		return nil, 0, textFrom, http.StatusNotFound
	}
	if t.cfg.Local.IsRemoved(from) {
		return nil, 0, textRemoved, http.StatusGone
	}
	p = t.peer(from)
	if p == nil || p.remote {
		t.rememberSender(from, r.Header)
		return nil, 0, textUnknownSender, http.StatusNotFound
	}
	if r.Header.Get(headerTo) != hexID(t.cfg.ID) {
		return nil, 0, textTo, http.StatusPreconditionFailed
	}
	return p, k, "", 0
}

// probeAnswer is the body of an answer to a probe.
type probeAnswer struct {
	OK    bool
	Now   time.Time
	Short bool `json:",omitempty"` // room on the disk is short; etcd does not know of this
}

func (t *Transport) answerProbe(w http.ResponseWriter, _ *http.Request) {
	_ = json.NewEncoder(w).Encode(probeAnswer{OK: true, Now: time.Now(), Short: t.cfg.Short != nil && t.cfg.Short()})
}

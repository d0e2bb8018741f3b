package v2

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Options say how the view is served.
type Options struct {
	Store  Store
	Prefix string // of the keys that are shown; ends with a slash
	Logger *slog.Logger

	ClusterID, MemberID uint64
	Name                string        // of this member
	MaxBodyBytes        int64         // of a request
	MinTTL              int64         // seconds; the shortest time to live of a lease
	Timeout             time.Duration // of what is no watch; 0 is 7 seconds
	// As returns the context of a call that is made with a token, or without one as the client of the request; nil for never.
	As  func(ctx context.Context, r *http.Request, token string) context.Context
	Now func() time.Time // nil for the clock of the system
}

// Handler serves /v2/. It starts nothing and needs no end; watches end with the contexts of their requests.
type Handler struct {
	Options
	store   Store
	space   space
	minTTL  int64
	now     func() time.Time
	started time.Time
	counts  counts
	logins  logins
	mux     *http.ServeMux
}

// New returns the handler of everything below /v2/.
func New(o Options) *Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Timeout = cmp.Or(o.Timeout, 7*time.Second)
	h := &Handler{Options: o, store: o.Store, space: space{o.Prefix}, minTTL: o.MinTTL, now: o.Now, started: o.Now(), mux: http.NewServeMux()}
	h.logins.known = map[credential]string{}
	h.mux.HandleFunc(keysPath, h.serveKeys)
	h.mux.HandleFunc(keysPath+"/", h.serveKeys)
	h.mux.HandleFunc("/v2/machines", h.serveMachines)
	h.mux.HandleFunc(membersPath, h.serveMembers)
	h.mux.HandleFunc(membersPath+"/", h.serveMembers)
	h.mux.HandleFunc("/v2/stats/self", h.serveStats(h.self))
	h.mux.HandleFunc("/v2/stats/leader", h.serveStats(h.followers))
	h.mux.HandleFunc("/v2/stats/store", h.serveStats(h.storeStats))
	h.mux.HandleFunc("/v2/auth/", h.serveAuth)
	return h
}

// ServeHTTP answers a request for a path below /v2/.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// allowed answers requests with other methods.
func allowed(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, one := range methods {
		if r.Method == one {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ","))
	http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	return false
}

func (h *Handler) nameCluster(w http.ResponseWriter) {
	w.Header().Set("X-Etcd-Cluster-Id", strconv.FormatUint(h.ClusterID, 16))
}

func (h *Handler) serveKeys(w http.ResponseWriter, r *http.Request) {
	if !allowed(w, r, "HEAD", "GET", "PUT", "POST", "DELETE") {
		return
	}
	h.nameCluster(w)
	r.Body = http.MaxBytesReader(w, r.Body, h.MaxBodyBytes)
	c, wrong := parse(r)
	if wrong != nil {
		wrong.write(w)
		return
	}
	err := h.asCaller(r, func(ctx context.Context) error {
		if c.wait && !c.quorum {
			return h.follow(ctx, w, c)
		}
		return h.answer(ctx, w, c)
	})
	if err != nil {
		h.failed(r, err).write(w)
	}
}

// failed is what a client is told of an error.
func (h *Handler) failed(r *http.Request, err error) *refusal {
	out := asRefusal(err, 0)
	if out.index == 0 && out.code != codeUnauthorized {
		out = &refusal{out.code, out.cause, h.store.KeySpace().Revision}
	}
	if out.code == codeInternal && !errors.Is(err, context.Canceled) {
		h.Logger.Warn("request of the v2 API failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	return out
}

// answer carries out a request and tells what happened.
func (h *Handler) answer(ctx context.Context, w http.ResponseWriter, c *call) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	e, err := h.perform(ctx, c)
	h.counts.note(c.action(), err)
	if err != nil {
		return err
	}
	h.success(w, e.index)
	if e.created {
		w.WriteHeader(http.StatusCreated)
	}
	if c.noValue && (c.method == http.MethodPut || c.method == http.MethodPost) {
		e.Node, e.Prev = nil, nil
	}
	_ = json.NewEncoder(w).Encode(e)
	return nil
}

// success sets the headers of an answer that is no error.
func (h *Handler) success(w http.ResponseWriter, index int64) {
	st, head := h.store.Status(), w.Header()
	head.Set("Content-Type", "application/json")
	head.Set("X-Etcd-Index", strconv.FormatInt(index, 10))
	head.Set("X-Raft-Index", strconv.FormatUint(st.RaftIndex, 10))
	head.Set("X-Raft-Term", strconv.FormatUint(st.RaftTerm, 10))
}

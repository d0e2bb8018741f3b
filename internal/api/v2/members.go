package v2

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/schema"
)

const membersPath = "/v2/members"

// member is one as it is shown.
type member struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
}

func showMember(m schema.Member) member {
	return member{strconv.FormatUint(m.ID, 16), m.Name, append([]string{}, m.PeerURLs...), append([]string{}, m.ClientURLs...)}
}

// serveMachines lists the URLs of all members for clients.
func (h *Handler) serveMachines(w http.ResponseWriter, r *http.Request) {
	if !allowed(w, r, "GET", "HEAD") {
		return
	}
	h.nameCluster(w)
	var all []schema.Member
	err := h.asCaller(r, func(ctx context.Context) (err error) {
		if err = h.store.Present(ctx); err == nil {
			all, err = h.store.Members(ctx, false)
		}
		return err
	})
	if err != nil {
		h.refuseMember(w, r, err)
		return
	}
	var urls []string
	for _, m := range all {
		urls = append(urls, m.ClientURLs...)
	}
	slices.Sort(urls)
	_, _ = io.WriteString(w, strings.Join(urls, ", "))
}

func (h *Handler) serveMembers(w http.ResponseWriter, r *http.Request) {
	if !allowed(w, r, "GET", "POST", "DELETE", "PUT") {
		return
	}
	h.nameCluster(w)
	rest := strings.Trim(strings.TrimPrefix(r.URL.Path, membersPath), "/")
	ctx, cancel := context.WithTimeout(r.Context(), h.Timeout)
	defer cancel()
	err := h.asCaller(r.WithContext(ctx), func(ctx context.Context) error {
		if r.Method == http.MethodGet {
			return h.listMembers(ctx, w, rest)
		}
		if err := h.store.Admin(ctx); err != nil {
			return err
		}
		switch r.Method {
		case http.MethodPost:
			return h.addMember(ctx, w, r, rest)
		case http.MethodPut:
			return h.updateMember(ctx, w, r, rest)
		}
		return h.removeMember(ctx, w, rest)
	})
	if err != nil {
		h.refuseMember(w, r, err)
	}
}

// status is an error with the HTTP status that tells it.
type status struct {
	code int
	text string
}

func (s *status) Error() string { return s.text }

// refuseMember tells what went wrong.
func (h *Handler) refuseMember(w http.ResponseWriter, r *http.Request, err error) {
	var s *status
	var known *refusal
	switch {
	case errors.As(err, &s):
	case denied(err), errors.As(err, &known) && known.code == codeUnauthorized:
		s = &status{http.StatusUnauthorized, "Insufficient credentials"}
	case errors.Is(err, kverr.PeerURLExist):
		s = &status{http.StatusConflict, "membership: peerURL exists"}
	case errors.Is(err, kverr.MemberExist):
		s = &status{http.StatusConflict, "membership: ID exists"}
	default:
		h.Logger.Warn("request of the v2 API about members failed", "method", r.Method, "error", err)
		s = &status{http.StatusInternalServerError, "Internal Server Error"}
	}
	message(w, s.code, s.text)
}

func (h *Handler) listMembers(ctx context.Context, w http.ResponseWriter, rest string) error {
	if err := h.store.Present(ctx); err != nil {
		return err
	}
	all, err := h.store.Members(ctx, false)
	if err != nil {
		return err
	}
	switch rest {
	case "":
		shown := []member{}
		for _, m := range all {
			shown = append(shown, showMember(m))
		}
		reply(w, http.StatusOK, map[string][]member{"members": shown})
		return nil
	case "leader":
		i := slices.IndexFunc(all, func(m schema.Member) bool { return m.ID == h.store.Status().Leader })
		if i < 0 {
			return &status{http.StatusServiceUnavailable, "During election"}
		}
		reply(w, http.StatusOK, showMember(all[i]))
		return nil
	}
	return &status{http.StatusNotFound, "Not found"}
}

// urlsOf reads the peer URLs in the body of a request.
func urlsOf(w http.ResponseWriter, r *http.Request) ([]string, error) {
	if kind := r.Header.Get("Content-Type"); kind != "application/json" {
		w.Header().Set("Accept", "application/json")
		return nil, &status{http.StatusUnsupportedMediaType, fmt.Sprintf("Bad Content-Type %s, accept application/json", kind)}
	}
	var body struct {
		PeerURLs []string `json:"peerURLs"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body); err != nil {
		return nil, &status{http.StatusBadRequest, err.Error()}
	}
	if len(body.PeerURLs) == 0 {
		return nil, &status{http.StatusBadRequest, "there are no peer URLs"}
	}
	for _, one := range body.PeerURLs {
		if u, err := url.Parse(one); err != nil || u.Port() == "" || u.Path != "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, &status{http.StatusBadRequest, "not the URL of a peer: " + one}
		}
	}
	return body.PeerURLs, nil
}

func (h *Handler) addMember(ctx context.Context, w http.ResponseWriter, r *http.Request, rest string) error {
	if rest != "" {
		return &status{http.StatusNotFound, "Not found"}
	}
	urls, err := urlsOf(w, r)
	if err != nil {
		return err
	}
	added, _, err := h.store.MemberAdd(ctx, urls, false)
	if err == nil {
		reply(w, http.StatusCreated, showMember(added))
	}
	return err
}

// idOf reads the member that a path names.
func idOf(rest string) (uint64, error) {
	if rest == "" {
		return 0, &status{http.StatusMethodNotAllowed, "Method Not Allowed"}
	}
	id, err := strconv.ParseUint(rest, 16, 64)
	if err != nil {
		return 0, &status{http.StatusNotFound, "No such member: " + rest}
	}
	return id, nil
}

func (h *Handler) updateMember(ctx context.Context, w http.ResponseWriter, r *http.Request, rest string) error {
	id, err := idOf(rest)
	if err != nil {
		return err
	}
	urls, err := urlsOf(w, r)
	if err != nil {
		return err
	}
	if _, err = h.store.MemberUpdate(ctx, id, urls); errors.Is(err, kverr.MemberNotFound) {
		return &status{http.StatusNotFound, "No such member: " + rest}
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (h *Handler) removeMember(ctx context.Context, w http.ResponseWriter, rest string) error {
	id, err := idOf(rest)
	if err != nil {
		return err
	}
	if _, err = h.store.MemberRemove(ctx, id); errors.Is(err, kverr.MemberNotFound) {
		return &status{http.StatusNotFound, "No such member: " + rest}
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

package v2

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// credential is the hash of a user's name and password.
type credential [sha256.Size]byte

// maxLogins bounds the logins that are remembered; one more makes room by forgetting any other.
const maxLogins = 1000

// logins are the tokens of users who have shown their passwords, so that the password of every request need not be hashed.
type logins struct {
	sync.Mutex
	known map[credential]string
}

func (l *logins) get(c credential) (string, bool) {
	l.Lock()
	defer l.Unlock()
	token, ok := l.known[c]
	return token, ok
}

func (l *logins) put(c credential, token string) {
	l.Lock()
	defer l.Unlock()
	for old := range l.known {
		if len(l.known) < maxLogins {
			break
		}
		delete(l.known, old)
	}
	l.known[c] = token
}

func (l *logins) drop(c credential) {
	l.Lock()
	defer l.Unlock()
	delete(l.known, c)
}

// asCaller does something as the user that a request names, while authentication is on. A token that is not good any more is renewed once.
func (h *Handler) asCaller(r *http.Request, do func(context.Context) error) error {
	if h.As == nil || !h.store.AuthEnabled() {
		return do(r.Context())
	}
	name, password, ok := r.BasicAuth()
	if !ok {
		return do(h.As(r.Context(), r, ""))
	}
	who := credential(sha256.Sum256([]byte(name + "\x00" + password)))
	if token, ok := h.logins.get(who); ok {
		err := do(h.As(r.Context(), r, token))
		if !errors.Is(err, kverr.InvalidAuthToken) && !errors.Is(err, kverr.AuthOldRevision) {
			return err
		}
		h.logins.drop(who)
	}
	out := new(pb.AuthenticateResponse)
	if err := invoke(r.Context(), h.store.Authenticate, &pb.AuthenticateRequest{Name: name, Password: password}, out); err != nil {
		if errors.Is(err, kverr.AuthNotEnabled) {
			return do(r.Context())
		}
		return unauthorizedIf(err)
	}
	h.logins.put(who, out.Token)
	return do(h.As(r.Context(), r, out.Token))
}

// unauthorizedIf tells a failed login from a member that cannot decide on logins at the moment.
func unauthorizedIf(err error) error {
	if e, ok := kverr.From(err); ok && e.Retry == kverr.RetryNever || !ok && !errors.Is(err, context.DeadlineExceeded) {
		return unauthorized()
	}
	return err
}

// serveAuth answers that the old users and roles are not there: users and roles are those of the v3 API.
func (h *Handler) serveAuth(w http.ResponseWriter, r *http.Request) {
	h.nameCluster(w)
	switch {
	case r.URL.Path == "/v2/auth/enable" && r.Method == http.MethodGet:
		reply(w, http.StatusOK, map[string]bool{"enabled": false})
	case r.URL.Path == "/v2/auth/enable" && r.Method == http.MethodDelete:
		message(w, http.StatusConflict, "auth: already disabled")
	default:
		message(w, http.StatusNotImplemented, "auth: users and roles of the v2 API are not supported, use those of the v3 API")
	}
}

// reply sends a value as JSON.
func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// message sends an error of the endpoints beside the keys.
func message(w http.ResponseWriter, status int, text string) {
	reply(w, status, map[string]string{"message": text})
}

package v2

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// The codes of errors that clients see.
const (
	codeKeyNotFound      = 100
	codeCompareFailed    = 101
	codeNotFile          = 102
	codeNotDirectory     = 104
	codeExists           = 105
	codeRootReadOnly     = 107
	codeNotEmpty         = 108
	codeUnauthorized     = 110
	codePrevValueEmpty   = 201
	codeTTLNotNumber     = 202
	codeIndexNotNumber   = 203
	codeInvalidField     = 209
	codeInvalidForm      = 210
	codeRefreshValue     = 211
	codeRefreshTTL       = 212
	codeInternal         = 300
	codeHistoryIsCleared = 401
)

// kind is the message and the HTTP status of a code.
func kind(code int) (message string, status int) {
	switch code {
	case codeKeyNotFound:
		return "Key not found", http.StatusNotFound
	case codeCompareFailed:
		return "Compare failed", http.StatusPreconditionFailed
	case codeNotFile:
		return "Not a file", http.StatusForbidden
	case codeNotDirectory:
		return "Not a directory", http.StatusBadRequest
	case codeExists:
		return "Key already exists", http.StatusPreconditionFailed
	case codeRootReadOnly:
		return "Root is read only", http.StatusBadRequest
	case codeNotEmpty:
		return "Directory not empty", http.StatusForbidden
	case codeUnauthorized:
		return "The request requires user authentication", http.StatusUnauthorized
	case codeInternal:
		return "Raft Internal Error", http.StatusInternalServerError
	case codeHistoryIsCleared:
		return "The event in requested index is outdated and cleared", http.StatusBadRequest
	}
	return formMessage(code), http.StatusBadRequest
}

// formMessage is the message of an error in what was sent.
func formMessage(code int) string {
	switch code {
	case codePrevValueEmpty:
		return "PrevValue is Required in POST form"
	case codeTTLNotNumber:
		return "The given TTL in POST form is not a number"
	case codeIndexNotNumber:
		return "The given index in POST form is not a number"
	case codeInvalidField:
		return "Invalid field"
	case codeInvalidForm:
		return "Invalid POST form"
	case codeRefreshValue:
		return "Value provided on refresh"
	}
	return "A TTL must be provided on refresh"
}

// refusal is an answer that says what is wrong.
type refusal struct {
	code  int
	cause string
	index int64
}

func (r *refusal) Error() string {
	message, _ := kind(r.code)
	return message + " (" + r.cause + ")"
}

// refuse makes a refusal whose index is known later, or never.
func refuse(code int, cause string) *refusal { return &refusal{code: code, cause: cause} }

// unauthorized is the refusal of everybody who may not do something.
func unauthorized() *refusal { return refuse(codeUnauthorized, "Insufficient credentials") }

// asRefusal says in this API's words what went wrong below.
func asRefusal(err error, index int64) *refusal {
	var r *refusal
	switch {
	case errors.As(err, &r):
		if r.index != 0 || index == 0 {
			return r
		}
		return &refusal{r.code, r.cause, index}
	case denied(err):
		r = unauthorized()
	case errors.Is(err, context.DeadlineExceeded):
		r = refuse(codeInternal, kverr.Timeout.Text)
	case errors.Is(err, kverr.Compacted):
		r = refuse(codeHistoryIsCleared, kverr.StatusText(err))
	default:
		r = refuse(codeInternal, kverr.StatusText(err))
	}
	r.index = index
	return r
}

// denied reports whether an error is about who asks.
func denied(err error) bool {
	for _, one := range []error{kverr.PermissionDenied, kverr.UserEmpty, kverr.AuthFailed, kverr.InvalidAuthToken, kverr.AuthOldRevision} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// write sends the refusal.
func (r *refusal) write(w http.ResponseWriter) {
	message, status := kind(r.code)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Etcd-Index", strconv.FormatInt(r.index, 10))
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Code    int    `json:"errorCode"`
		Message string `json:"message"`
		Cause   string `json:"cause,omitempty"`
		Index   int64  `json:"index"`
	}{r.code, message, r.cause, r.index})
}

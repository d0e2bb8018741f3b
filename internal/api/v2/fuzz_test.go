package v2_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// FuzzRequests: whatever is asked for, there is an answer in the API's form.
func FuzzRequests(f *testing.F) {
	for _, seed := range [][3]string{
		{"GET", "/a?recursive=true&sorted=true", ""},
		{"PUT", "/a/b?ttl=5", "value=x"},
		{"PUT", "/a?prevExist=true&refresh=true&ttl=3", ""},
		{"PUT", "/d?dir=true&ttl=9", ""},
		{"POST", "/_q/../x", "value=%00%ff&dir=1"},
		{"DELETE", "/a?recursive=true&prevIndex=18446744073709551615", ""},
		{"GET", "/?wait=true&waitIndex=1&stream=t&recursive=1", ""},
		{"PUT", "/%2F%00/deleted", "value=x"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	m := servicetest.Start(f, servicetest.NewDisks(f, 1))
	h := handler(m.Service)
	f.Fuzz(func(t *testing.T, method, target, body string) {
		if !validLine(method, target) {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, method, "/v2/keys"+target, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code == 405 || rec.Code == 404 && !strings.Contains(rec.Body.String(), "errorCode") || rec.Code/100 == 3 {
			return
		}
		for line := range strings.Lines(rec.Body.String()) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%d %s", rec.Code, line)
			}
		}
	})
}

// validLine reports whether a request could come from the network like this.
func validLine(method, target string) bool {
	for _, c := range method {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	if method == "" || !strings.HasPrefix(target, "/") {
		return false
	}
	for _, c := range []byte(target) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	for i := range target {
		if target[i] == '%' && (i+2 >= len(target) || !hex(target[i+1]) || !hex(target[i+2])) {
			return false
		}
	}
	return true
}

func hex(c byte) bool { return strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) }

package ops

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzPages asks the pages of health and version for anything, of a member in any state: known states are answered, with as much as was asked.
func FuzzPages(f *testing.F) {
	for _, path := range []string{"/health", "/livez", "/readyz", "/readyz/linearizable_read", "/version", "/debug/vars", "/nothing"} {
		f.Add("GET", path, "exclude=NOSPACE&serializable=true", uint8(0))
		f.Add("HEAD", path, "verbose&exclude=data_corruption&exclude=%zz", uint8(7))
	}
	f.Fuzz(func(t *testing.T, method, path, query string, state uint8) {
		m := &fake{leaderless: state&1 != 0, learner: state&2 != 0, cluster: "3.7.0", storage: "3.7.0", broken: map[bool]error{}}
		if state&4 != 0 {
			m.alarms = []string{"NOSPACE", "CORRUPT"}
		}
		if state&8 != 0 {
			m.broken[true] = errors.New("etcdserver: request timed out")
		}
		w := httptest.NewRecorder()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://member/", nil)
		if err != nil {
			return
		}
		r.URL = &url.URL{Path: path, RawQuery: query}
		pages(m, HealthObserver{}).ServeHTTP(w, r)
		switch w.Code {
		case http.StatusOK, http.StatusServiceUnavailable, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusBadRequest:
		default:
			if w.Code < 300 || w.Code > 399 { // paths are cleaned by sending the client to the clean one
				t.Errorf("%s %s?%s: status %d", method, path, query, w.Code)
			}
		}
		if path == "/health" && method == http.MethodGet && !json.Valid([]byte(strings.TrimSpace(w.Body.String()))) {
			t.Errorf("health is %q", w.Body)
		}
	})
}

//go:build faultpoints

package faultpoint

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzBoard asks the page of the points anything, and sets points to anything. What is listed afterwards can be set again.
func FuzzBoard(f *testing.F) {
	for _, text := range []string{"panic", "off", `sleep("10s")`, "3*sleep(100)->panic", `50%return("x")`, "100%1*off->", "(", "1e9999%off"} {
		f.Add("PUT", "/raftBeforeSave", text)
		f.Add("PUT", "/failpoints", "raftBeforeSave="+text+";raftAfterSave=off")
	}
	f.Add("GET", "/", "")
	f.Add("DELETE", "/raftBeforeSave", "")
	f.Fuzz(func(t *testing.T, method, path, body string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://member/", strings.NewReader(body))
		if err != nil {
			return
		}
		r.URL = &url.URL{Path: path}
		b := newBoard()
		w := httptest.NewRecorder()
		b.ServeHTTP(w, r)
		if w.Code < 200 || w.Code > 499 {
			t.Errorf("%s %s %q: status %d", method, path, body, w.Code)
		}
		_ = b.setAll(body)
		again := newBoard()
		for name := range strings.Lines(b.list()) {
			point, text, ok := strings.Cut(strings.TrimRight(name, "\n"), "=")
			if ok && text != "" && again.set(Name(point), text) != nil {
				t.Errorf("point %s is listed as %q, which cannot be set", point, text)
			}
		}
	})
}

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTakeProfile: what the server answers is kept; a refusal is an error, and
// leaves no file.
func TestTakeProfile(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/debug/pprof/profile?seconds=2" {
			http.Error(w, "none here", http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte("samples"))
	}))
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	file := filepath.Join(t.TempDir(), "put-a.pb.gz")
	if err := takeProfile(t.Context(), address, 3, file); err == nil || !strings.Contains(err.Error(), "none here") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a refusal was kept")
	}
	if err := takeProfile(t.Context(), address, 2, file); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "samples" {
		t.Errorf("kept %q, error %v", text, err)
	}
}

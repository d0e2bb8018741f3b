package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quoin-kv/quoin/embed"
	"github.com/quoin-kv/quoin/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// requestBytes is the member's largest request; its gRPC server takes half a mebibyte more.
const requestBytes = 10_000

// member runs one and returns the base of its addresses.
func member(t *testing.T) string {
	t.Helper()
	return memberWith(t, func(*embed.Config) {})
}

// memberWith is member with something else in its configuration.
func memberWith(t *testing.T, change func(*embed.Config)) string {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.DataDir, cfg.UnsafeNoFsync, cfg.MaxRequestBytes = t.TempDir(), true, requestBytes
	change(cfg)
	for _, urls := range []*config.URLs{&cfg.ListenClientURLs, &cfg.ListenPeerURLs} {
		if err := urls.Set("http://127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	m, err := embed.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	<-m.Ready()
	return "http://" + m.ClientAddrs()[0].String()
}

// request sends one; the caller closes the body.
func request(ctx context.Context, t *testing.T, method, url string, body io.Reader, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func call(t *testing.T, method, url, body string, headers ...string) (status int, header http.Header, text string) {
	t.Helper()
	resp := request(t.Context(), t, method, url, strings.NewReader(body), headers...)
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(all)
}

// plain removes insignificant space and the header of a response.
func plain(t *testing.T, body string) string {
	t.Helper()
	var v map[string]any
	if json.Unmarshal([]byte(body), &v) != nil {
		return body
	}
	delete(v, "header")
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestCalls(t *testing.T) {
	base := member(t)
	large := strings.Repeat("A", 4*(requestBytes+512<<10)+1000)
	medium := strings.Repeat("A", (requestBytes+512<<10)*3/2/4*4)
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"put", "POST", "/v3/kv/put", `{"key":"YQ==","value":"MQ=="}`, 200, `{}`},
		{"get", "POST", "/v3/kv/range", `{"key":"YQ=="}`, 200, `{"count":"1","kvs":[{"create_revision":"2","key":"YQ==","mod_revision":"2","value":"MQ==","version":"1"}]}`},
		{"old prefix", "POST", "/v3beta/kv/range", `{"key":"YQ==","count_only":true}`, 200, `{"count":"1"}`},
		{"camel case and unknown fields", "POST", "/v3/kv/range", `{"key":"YQ==","countOnly":true,"x":[1]}`, 200, `{"count":"1"}`},
		{"older prefix is gone", "POST", "/v3alpha/kv/range", `{}`, 404, "404 page not found\n"},
		{"prefix alone", "POST", "/v3beta", `{}`, 404, "404 page not found\n"},
		{"error", "POST", "/v3/kv/range", `{}`, 400, `{"code":3,"message":"etcdserver: key is not provided"}`},
		{"cut short", "POST", "/v3/kv/range", `{"key"`, 400, `{"code":3,"message":"unexpected EOF"}`},
		{"wrong method", "GET", "/v3/kv/range", ``, 501, `{"code":12,"message":"Method Not Allowed"}`},
		{"unknown path", "POST", "/v3/kv/nothing", `{}`, 404, `{"code":5,"message":"Not Found"}`},
		{"larger than a request may be", "POST", "/v3/kv/put", `{"key":"YQ==","value":"` + strings.Repeat("A", 2*requestBytes) + `"}`, 400, `{"code":3,"message":"etcdserver: request is too large"}`},
		{"larger than gRPC takes", "POST", "/v3/kv/put", `{"key":"YQ==","value":"` + medium + `"}`, 429, `"code":8,"message":"grpc: received message larger than max`},
		{"larger than is read", "POST", "/v3/kv/put", `{"key":"YQ==","value":"` + large + `"}`, 429, `{"code":8,"message":"grpc: received message larger than max"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, _, body := call(t, tc.method, base+tc.path, tc.body)
			if status != tc.status || !strings.Contains(plain(t, body), tc.want) {
				t.Errorf("%d %.300s, want %d %s", status, body, tc.status, tc.want)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	base := member(t)
	_, header, body := call(t, "POST", base+"/v3/kv/range", `{"key":"YQ=="}`, "Origin", "http://example.com")
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Grpc-Metadata-Content-Type": "application/grpc", "Access-Control-Allow-Origin": "*",
		"Access-Control-Allow-Methods": "POST, GET, OPTIONS, PUT, DELETE", "Access-Control-Allow-Headers": "accept, content-type, authorization",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if strings.HasSuffix(body, "\n") {
		t.Error("the answer ends with a new line")
	}
	for _, path := range []string{"/v3/kv/range", "/health", "/nothing"} {
		if status, _, body := call(t, "OPTIONS", base+path, ""); status != 200 || body != "" {
			t.Errorf("OPTIONS %s: %d %q", path, status, body)
		}
	}
}

// TestTimeout: the header Grpc-Timeout bounds a stream that would go on for ever.
func TestTimeout(t *testing.T) {
	base := member(t)
	start := time.Now()
	status, _, body := call(t, "POST", base+"/v3/watch", `{"create_request":{"key":"YQ=="}}`, "Grpc-Timeout", "100m")
	if status != 200 || !strings.Contains(body, `"code":4`) || time.Since(start) > 5*time.Second {
		t.Errorf("%d %s after %v", status, body, time.Since(start))
	}
}

func TestWatch(t *testing.T) {
	base := member(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	resp := request(ctx, t, "POST", base+"/v3/watch", strings.NewReader(`{"create_request":{"key":"YQ=="}}`))
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func() string {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
		var line struct {
			Result map[string]any
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Result == nil {
			t.Fatalf("line %q: %v", lines.Text(), err)
		}
		delete(line.Result, "header")
		out, _ := json.Marshal(line.Result)
		return string(out)
	}
	if got := next(); got != `{"created":true}` {
		t.Errorf("first line %s", got)
	}
	call(t, "POST", base+"/v3/kv/put", `{"key":"YQ==","value":"MQ=="}`)
	if got := next(); got != `{"events":[{"kv":{"create_revision":"2","key":"YQ==","mod_revision":"2","value":"MQ==","version":"1"}}]}` {
		t.Errorf("second line %s", got)
	}
}

// TestKeepAlives: several messages in one body, answered line by line, then the end.
func TestKeepAlives(t *testing.T) {
	base := member(t)
	call(t, "POST", base+"/v3/lease/grant", `{"ID":"7","TTL":"60"}`)
	status, _, body := call(t, "POST", base+"/v3/lease/keepalive", `{"ID":"7"} {"ID":7}{"ID":"8"}`)
	lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	if status != 200 || len(lines) != 3 || !strings.Contains(lines[1], `"TTL":"60"`) || strings.Contains(lines[2], "TTL") {
		t.Errorf("%d %q", status, lines)
	}
}

// TestStreamOfLargeMessages: the bound is on each message of a body, not on the body.
func TestStreamOfLargeMessages(t *testing.T) {
	base := member(t)
	call(t, "POST", base+"/v3/lease/grant", `{"ID":"7","TTL":"60"}`)
	one := `{"ID":"7","padding":"` + strings.Repeat("x", 1<<20) + `"}`
	_, _, body := call(t, "POST", base+"/v3/lease/keepalive", strings.Repeat(one, 4))
	if n := strings.Count(body, `"TTL":"60"`); n != 4 {
		t.Errorf("%d answers: %.300s", n, body)
	}
}

// endless is a JSON text that does not end.
type endless struct{ begun bool }

func (e *endless) Read(p []byte) (int, error) {
	if !e.begun {
		e.begun = true
		return copy(p, `{"key":"`), nil
	}
	return copy(p, bytes.Repeat([]byte("A"), len(p))), nil
}

func TestEndlessBody(t *testing.T) {
	base := member(t)
	resp := request(t.Context(), t, "POST", base+"/v3/kv/put", &endless{})
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestListBeyondTheBudget asks for a list that as JSON needs more memory than all lists together may take: it waits until it is alone, and is
// answered.
func TestListBeyondTheBudget(t *testing.T) {
	base := memberWith(t, func(cfg *embed.Config) { cfg.RangeBudgetBytes = 200_000 })
	const keys = 100
	value := strings.Repeat("djEy", 250)
	for i := range keys {
		key := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "k%02d", i))
		resp := request(t.Context(), t, "POST", base+"/v3/kv/put", strings.NewReader(`{"key":"`+key+`","value":"`+value+`"}`))
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("put: %d", resp.StatusCode)
		}
		_ = resp.Body.Close()
	}
	for range 3 {
		resp := request(t.Context(), t, "POST", base+"/v3/kv/range", strings.NewReader(`{"key":"aw==","range_end":"bA=="}`))
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || strings.Count(string(body), value) != keys {
			t.Errorf("list: %d, %d bytes, %v", resp.StatusCode, len(body), err)
		}
	}
}

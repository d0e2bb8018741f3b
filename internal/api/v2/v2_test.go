package v2_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a member with the view on it, in fake time.
type world struct {
	*testing.T
	member  *servicetest.Member
	handler http.Handler
}

// run plays a test in a world of its own.
func run(t *testing.T, play func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := servicetest.Start(t, servicetest.NewDisks(t, 1))
		w := &world{T: t, member: m, handler: handler(m.Service)}
		play(w)
	})
}

// answer is what came of a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// do makes a request: "PUT /v2/keys/a?x=y form=of&the=body".
func (w *world) do(line string) answer {
	w.Helper()
	return w.doAs(w.Context(), line, "", "")
}

func (w *world) doAs(ctx context.Context, line, user, password string) answer {
	w.Helper()
	r := newRequest(ctx, line)
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return answer{rec.Code, rec.Header(), rec.Body.String()}
}

func newRequest(ctx context.Context, line string) *http.Request {
	parts := strings.SplitN(line, " ", 3)
	var body io.Reader
	if len(parts) == 3 {
		body = strings.NewReader(parts[2])
	}
	r := httptest.NewRequestWithContext(ctx, parts[0], parts[1], body)
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

// put writes a key as a client of the v3 API does.
func (w *world) put(key, value string, lease int64) {
	w.Helper()
	raw, err := proto.Marshal(&pb.PutRequest{Key: []byte(key), Value: []byte(value), Lease: lease})
	w.check(err)
	_, err = w.member.Put(w.Context(), raw)
	w.check(err)
}

func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// keys reads keys as a client of the v3 API does.
func (w *world) keys(first, last string) (list []string) {
	w.Helper()
	raw, err := proto.Marshal(&pb.RangeRequest{Key: []byte(first), RangeEnd: []byte(last)})
	w.check(err)
	raw, err = w.member.Range(w.Context(), raw)
	w.check(err)
	out := new(pb.RangeResponse)
	w.check(proto.Unmarshal(raw, out))
	for _, kv := range out.Kvs {
		list = append(list, string(kv.Key)+"="+string(kv.Value))
	}
	return list
}

// step is a request and what is expected of its answer. In want a dollar sign before a number stands for an index that many revisions after
// the first.
type step struct {
	line   string
	status int
	want   string // the body, or what it begins with if it ends in an ellipsis; "" for any
}

// play makes requests one after the other, beginning at revision 1.
func play(t *testing.T, steps []step) {
	t.Helper()
	run(t, func(w *world) {
		for _, s := range steps {
			w.expect(s)
		}
	})
}

func (w *world) expect(s step) {
	w.Helper()
	got := w.do(s.line)
	body := strings.TrimSuffix(got.body, "\n")
	start, open := strings.CutSuffix(s.want, "…")
	if got.status != s.status || open && !strings.HasPrefix(body, start) || !open && s.want != "" && body != s.want {
		w.Errorf("%s\n got %d %s\nwant %d %s", s.line, got.status, body, s.status, s.want)
	}
}

// until waits in fake time.
func (w *world) until(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// stream is a watch under way.
type stream struct {
	world  *world
	rec    *recorder
	cancel context.CancelFunc
	done   chan struct{}
}

// recorder is a response that is read while it is written.
type recorder struct {
	*httptest.ResponseRecorder
}

// watch begins a watch and returns when it has been accepted.
func (w *world) watch(line string) *stream {
	ctx, cancel := context.WithCancel(w.Context())
	s := &stream{world: w, rec: &recorder{httptest.NewRecorder()}, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		w.handler.ServeHTTP(s.rec, newRequest(ctx, line))
	}()
	synctest.Wait()
	return s
}

// events are all that have come so far, as "action key=value (was value)".
func (s *stream) events() (list []string) {
	synctest.Wait()
	for line := range strings.Lines(s.rec.Body.String()) {
		var e struct {
			Action   string
			Node     struct{ Key, Value string }
			PrevNode *struct{ Value string }
		}
		s.world.check(json.Unmarshal([]byte(line), &e))
		text := e.Action + " " + e.Node.Key
		if e.Node.Value != "" {
			text += "=" + e.Node.Value
		}
		if e.PrevNode != nil {
			text += " was " + e.PrevNode.Value
		}
		list = append(list, strings.TrimSuffix(text, " was "))
	}
	return list
}

func (s *stream) end() {
	s.cancel()
	<-s.done
}

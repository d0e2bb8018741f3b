package grpcwire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// directFunc serves each call with a function.
type directFunc func(c *Call)

func (f *directFunc) Serve(calls []*Call) {
	for _, c := range calls {
		(*f)(c)
	}
}

// serveDirect starts a server that serves Echo directly.
func serveDirect(t testing.TB, f directFunc) string {
	s := newServer(Options{})
	s.Direct("/test.S/Echo", &f)
	return listen(t, s)
}

func TestDirectAnswers(t *testing.T) {
	conn := dial(t, serveDirect(t, func(c *Call) {
		switch in := string(c.Request()); in {
		case "later":
			go c.Answer([]byte("now"))
		case "go":
			c.Go()
		case "fail":
			c.Fail(status.Error(codes.Aborted, "so"))
		case "plain":
			c.Fail(errors.New("so"))
		case "method":
			c.Answer([]byte(c.Method() + " " + c.Metadata("k") + " " + c.Metadata("user-agent")[:4] + " " + c.Metadata(":authority")[:4]))
		case "context":
			ctx := c.Context()
			p, _ := peer.FromContext(ctx)
			md, _ := metadata.FromIncomingContext(ctx)
			_, timed := ctx.Deadline()
			c.Answer(fmt.Append(nil, p.Addr.Network(), md["k"], timed, ctx.Err()))
		default:
			c.Answer(c.Request())
		}
	}))
	ctx := metadata.AppendToOutgoingContext(soon(t), "k", "v")
	large := strings.Repeat("x", 1<<20)
	for in, want := range map[string]string{
		"x": "x", "": "", "later": "now", "go": "go", "method": "/test.S/Echo v grpc 127.", "context": "tcp[v] true <nil>", large: large,
	} {
		if out, err := echo(ctx, conn, in); err != nil || out != want {
			t.Errorf("%.20q: %.30q, %v", in, out, err)
		}
	}
	for in, want := range map[string]codes.Code{"fail": codes.Aborted, "plain": codes.Unknown} {
		_, err := echo(ctx, conn, in)
		wantCode(t, err, want)
	}
	if out, err := echo(ctx, conn, "zip", grpc.UseCompressor(gzip.Name)); err != nil || out != "zip" { // by the ordinary way
		t.Errorf("%q, %v", out, err)
	}
}

// TestDirectMany: calls of all sizes at once, answered at once or later.
func TestDirectMany(t *testing.T) {
	conn := dial(t, serveDirect(t, func(c *Call) {
		if len(c.Request())%2 == 0 {
			c.Answer(c.Request())
		} else {
			go c.Answer(c.Request())
		}
	}))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 50 {
				in := strings.Repeat(string(rune('a'+i)), i*j*43%40000)
				if out, err := echo(soon(t), conn, in); err != nil || out != in {
					t.Errorf("%d bytes: %d bytes, %v", len(in), len(out), err)
				}
			}
		})
	}
	wg.Wait()
}

// TestDirectEnds: a call that ends early tells so once, for each way in which it may.
func TestDirectEnds(t *testing.T) {
	calls, ended := make(chan *Call, 1), make(chan string, 10)
	addr := serveDirect(t, func(c *Call) {
		name := string(c.Request())
		c.OnCancel(func() { ended <- name })
		calls <- c
	})
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-ended:
			if got != want {
				t.Errorf("%q has ended, not %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s has not ended", want)
		}
	}
	r := dialRaw(t, addr)
	r.call(1, "/test.S/Echo", "reset")
	c := <-calls
	ctx := c.Context()
	r.check(r.framer.WriteRSTStream(1, http2.ErrCodeCancel))
	expect("reset")
	<-ctx.Done()
	c.OnCancel(func() { ended <- "at once" })
	expect("at once")
	c.Answer(nil)

	for _, left := range []string{"1000m", "20m"} { // the second comes first
		r.call(map[string]uint32{"1000m": 3, "20m": 5}[left], "/test.S/Echo", left, "grpc-timeout", left)
		c := <-calls
		defer c.Fail(context.DeadlineExceeded)
	}
	expect("20m")
	expect("1000m")

	r.call(7, "/test.S/Echo", "closed")
	c = <-calls
	r.check(r.conn.Close())
	expect("closed")
	c.Go()
	select {
	case name := <-ended:
		t.Errorf("%q has ended twice", name)
	default:
	}
}

// TestDirectAnsweredAfterDeadline: the client hears what the handler says.
func TestDirectAnsweredAfterDeadline(t *testing.T) {
	addr := serveDirect(t, func(c *Call) { c.OnCancel(func() { go c.Fail(context.DeadlineExceeded) }) })
	r := dialRaw(t, addr)
	r.call(1, "/test.S/Echo", "x", "grpc-timeout", "10m")
	if o := r.outcome(1); !strings.Contains(o.String(), "grpc-status: 4") {
		t.Errorf("%s", o)
	}
}

// TestDirectRefusals: what is wrong with a call is said before its handler hears of it.
func TestDirectRefusals(t *testing.T) {
	theirs := reference(t)
	ours := serveDirect(t, func(c *Call) { c.Answer(c.Request()) })
	different := differences()
	for _, c := range answerCases() {
		if _, ok := different[c.name]; ok || strings.HasPrefix(c.name, "un") {
			continue // a direct handler neither reads nor speaks
		}
		ask := func(addr string) string {
			r := dialRaw(t, addr)
			c.send(r)
			return strings.ReplaceAll(r.outcome(1).String(), "[grpc-message: ]", "")
		}
		if got, want := ask(ours), ask(theirs); got != want {
			t.Errorf("%s: %s, want\n%s", c.name, got, want)
		}
	}
}

// TestDirectGracefulStop: a direct call under way is waited for.
func TestDirectGracefulStop(t *testing.T) {
	calls := make(chan *Call, 1)
	f := directFunc(func(c *Call) { calls <- c })
	s := newServer(Options{})
	s.Direct("/test.S/Echo", &f)
	conn := dial(t, listen(t, s))
	answered := make(chan error, 1)
	go func() {
		_, err := echo(soon(t), conn, "x")
		answered <- err
	}()
	c := <-calls
	stopped := make(chan struct{})
	go func() {
		s.GracefulStop()
		close(stopped)
	}()
	c.Answer(nil)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	<-stopped
}

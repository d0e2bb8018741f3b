package port

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// serveHTTP runs a server for the HTTP side of a splitter until the end of the test.
func serveHTTP(t *testing.T, opts Options, h http.HandlerFunc) (*Splitter, *memory) {
	t.Helper()
	s, root := splitWith(t, opts)
	server := NewHTTPServer(h, HTTPOptions{
		BaseContext: context.Background(), ErrorLog: log.New(io.Discard, "", 0),
		Endless: func(r *http.Request) bool { return r.URL.Path == "/stream" },
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(s.HTTP)
	}()
	t.Cleanup(func() {
		time.Sleep(time.Second) // connections linger for clients that still send
		_ = server.Close()
		<-done
	})
	return s, root
}

// echo answers with the body that it reads, and what reading it met.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestTimeout)
		return
	}
	_, _ = w.Write(body)
}

// TestSlowClients: those that do not finish a header or a body are cut off, each after its time; streams are not.
func TestSlowClients(t *testing.T) {
	const start = "POST /unary HTTP/1.1\r\nHost: x\r\n"
	for _, tc := range []struct {
		name, says string
		drip       string        // said again every minute
		after      time.Duration // 0: not within a day
		answer     string
	}{
		{"header never finished", "GET / HTTP/1.1\r\nHost: x\r\n", "", 5 * time.Minute, ""},
		{"header in drips", "GET / HTTP/1.1\r\nHost: x\r\n", "A: b\r\n", 5 * time.Minute, ""},
		{"body never sent", start + "Content-Length: 100\r\n\r\n", "", 2 * time.Minute, "408"},
		{"body in drips", start + "Content-Length: 100\r\n\r\n", "x", 2 * time.Minute, "408"},
		{"chunk never sent", start + "Transfer-Encoding: chunked\r\n\r\n5\r\n", "", 2 * time.Minute, "408"},
		{"no second request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "", 5 * time.Minute, "200"},
		{"stream", "POST /stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, root := serveHTTP(t, both(), echo)
				client := root.dial(t)
				begun := time.Now()
				var writer sync.WaitGroup
				defer writer.Wait()
				writer.Go(func() {
					_, err := io.WriteString(client, tc.says)
					for tc.drip != "" && err == nil {
						time.Sleep(time.Minute)
						_, err = io.WriteString(client, tc.drip)
					}
				})
				over := make(chan string)
				go func() {
					all, _ := io.ReadAll(client)
					over <- string(all)
				}()
				select {
				case answer := <-over:
					took := time.Since(begun)
					if !strings.Contains(answer, tc.answer) || tc.after == 0 || took < tc.after || took > tc.after+time.Second {
						t.Errorf("%q after %v", answer, took)
					}
				case <-time.After(24 * time.Hour):
					if tc.after != 0 {
						t.Error("not cut off")
					}
					_ = client.Close()
					<-over
				}
			})
		})
	}
}

// TestLongAnswer: the bound on a body's time ends with the body; answers may take as long as they do.
func TestLongAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, root := serveHTTP(t, both(), func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-time.After(time.Hour):
				_, _ = io.WriteString(w, "done")
			case <-r.Context().Done():
			}
		})
		client := root.dial(t)
		go send(client, "POST /unary HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", true)
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != "done" {
			t.Errorf("%q, %v", body, err)
		}
	})
}

// TestRequestsHaveTheirTLS: handlers see what the connection came through, in HTTP/1.1 and HTTP/2, and a request settles a connection.
func TestRequestsHaveTheirTLS(t *testing.T) {
	for _, secure := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			opts := both()
			if secure {
				opts.Plain, opts.TLS = false, serverTLS(t)
			}
			s, root := serveHTTP(t, opts, func(w http.ResponseWriter, r *http.Request) {
				if (r.TLS != nil) != secure {
					t.Errorf("TLS is %v", r.TLS)
				}
			})
			var client net.Conn
			if secure {
				client = root.dialTLS(t, "http/1.1")
			} else {
				client = root.dial(t)
			}
			go send(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", true)
			resp, err := http.ReadResponse(bufio.NewReader(client), nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Error(resp, err)
			}
			state(t, s.opts.Limit, LimitState{Open: 1})
			_ = client.Close()
			synctest.Wait()
			state(t, s.opts.Limit, LimitState{})
		})
	}
}

// TestHugeHeader: a header that is larger than may be is answered, not stored.
func TestHugeHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, root := serveHTTP(t, both(), echo)
		client := root.dial(t)
		go send(client, "GET / HTTP/1.1\r\nHost: x\r\nA: "+strings.Repeat("x", 2*MaxHeaderBytes)+"\r\n\r\n", true)
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Error(resp, err)
		}
	})
}

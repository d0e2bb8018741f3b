package cluster

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestProxy: what one member sends another passes, is held back by a cut in
// its direction only, comes after the healing, and is delayed.
func TestProxy(t *testing.T) {
	l := newLoopback()
	defer l.close()
	at := l.join(t, 1)
	echo := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	listener, err := net.Listen("tcp", at.peer)
	if err != nil {
		t.Fatal(err)
	}
	echo.Listener = listener
	echo.Start()
	defer echo.Close()
	conn, err := net.Dial("tcp", at.advertised)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	ask := func() {
		fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: x\r\nX-Server-From: ab\r\nContent-Length: 2\r\n\r\nhi")
	}
	answer := func(within time.Duration) error {
		_ = conn.SetReadDeadline(time.Now().Add(within))
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	ask()
	if err := answer(patience); err != nil {
		t.Fatalf("nothing passes: %v", err)
	}
	// The id is learned after the connection.
	l.identify(2, 0xab)
	for _, d := range [][2]int{{2, 1}, {1, 2}} {
		l.cut(t, d[0], d[1])
		ask()
		if err := answer(50 * time.Millisecond); err == nil {
			t.Errorf("cut from %d to %d, and there is an answer", d[0], d[1])
		}
		l.heal(t)
		if err := answer(patience); err != nil {
			t.Fatalf("healed, and no answer: %v", err)
		}
	}
	l.cut(t, 3, 1)
	began := time.Now()
	l.slow(t, 2, 1, 30*time.Millisecond)
	ask()
	if err := answer(patience); err != nil || time.Since(began) < 30*time.Millisecond {
		t.Errorf("slow, and an answer after %v: %v", time.Since(began), err)
	}
}

// TestBrief: short values stand as they are, long ones are told apart.
func TestBrief(t *testing.T) {
	long := []byte(strings.Repeat("x", 1000))
	if brief([]byte("v")) != "v" || brief(long) == brief(append(long, 'x')) || len(brief(long)) > 100 {
		t.Error(brief([]byte("v")), brief(long))
	}
}

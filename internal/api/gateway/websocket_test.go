package gateway_test

import (
	"io"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
)

// dial opens a WebSocket to a member.
func dial(t *testing.T, base, path string) *websocket.Conn {
	t.Helper()
	conn, err := websocket.Dial("ws"+strings.TrimPrefix(base, "http")+path, "", "http://page.example")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func say(t *testing.T, conn *websocket.Conn, text string) {
	t.Helper()
	if err := websocket.Message.Send(conn, text); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	var text string
	if err := websocket.Message.Receive(conn, &text); err != nil {
		t.Fatal(err)
	}
	return text
}

// ended fails the test unless the member has closed the connection.
func ended(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	var text string
	if err := websocket.Message.Receive(conn, &text); err != io.EOF {
		t.Errorf("not the end: %q, %v", text, err)
	}
}

// TestSocketUnary: a call with one answer is answered at once, and the connection is over.
func TestSocketUnary(t *testing.T) {
	base := member(t)
	for _, tc := range []struct{ path, body, want string }{
		{"/v3/kv/put?readable=1", `{"key":"a","value":"1"}`, `"revision":2`},
		{"/v3/kv/range", `{"key":"YQ=="}`, `"count":"1"`},
		{"/v3/kv/range", `{}`, `"code":3`},
		{"/v3/kv/nothing", `{}`, `"code":5`},
		{"/v3/election/leader", `{"name":"YQ=="}`, `"message":"election: no leader"`},
	} {
		conn := dial(t, base, tc.path)
		say(t, conn, tc.body)
		if got := strings.ReplaceAll(hear(t, conn), ": ", ":"); !strings.Contains(strings.ReplaceAll(got, "election:no", "election: no"), tc.want) {
			t.Errorf("%s: %s, want %s", tc.path, got, tc.want)
		}
		ended(t, conn)
	}
}

// TestSocketStops: a member that stops ends what is open, and a client that goes away leaves nothing behind (the package's tests look for
// goroutines in the end).
func TestSocketStops(t *testing.T) {
	var conn *websocket.Conn
	t.Run("member", func(t *testing.T) {
		base := member(t)
		for _, path := range []string{"/v3/watch", "/v3/lock/lock", "/v3/election/observe"} {
			gone := dial(t, base, path)
			say(t, gone, `{}`)
			if err := gone.Close(); err != nil {
				t.Error(err)
			}
		}
		var err error
		if conn, err = websocket.Dial("ws"+strings.TrimPrefix(base, "http")+"/v3/watch", "", base); err != nil {
			t.Fatal(err)
		}
		say(t, conn, `{"create_request":{"key":"YQ=="}}`)
		if got := hear(t, conn); !strings.Contains(got, "created") {
			t.Errorf("answer %s", got)
		}
	})
	for { // what the end of the watch is called
		var text string
		if websocket.Message.Receive(conn, &text) != nil {
			break
		}
	}
	_ = conn.Close()
}

// TestSocketTooLarge: a message that no call takes ends the connection.
func TestSocketTooLarge(t *testing.T) {
	base := member(t)
	conn := dial(t, base, "/v3/watch")
	large := strings.Repeat(" ", 4*(requestBytes+512<<10)+1)
	_ = websocket.Message.Send(conn, large) // the member may be gone before it has all of it
	for {
		var text string
		if websocket.Message.Receive(conn, &text) != nil {
			return
		}
		if strings.Contains(text, "created") {
			t.Errorf("answered %q", text)
		}
	}
}

// TestNoSocket: an upgrade that is none is refused, and the member goes on.
func TestNoSocket(t *testing.T) {
	base := member(t)
	if status, _, _ := call(t, "POST", base+"/v3/watch", "", "Upgrade", "websocket", "Connection", "Upgrade"); status == 200 || status == 101 {
		t.Errorf("status %d", status)
	}
	if status, _, _ := call(t, "GET", base+"/v3/watch", "", "Upgrade", "websocket"); status != 400 {
		t.Errorf("status %d", status)
	}
}

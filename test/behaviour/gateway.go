package behaviour

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/net/websocket"
)

// gatewaySuites are what the gateway adds to the API: WebSockets and what
// HTTP headers mean.
func gatewaySuites() []suite {
	return []suite{
		{name: "http/socket", http: true, cases: socketCases()},
		{name: "http/auth", http: true, fresh: true, cases: httpAuthCases()},
	}
}

// dial opens a WebSocket to a path.
func (e *env) dial(path string, headers ...string) *websocket.Conn {
	e.Helper()
	conn, err := e.tryDial(path, headers...)
	e.ok(err)
	e.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (e *env) tryDial(path string, headers ...string) (*websocket.Conn, error) {
	cfg, err := websocket.NewConfig("ws"+strings.TrimPrefix(e.target.HTTP, "http")+path, "http://page.example")
	e.ok(err)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "protocol" {
			cfg.Protocol = append(cfg.Protocol, headers[i+1])
			continue
		}
		cfg.Header.Set(headers[i], headers[i+1])
	}
	return cfg.DialContext(e.ctx)
}

// say sends a JSON text as in e.json.
func (e *env) say(conn *websocket.Conn, body string) {
	e.Helper()
	e.ok(websocket.Message.Send(conn, e.json(body)))
}

// hear returns the next message.
func (e *env) hear(conn *websocket.Conn) string {
	e.Helper()
	deadline, _ := e.ctx.Deadline()
	e.ok(conn.SetReadDeadline(deadline))
	var text string
	e.ok(websocket.Message.Receive(conn, &text))
	return e.decode(text)
}

func socketCases() []testCase {
	return []testCase{
		{name: "watch", run: func(e *env) {
			conn := e.dial("/v3/watch")
			e.say(conn, `{'create_request':{'key':'$a'}}`)
			e.equal("created", e.hear(conn), "{'result':{'created':true,'header':{'revision':'0'}}}")
			e.mustPut(put("a", "1"))
			e.equal("event", e.hear(conn), "{'result':{'events':[{'kv':{'create_revision':'1','key':'$a','mod_revision':'1','value':'1','version':'1'}}],'header':{'revision':'1'}}}")
			e.say(conn, `{'create_request':{'key':'$b'}}`)
			e.equal("second", e.hear(conn), "{'result':{'created':true,'header':{'revision':'1'},'watch_id':'1'}}")
			e.say(conn, `{'cancel_request':{}}`)
			e.equal("canceled", e.hear(conn), "{'result':{'canceled':true,'header':{'revision':'1'}}}")
		}},
		{name: "two messages in one", run: func(e *env) {
			conn := e.dial("/v3/watch")
			e.say(conn, `{'create_request':{'key':'$a'}}{'create_request':{'key':'$b'}}`)
			e.equal("first", e.hear(conn), "{'result':{'created':true,'header':{'revision':'0'}}}")
			e.equal("second", e.hear(conn), "{'result':{'created':true,'header':{'revision':'0'},'watch_id':'1'}}")
		}},
		{name: "keep alive", settled: true, run: func(e *env) {
			e.mustGrant(&pb.LeaseGrantRequest{ID: 4343, TTL: 60})
			e.revokeAtEnd(4343)
			conn := e.dial("/v3/lease/keepalive")
			for range 2 {
				e.say(conn, `{'ID':'4343'}`)
				e.equal("alive", e.hear(conn), "{'result':{'ID':'4343','TTL':'60','header':{'revision':'0'}}}")
			}
		}},
		{name: "old prefix", run: func(e *env) {
			conn := e.dial("/v3beta/watch")
			e.say(conn, `{'create_request':{'key':'$a'}}`)
			e.equal("created", e.hear(conn), "{'result':{'created':true,'header':{'revision':'0'}}}")
		}},
		{name: "a protocol that brings a token is chosen", run: func(e *env) {
			conn := e.dial("/v3/watch", "protocol", "Bearer", "protocol", "token")
			e.equal("protocol", fmt.Sprint(conn.Config().Protocol), "[Bearer]")
			e.say(conn, `{'create_request':{'key':'$a'}}`)
			e.equal("created", e.hear(conn), "{'result':{'created':true,'header':{'revision':'0'}}}")
		}},
		{name: "nothing under other paths", run: func(e *env) {
			_, err := e.tryDial("/nothing")
			e.isTrue("refused", err != nil)
		}},
	}
}

// httpAuthCases run on a fresh server with users: root, and one who may only
// read what begins with "r".
func httpAuthCases() []testCase {
	return []testCase{{name: "tokens in headers, cookies and protocols", run: func(e *env) {
		token := e.enableUsers()
		read, write := `{'key':'%r1'}`, `{'key':'%r1','value':'%1'}`
		denied, unknown := "{'code':7,'message':'etcdserver: permission denied'}", "{'code':16,'message':'etcdserver: invalid auth token'}"
		for _, row := range []struct {
			name, path, body string
			headers          []string
			status           int
			want             string
		}{
			{"no token", "/v3/kv/range", read, nil, 400, "{'code':3,'message':'etcdserver: user name is empty'}"},
			{"bare token", "/v3/kv/range", read, []string{"Authorization", token}, 200, ""},
			{"bearer", "/v3/kv/range", read, []string{"Authorization", "Bearer " + token}, 200, ""},
			{"metadata", "/v3/kv/range", read, []string{"Grpc-Metadata-Token", token}, 200, ""},
			{"metadata authorization", "/v3/kv/range", read, []string{"Grpc-Metadata-Authorization", token}, 200, ""},
			{"wrong token", "/v3/kv/range", read, []string{"Authorization", "nonsense"}, 401, unknown},
			{"not permitted", "/v3/kv/put", write, []string{"Authorization", token}, 403, denied},
			{"not root", "/v3/auth/user/list", `{}`, []string{"Authorization", token}, 403, denied},
			{"lock without permission", "/v3/lock/lock", `{'name':'%r'}`, []string{"Authorization", token}, 500, "{'code':2,'message':'etcdserver: permission denied'}"},
			{"lock without token", "/v3/lock/lock", `{'name':'%r'}`, nil, 500, "{'code':2,'message':'etcdserver: user name is empty'}"},
			{"lock with a wrong token", "/v3/lock/lock", `{'name':'%r','lease':'5'}`, []string{"Authorization", "x"}, 500, "{'code':2,'message':'etcdserver: invalid auth token'}"},
			{"unlock without permission", "/v3/lock/unlock", `{'key':'%r/1'}`, []string{"Authorization", token}, 500, "{'code':2,'message':'etcdserver: permission denied'}"},
			{"leader", "/v3/election/leader", `{'name':'%r'}`, []string{"Authorization", token}, 500, "{'code':2,'message':'election: no leader'}"},
			{"leader without permission", "/v3/election/leader", `{'name':'%w'}`, []string{"Authorization", token}, 500, "{'code':2,'message':'etcdserver: permission denied'}"},
			{"leader without token", "/v3/election/leader", `{'name':'%r'}`, nil, 500, "{'code':2,'message':'etcdserver: user name is empty'}"},
		} {
			a := e.call(http.MethodPost, row.path, e.json(row.body), row.headers...)
			e.equal(row.name+": status", a.status, row.status)
			if row.want != "" {
				e.equal(row.name+": body", e.decode(a.body), row.want)
			}
			if row.status == http.StatusUnauthorized {
				e.equal(row.name+": why", a.header.Get("WWW-Authenticate"), "etcdserver: invalid auth token")
			}
		}
		for _, headers := range [][]string{{"protocol", "Bearer", "protocol", token}, {"Cookie", "token=" + token}} {
			conn := e.dial("/v3/watch", headers...)
			e.say(conn, `{'create_request':{'key':'%r1'}}`)
			e.isTrue("created", !strings.Contains(e.hear(conn), "canceled"))
			e.say(conn, `{'create_request':{'key':'%w'}}`)
			e.isTrue("refused", strings.Contains(e.hear(conn), "permission denied"))
		}
		conn := e.dial("/v3/watch", "Authorization", token)
		e.say(conn, `{'create_request':{'key':'%r1'}}`)
		e.isTrue("other headers do not count", strings.Contains(e.hear(conn), "canceled"))
	}}}
}

// enableUsers sets up users through the gateway, and returns the token of the
// one who may read.
func (e *env) enableUsers() string {
	e.Helper()
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, step := range [][2]string{
		{"user/add", `{"name":"root","password":"p"}`},
		{"user/grant", `{"user":"root","role":"root"}`},
		{"role/add", `{"name":"reader"}`},
		{"role/grant", `{"name":"reader","perm":{"permType":"READ","key":"` + b64("r") + `","range_end":"` + b64("s") + `"}}`},
		{"user/add", `{"name":"reader","password":"p"}`},
		{"user/grant", `{"user":"reader","role":"reader"}`},
		{"enable", `{}`},
	} {
		if a := e.call(http.MethodPost, "/v3/auth/"+step[0], step[1]); a.status != http.StatusOK && !strings.Contains(a.body, "role name already exists") {
			e.Fatalf("%s: %s", step[0], a.body)
		}
	}
	a := e.call(http.MethodPost, "/v3/auth/authenticate", `{"name":"reader","password":"p"}`)
	var answer struct{ Token string }
	e.ok(json.Unmarshal([]byte(a.body), &answer))
	e.isTrue("there is a token", answer.Token != "")
	return answer.Token
}

package behaviour

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// answer is what an HTTP request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// call sends one request to the target's HTTP address and reads the answer whole.
func (e *env) call(method, path, body string, headers ...string) answer {
	e.Helper()
	resp := e.open(method, path, body, headers...)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	e.ok(err)
	return answer{resp.StatusCode, resp.Header, string(data)}
}

// open sends one request and leaves the body to the caller.
func (e *env) open(method, path, body string, headers ...string) *http.Response {
	e.Helper()
	req, err := http.NewRequestWithContext(e.ctx, method, e.target.HTTP+path, strings.NewReader(body))
	e.ok(err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	e.Cleanup(transport.CloseIdleConnections)
	resp, err := (&http.Client{Transport: transport}).Do(req)
	e.ok(err)
	return resp
}

// post calls the gateway, in which "$name" inside single quotes, as in
// '$a', stands for the base64 form of a logical key, and "'" for a quote.
func (e *env) post(path, body string) answer {
	e.Helper()
	return e.call(http.MethodPost, path, e.json(body))
}

// json replaces '$name' by the key's base64 form, '%text' by the text's, and
// other single quotes by double ones.
func (e *env) json(body string) string {
	parts := strings.Split(body, "'")
	for i := 1; i < len(parts); i += 2 {
		if name, found := strings.CutPrefix(parts[i], "$"); found {
			parts[i] = base64.StdEncoding.EncodeToString(e.end2(name))
		}
		if text, found := strings.CutPrefix(parts[i], "%"); found {
			parts[i] = base64.StdEncoding.EncodeToString([]byte(text))
		}
	}
	return strings.Join(parts, `"`)
}

// end2 is a logical key, with "*" for the end of the case's keys.
func (e *env) end2(name string) []byte {
	if name == "*" {
		return e.allEnd()
	}
	return e.key(name)
}

// decode reads a JSON object, checks and removes its header if it has one, and
// writes the rest with sorted fields and real revisions made relative.
func (e *env) decode(body string) string {
	e.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(body), &object); err != nil {
		e.Fatalf("body %q: %v", body, err)
	}
	return e.plain(object)
}

func (e *env) plain(object map[string]any) string {
	e.simplify(object)
	out, err := json.Marshal(object)
	e.ok(err)
	return strings.ReplaceAll(string(out), `"`, "'")
}

// simplify removes ids and terms, makes revisions relative, and turns bytes
// that are keys of the case into "$name".
func (e *env) simplify(value any) {
	switch v := value.(type) {
	case map[string]any:
		for _, name := range []string{"cluster_id", "member_id", "raft_term"} {
			delete(v, name)
		}
		for name, field := range v {
			v[name] = e.simpleField(name, field)
			e.simplify(v[name])
		}
	case []any:
		for _, item := range v {
			e.simplify(item)
		}
	}
}

func (e *env) simpleField(name string, field any) any {
	text, isText := field.(string)
	if !isText {
		return field
	}
	if strings.HasSuffix(name, "revision") {
		var revision int64
		_, err := fmt.Sscan(text, &revision)
		e.ok(err)
		return fmt.Sprint(revision - e.base)
	}
	if name != "key" && name != "value" {
		return field
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	e.ok(err)
	return strings.Replace(string(raw), e.prefix, "$", 1)
}

// httpRow is one gateway call after puts of a=1 and b=2 in revisions 1 and 2.
type httpRow struct {
	name, path, body string
	status           int
	want             string
}

func httpRows() []httpRow {
	const ok = http.StatusOK
	return []httpRow{
		{"range", "/v3/kv/range", `{'key':'$a'}`, ok, "{'count':'1','header':{'revision':'2'},'kvs':[{'create_revision':'1','key':'$a','mod_revision':'1','value':'1','version':'1'}]}"},
		{"range of nothing omits the defaults", "/v3/kv/range", `{'key':'$x'}`, ok, "{'header':{'revision':'2'}}"},
		{"range with more", "/v3/kv/range", `{'key':'$','range_end':'$*','limit':1,'keys_only':true}`, ok, "{'count':'2','header':{'revision':'2'},'kvs':[{'create_revision':'1','key':'$a','mod_revision':'1','version':'1'}],'more':true}"},
		{"camel case, string number, enum name", "/v3/kv/range", `{'key':'$','rangeEnd':'$*','limit':'1','sortOrder':'DESCEND','countOnly':false,'keysOnly':true}`, ok, "{'count':'2','header':{'revision':'2'},'kvs':[{'create_revision':'2','key':'$b','mod_revision':'2','version':'1'}],'more':true}"},
		{"enum number", "/v3/kv/range", `{'key':'$','range_end':'$*','limit':1,'sort_order':2,'keys_only':true}`, ok, "{'count':'2','header':{'revision':'2'},'kvs':[{'create_revision':'2','key':'$b','mod_revision':'2','version':'1'}],'more':true}"},
		{"unknown fields are ignored", "/v3/kv/range", `{'key':'$x','nonsense':{'a':[1]}}`, ok, "{'header':{'revision':'2'}}"},
		{"put", "/v3/kv/put", `{'key':'$c','value':'%3'}`, ok, "{'header':{'revision':'3'}}"},
		{"put with previous record", "/v3/kv/put", `{'key':'$a','value':'%3','prev_kv':true}`, ok, "{'header':{'revision':'3'},'prev_kv':{'create_revision':'1','key':'$a','mod_revision':'1','value':'1','version':'1'}}"},
		{"delete", "/v3/kv/deleterange", `{'key':'$a'}`, ok, "{'deleted':'1','header':{'revision':'3'}}"},
		{"delete of nothing", "/v3/kv/deleterange", `{'key':'$x'}`, ok, "{'header':{'revision':'2'}}"},
		{"txn", "/v3/kv/txn", `{'compare':[{'key':'$a','target':'VALUE','value':'%1'}],'success':[{'request_put':{'key':'$c','value':'%3'}},{'request_range':{'key':'$x'}}]}`, ok, "{'header':{'revision':'3'},'responses':[{'response_put':{'header':{'revision':'3'}}},{'response_range':{'header':{'revision':'3'}}}],'succeeded':true}"},
		{"txn that fails omits succeeded", "/v3/kv/txn", `{'compare':[{'key':'$a','target':'VERSION','result':'GREATER','version':'5'}],'failure':[{'request_delete_range':{'key':'$x'}}]}`, ok, "{'header':{'revision':'2'},'responses':[{'response_delete_range':{'header':{'revision':'2'}}}]}"},
		{"nested txn has an empty header", "/v3/kv/txn", `{'success':[{'request_txn':{}}]}`, ok, "{'header':{'revision':'2'},'responses':[{'response_txn':{'header':{},'succeeded':true}}],'succeeded':true}"},
		{"v3beta is v3", "/v3beta/kv/range", `{'key':'$x'}`, ok, "{'header':{'revision':'2'}}"},
		{"time to live of an unknown lease", "/v3/lease/timetolive", `{'ID':'9000000000000000001'}`, ok, "{'ID':'9000000000000000001','TTL':'-1','header':{'revision':'2'}}"},
		{"time to live, other path", "/v3/kv/lease/timetolive", `{'ID':'9000000000000000001'}`, ok, "{'ID':'9000000000000000001','TTL':'-1','header':{'revision':'2'}}"},
		{"alarms", "/v3/maintenance/alarm", `{}`, ok, "{'header':{'revision':'2'}}"},
		{"defragment", "/v3/maintenance/defragment", ``, ok, "{}"},
		{"error: empty key", "/v3/kv/range", `{}`, 400, "{'code':3,'message':'etcdserver: key is not provided'}"},
		{"error: empty body is the empty message", "/v3/kv/put", ``, 400, "{'code':3,'message':'etcdserver: key is not provided'}"},
		{"error: future revision", "/v3/kv/range", `{'key':'$a','revision':'9000000000000000000'}`, 400, "{'code':11,'message':'etcdserver: mvcc: required revision is a future revision'}"},
		{"error: future compaction", "/v3/kv/compaction", `{'revision':9000000000000000000}`, 400, "{'code':11,'message':'etcdserver: mvcc: required revision is a future revision'}"},
		{"error: unknown lease of a put", "/v3/kv/put", `{'key':'$a','lease':'9000000000000000001'}`, 404, "{'code':5,'message':'etcdserver: requested lease not found'}"},
		{"error: revoke of an unknown lease", "/v3/lease/revoke", `{'ID':9000000000000000001}`, 404, "{'code':5,'message':'etcdserver: requested lease not found'}"},
		{"error: duplicate keys", "/v3/kv/txn", `{'success':[{'request_put':{'key':'$a'}},{'request_put':{'key':'$a'}}]}`, 400, "{'code':3,'message':'etcdserver: duplicate key given in txn request'}"},
		{"error: unknown path", "/v3/kv/nothing", `{}`, 404, "{'code':5,'message':'Not Found'}"},
		{"error: no range stream", "/v3/kv/rangestream", `{}`, 404, "{'code':5,'message':'Not Found'}"},
		{"error: cut json", "/v3/kv/range", `{'key'`, 400, "{'code':3,'message':'unexpected EOF'}"},
	}
}

func httpUnaryCases() []testCase {
	cases := []testCase{
		{name: "url-safe base64", run: func(e *env) {
			key := base64.URLEncoding.EncodeToString([]byte(e.prefix + "\xfb\xff"))
			e.equal("status", e.call(http.MethodPost, "/v3/kv/put", `{"key":"`+key+`"}`).status, 200)
			e.equal("state", e.state(), "\xfb\xff= c1 m1 v1")
		}},
		{name: "grant, list, revoke", run: httpLease},
		{name: "status", run: func(e *env) {
			a := e.post("/v3/maintenance/status", `{}`)
			var status map[string]any
			e.ok(json.Unmarshal([]byte(a.body), &status))
			e.equal("storage version", status["storageVersion"], any("3.7.0"))
			e.equal("quota", status["dbSizeQuota"], any("2147483648"))
			e.equal("downgrade info", status["downgradeInfo"], any(map[string]any{}))
		}},
		{name: "hash is a number", run: func(e *env) {
			var hash map[string]any
			e.ok(json.Unmarshal([]byte(e.post("/v3/maintenance/hashkv", `{}`).body), &hash))
			_, isNumber := hash["hash"].(float64)
			_, isText := hash["hash_revision"].(string)
			e.isTrue("hash is a number, the revision a string", isNumber && isText)
		}},
		{name: "members", run: func(e *env) {
			var list struct{ Members []struct{ ID, Name string } }
			e.ok(json.Unmarshal([]byte(e.post("/v3/cluster/member/list", `{}`).body), &list))
			e.equal("members", len(list.Members), max(1, e.target.Members))
			self := struct{ ID, Name string }{ID: fmt.Sprint(e.member())}
			for _, m := range list.Members {
				if m.ID == self.ID {
					self = m
				}
			}
			e.isTrue("this member is among them", self.Name != "")
		}},
		{name: "error: unknown member", settled: true, run: func(e *env) {
			want := "{'code':9,'message':'etcdserver: bad leader transferee'}"
			if e.target.Follower {
				want = "{'code':9,'message':'etcdserver: not leader'}"
			}
			a := e.post("/v3/maintenance/transfer-leadership", `{'targetID':'12345'}`)
			e.equal("status", a.status, 400)
			e.equal("body", e.decode(a.body), want)
		}},
		{name: "content type", run: func(e *env) {
			a := e.post("/v3/kv/range", `{'key':'$a'}`)
			e.equal("content type", a.header.Get("Content-Type"), "application/json")
			e.equal("metadata", a.header.Get("Grpc-Metadata-Content-Type"), "application/grpc")
			e.isTrue("no newline", !strings.HasSuffix(a.body, "\n"))
		}},
		{name: "an error is json too", run: func(e *env) {
			a := e.post("/v3/kv/range", `{}`)
			e.equal("content type", a.header.Get("Content-Type"), "application/json")
		}},
		{name: "the request's content type is not checked", run: func(e *env) {
			a := e.call(http.MethodPost, "/v3/kv/range", e.json(`{'key':'$a'}`), "Content-Type", "text/plain")
			e.equal("status", a.status, 200)
		}},
		{name: "token is ignored while auth is off", run: func(e *env) {
			a := e.call(http.MethodPost, "/v3/kv/range", e.json(`{'key':'$a'}`), "Authorization", "garbage")
			e.equal("status", a.status, 200)
		}},
		{name: "hasleader", settled: true, run: func(e *env) {
			a := e.call(http.MethodPost, "/v3/kv/range", e.json(`{'key':'$a'}`), "Grpc-Metadata-Hasleader", "true")
			e.equal("status", a.status, 200)
		}},
		{name: "wrong method", run: func(e *env) {
			a := e.call(http.MethodGet, "/v3/kv/range", "")
			e.equal("status", a.status, 501)
			e.equal("body", e.decode(a.body), "{'code':12,'message':'Method Not Allowed'}")
		}},
		{name: "v3alpha is gone", run: func(e *env) {
			a := e.post("/v3alpha/kv/range", `{}`)
			e.equal("status", a.status, 404)
			e.equal("body", a.body, "404 page not found\n")
		}},
	}
	for _, row := range httpRows() {
		cases = append(cases, testCase{name: row.name, run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.mustPut(put("b", "2"))
			a := e.post(row.path, row.body)
			e.equal("body", e.decode(a.body), row.want)
			e.equal("status", a.status, row.status)
		}})
	}
	return cases
}

func httpLease(e *env) {
	a := e.post("/v3/lease/grant", `{'TTL':'60','ID':'4242'}`)
	e.revokeAtEnd(4242)
	e.equal("grant", e.decode(a.body), "{'ID':'4242','TTL':'60','header':{'revision':'0'}}")
	e.mustPut(&pb.PutRequest{Key: []byte("a"), Lease: 4242})
	e.isTrue("listed", strings.Contains(e.decode(e.post("/v3/kv/lease/leases", `{}`).body), "{'ID':'4242'}"))
	e.equal("revoke", e.decode(e.post("/v3/kv/lease/revoke", `{'ID':4242}`).body), "{'header':{'revision':'2'}}")
	e.equal("state", e.state(), "")
}

func httpStreamCases() []testCase {
	return []testCase{
		{name: "watch: created, then events", run: func(e *env) {
			lines := e.lines("/v3/watch", `{'create_request':{'key':'$a'}}`)
			e.equal("created", e.nextLine(lines), "{'result':{'created':true,'header':{'revision':'0'}}}")
			e.mustPut(put("a", "1"))
			e.equal("event", e.nextLine(lines), "{'result':{'events':[{'kv':{'create_revision':'1','key':'$a','mod_revision':'1','value':'1','version':'1'}}],'header':{'revision':'1'}}}")
			e.mustDelete(del("a", ""))
			e.equal("event", e.nextLine(lines), "{'result':{'events':[{'kv':{'key':'$a','mod_revision':'2'},'type':'DELETE'}],'header':{'revision':'2'}}}")
		}},
		{name: "watch: two requests in one body", run: func(e *env) {
			lines := e.lines("/v3/watch", `{'create_request':{'key':'$a'}}{'create_request':{'key':'$b'}}`)
			e.equal("first", e.nextLine(lines), "{'result':{'created':true,'header':{'revision':'0'}}}")
			e.equal("second", e.nextLine(lines), "{'result':{'created':true,'header':{'revision':'0'},'watch_id':'1'}}")
		}},
		{name: "watch: refused", run: func(e *env) {
			lines := e.lines("/v3/watch", `{'create_request':{'key':'$b','range_end':'$a'}}`)
			e.equal("line", e.nextLine(lines), "{'result':{'cancel_reason':'mvcc: watcher range is empty','canceled':true,'created':true,'header':{'revision':'0'},'watch_id':'-1'}}")
		}},
		{name: "keep alive: ends after its answers", run: func(e *env) {
			e.mustGrant(&pb.LeaseGrantRequest{ID: 4343, TTL: 60})
			a := e.post("/v3/lease/keepalive", `{'ID':'4343'} {'ID':'9000000000000000001'}`)
			got := strings.Split(strings.TrimSuffix(a.body, "\n"), "\n")
			e.equal("lines", len(got), 2)
			e.equal("first", e.decode(got[0]), "{'result':{'ID':'4343','TTL':'60','header':{'revision':'0'}}}")
			e.equal("second", e.decode(got[1]), "{'result':{'ID':'9000000000000000001','header':{'revision':'0'}}}")
		}},
		{name: "keep alive: a body that is not json ends without lines", run: func(e *env) {
			a := e.post("/v3/lease/keepalive", `nonsense`)
			e.equal("status", a.status, 200)
			e.equal("body", a.body, "")
		}},
		{name: "snapshot: lines of base64", run: func(e *env) {
			e.mustPut(put("a", strings.Repeat("x", 64<<10))) // more than one line
			lines := e.lines("/v3/maintenance/snapshot", `{}`)
			e.isTrue("a line", lines.Scan())
			var line struct {
				Result struct {
					Blob, Version  string
					RemainingBytes string `json:"remaining_bytes"`
				}
			}
			e.ok(json.Unmarshal(lines.Bytes(), &line))
			blob, err := base64.StdEncoding.DecodeString(line.Result.Blob)
			e.ok(err)
			e.equal("bytes", len(blob), 32<<10)
			e.equal("version", line.Result.Version, "3.7.0")
		}},
		{name: "wrong method", run: func(e *env) {
			a := e.call(http.MethodGet, "/v3/watch", "")
			e.isTrue("refused", a.status == 501 || a.status == 405)
		}},
	}
}

// lines opens a stream and reads it line by line; it is closed with the case.
func (e *env) lines(path, body string) *bufio.Scanner {
	e.Helper()
	resp := e.open(http.MethodPost, path, e.json(body))
	e.Cleanup(func() { _ = resp.Body.Close() })
	e.equal("status", resp.StatusCode, 200)
	return scan(resp)
}

// scan reads the lines of an answer.
func scan(resp *http.Response) *bufio.Scanner {
	scanner := bufio.NewScanner(resp.Body)
	scanner.Buffer(nil, 1<<20)
	return scanner
}

func (e *env) nextLine(lines *bufio.Scanner) string {
	e.Helper()
	if !lines.Scan() {
		e.Fatalf("the stream ended: %v", lines.Err())
	}
	return e.decode(lines.Text())
}

func httpPlainCases() []testCase {
	return []testCase{
		{name: "health", run: func(e *env) { e.page("/health", 200, `{"health":"true","reason":""}`) }},
		{name: "health, serializable", run: func(e *env) { e.page("/health?serializable=true", 200, `{"health":"true","reason":""}`) }},
		{name: "health, wrong method", run: func(e *env) {
			a := e.call(http.MethodPost, "/health", "")
			e.equal("status", a.status, 405)
			e.equal("allow", a.header.Get("Allow"), "GET")
		}},
		{name: "livez", run: func(e *env) { e.page("/livez", 200, "ok\n") }},
		{name: "livez, verbose", run: func(e *env) { e.page("/livez?verbose", 200, "[+]serializable_read ok\nok\n") }},
		{name: "livez, one check", run: func(e *env) { e.page("/livez/serializable_read", 200, "ok\n") }},
		{name: "livez, unknown check", run: func(e *env) { e.equal("status", e.call(http.MethodGet, "/livez/nothing", "").status, 404) }},
		{name: "livez, wrong method", run: func(e *env) {
			a := e.call(http.MethodPost, "/livez", "")
			e.equal("status", a.status, 405)
			e.equal("allow", a.header.Get("Allow"), "GET")
		}},
		{name: "readyz", run: func(e *env) {
			e.page("/readyz", 200, "ok\n")
			header := e.call(http.MethodGet, "/readyz", "").header
			e.equal("content type", header.Get("Content-Type"), "text/plain; charset=utf-8")
			e.equal("nosniff", header.Get("X-Content-Type-Options"), "nosniff")
		}},
		{name: "readyz, verbose", run: func(e *env) {
			body := e.call(http.MethodGet, "/readyz?verbose=1", "").body
			for _, check := range []string{"data_corruption", "serializable_read", "linearizable_read", "non_learner"} {
				e.isTrue(check, strings.Contains(body, "[+]"+check+" ok\n"))
			}
		}},
		{name: "readyz, excluded", run: func(e *env) {
			body := e.call(http.MethodGet, "/readyz?verbose&exclude=linearizable_read&exclude=nothing", "").body
			e.isTrue("left out", !strings.Contains(body, "linearizable_read") && strings.HasSuffix(body, "ok\n"))
		}},
		{name: "version", run: func(e *env) {
			a := e.call(http.MethodGet, "/version", "")
			e.equal("content type", a.header.Get("Content-Type"), "application/json")
			var v map[string]string
			e.ok(json.Unmarshal([]byte(a.body), &v))
			e.equal("cluster", v["etcdcluster"], "3.7.0")
			e.equal("storage", v["storage"], "3.7.0")
			e.isTrue("server", strings.HasPrefix(v["etcdserver"], "3.7."))
		}},
		{name: "version, wrong method", run: func(e *env) { e.equal("status", e.call(http.MethodPost, "/version", "").status, 405) }},
		{name: "metrics", settled: true, run: func(e *env) {
			body := e.call(http.MethodGet, "/metrics", "").body
			leads := "etcd_server_is_leader 1"
			if e.target.Follower {
				leads = "etcd_server_is_leader 0"
			}
			for _, name := range []string{"etcd_server_has_leader 1", leads, "etcd_server_proposals_committed_total ", "etcd_mvcc_db_total_size_in_bytes ", "etcd_disk_wal_fsync_duration_seconds_count "} {
				e.isTrue(name, strings.Contains(body, "\n"+name))
			}
		}},
		{name: "unknown page", run: func(e *env) { e.page("/nothing", 404, "404 page not found\n") }},
		{name: "root", run: func(e *env) { e.page("/", 404, "404 page not found\n") }},
		{name: "options on any path", run: func(e *env) {
			for _, path := range []string{"/v3/kv/range", "/health", "/nothing"} {
				a := e.call(http.MethodOptions, path, "")
				e.equal("status", a.status, 200)
				e.equal("body", a.body, "")
			}
		}},
		{name: "cross origin headers", run: func(e *env) {
			a := e.call(http.MethodPost, "/v3/kv/range", e.json(`{'key':'$a'}`), "Origin", "http://example.com")
			e.equal("origin", a.header.Get("Access-Control-Allow-Origin"), "*")
			e.equal("methods", a.header.Get("Access-Control-Allow-Methods"), "POST, GET, OPTIONS, PUT, DELETE")
			e.equal("headers", a.header.Get("Access-Control-Allow-Headers"), "accept, content-type, authorization")
		}},
	}
}

func (e *env) page(path string, status int, body string) {
	e.Helper()
	a := e.call(http.MethodGet, path, "")
	e.equal("body", a.body, body)
	e.equal("status", a.status, status)
}

// httpAlarmCases run on a fresh server: an alarm makes it unhealthy.
func httpAlarmCases() []testCase {
	return []testCase{
		{name: "health names the alarm", run: func(e *env) {
			e.Cleanup(e.clearAlarms)
			e.setAlarm(pb.AlarmRequest_ACTIVATE, 3, pb.AlarmType_NOSPACE)
			e.page("/health", 503, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n")
			e.page("/health?exclude=NOSPACE", 200, `{"health":"true","reason":""}`)
			e.page("/readyz", 200, "ok\n")
		}},
		{name: "corruption is not ready", run: func(e *env) {
			e.Cleanup(e.clearAlarms)
			e.setAlarm(pb.AlarmRequest_ACTIVATE, 3, pb.AlarmType_CORRUPT)
			e.page("/health", 503, "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n")
			a := e.call(http.MethodGet, "/readyz", "")
			e.equal("status", a.status, 503)
			e.isTrue("reason", strings.Contains(a.body, "[-]data_corruption failed: alarm activated: CORRUPT\n"))
			e.page("/livez", 200, "ok\n")
		}},
	}
}

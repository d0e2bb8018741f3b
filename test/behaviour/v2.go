package behaviour

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// v2Suites are the old keys API, for targets that have it: a real etcd 3.7 has not.
func v2Suites() []suite {
	cases := slices.Concat(v2KeyCases(), v2ListCases(), v2CheckCases(), v2TTLCases(), v2PageCases(), v2SharedCases(), v2WatchCases())
	return []suite{{name: "v2", v2: true, http: true, fresh: true, flags: []string{"--enable-v2"}, cases: cases}}
}

// v2Step is a request, "PUT /a?ttl=5 form=of&the=body", and its answer in the
// form of v2World.shows. Paths of requests and answers lie in a directory of
// the case; those of requests that begin with ^ do not. Indexes count from the
// directory's.
type v2Step struct {
	line   string
	status int
	want   string
}

// v2Case plays requests one after the other.
func v2Case(name string, steps ...v2Step) testCase {
	return testCase{name: name, run: inV2(func(w *v2World) { w.play(steps...) })}
}

// v2World is a directory of the case's own.
type v2World struct {
	*env
	dir string
}

// inV2 makes the directory and lets the case start behind it.
func inV2(run func(w *v2World)) func(e *env) {
	return func(e *env) {
		w := &v2World{env: e, dir: "/" + path.Base(e.prefix)}
		w.equal("making a directory", w.do("PUT / dir=true").status, http.StatusCreated)
		e.base = e.revision()
		run(w)
	}
}

func (w *v2World) play(steps ...v2Step) {
	w.Helper()
	for _, s := range steps {
		got := w.do(s.line)
		if shown := w.shows(got.body); got.status != s.status || shown != s.want {
			w.Errorf("%s\n got %d %s\nwant %d %s", s.line, got.status, shown, s.status, s.want)
		}
	}
}

// do sends a request.
func (w *v2World) do(line string) answer {
	w.Helper()
	method, url, body, headers := w.request(line)
	return w.call(method, url, body, headers...)
}

func (w *v2World) request(line string) (method, url, body string, headers []string) {
	parts := strings.SplitN(line, " ", 3)
	url, absolute := strings.CutPrefix(parts[1], "^")
	if !absolute {
		url = "/v2/keys" + w.dir + url
	}
	if len(parts) < 3 {
		return parts[0], url, "", nil
	}
	return parts[0], url, parts[2], []string{"Content-Type", "application/x-www-form-urlencoded"}
}

// ttlStep is what times to live are rounded up to, so that a slow case sees no
// time pass.
const ttlStep = 50

// v2Node is a file or a directory as answers show it.
type v2Node struct {
	Key           string   `json:"key"`
	Value         *string  `json:"value"`
	Dir           bool     `json:"dir"`
	Expiration    string   `json:"expiration"`
	TTL           int64    `json:"ttl"`
	Nodes         []v2Node `json:"nodes"`
	ModifiedIndex int64    `json:"modifiedIndex"`
	CreatedIndex  int64    `json:"createdIndex"`
}

// v2Answer is an event, or an error.
type v2Answer struct {
	Action   string  `json:"action"`
	Node     *v2Node `json:"node"`
	PrevNode *v2Node `json:"prevNode"`

	ErrorCode int    `json:"errorCode"`
	Message   string `json:"message"`
	Cause     string `json:"cause"`
	Index     int64  `json:"index"`
}

// shows writes an event as "set /a=x m2 c1, was /a=y m1 c1", a directory as
// "/d/ m1 c1 (what is in it; …)" and an error as "105 Key already exists: /a
// at 1", one without a code as its message; anything else stays as it is.
func (w *v2World) shows(body string) string {
	w.Helper()
	var a v2Answer
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&a) != nil {
		return strings.TrimSuffix(body, "\n")
	}
	if a.ErrorCode != 0 {
		text := fmt.Sprintf("%d %s: %s", a.ErrorCode, a.Message, w.below(a.Cause))
		if a.Index != 0 {
			text += fmt.Sprintf(" at %d", a.Index-w.base)
		}
		return text
	}
	text := a.Action + a.Message
	if a.Node != nil {
		text += " " + w.node(*a.Node)
	}
	if a.PrevNode != nil {
		text += ", was " + w.node(*a.PrevNode)
	}
	return text
}

// below is a path without the case's directory.
func (w *v2World) below(name string) string {
	if name == w.dir {
		return "/"
	}
	return strings.TrimPrefix(name, w.dir)
}

func (w *v2World) node(n v2Node) string {
	text := w.below(n.Key)
	if n.Dir {
		text = strings.TrimSuffix(text, "/") + "/"
	}
	if n.Value != nil {
		text += "=" + *n.Value
	}
	text += fmt.Sprintf(" m%d c%d", n.ModifiedIndex-w.base, n.CreatedIndex-w.base)
	if n.TTL != 0 {
		text += fmt.Sprintf(" ttl%d", (n.TTL+ttlStep-1)/ttlStep*ttlStep)
	}
	if (n.Expiration != "") != (n.TTL != 0) {
		text += " expires at " + n.Expiration
	}
	if len(n.Nodes) == 0 {
		return text
	}
	var inside []string
	for _, child := range n.Nodes {
		inside = append(inside, w.node(child))
	}
	return text + " (" + strings.Join(inside, "; ") + ")"
}

func v2KeyCases() []testCase {
	return []testCase{
		v2Case("set makes a file",
			v2Step{"PUT /a value=x", 201, "set /a=x m1 c1"},
			v2Step{"GET /a", 200, "get /a=x m1 c1"}),
		v2Case("set over a file shows what was there",
			v2Step{"PUT /a value=x", 201, "set /a=x m1 c1"},
			v2Step{"PUT /a value=y", 200, "set /a=y m2 c1, was /a=x m1 c1"}),
		v2Case("set without a value is the empty value", v2Step{"PUT /a", 201, "set /a= m1 c1"}),
		v2Case("set: the body comes before the query", v2Step{"PUT /a?value=q value=b", 201, "set /a=b m1 c1"}),
		v2Case("set makes the directories above, which stay",
			v2Step{"PUT /d/e/f value=x", 201, "set /d/e/f=x m1 c1"},
			v2Step{"GET /d", 200, "get /d/ m1 c1 (/d/e/ m1 c1)"},
			v2Step{"DELETE /d/e/f", 200, "delete /d/e/f m2 c1, was /d/e/f=x m1 c1"},
			v2Step{"GET /d/e", 200, "get /d/e/ m1 c1"}),
		v2Case("set a directory",
			v2Step{"PUT /d dir=true", 201, "set /d/ m1 c1"},
			v2Step{"PUT /d dir=true", 403, "102 Not a file: /d at 1"},
			v2Step{"PUT /d value=x", 403, "102 Not a file: /d at 1"}),
		v2Case("set a directory over a file",
			v2Step{"PUT /a value=x", 201, "set /a=x m1 c1"},
			v2Step{"PUT /a dir=true", 200, "set /a/ m2 c2, was /a=x m1 c1"}),
		v2Case("set in a file",
			v2Step{"PUT /a value=x", 201, "set /a=x m1 c1"},
			v2Step{"PUT /a/b value=x", 400, "104 Not a directory: /a at 1"}),
		v2Case("set without showing values", v2Step{"PUT /a?noValueOnSuccess=true value=x", 201, "set"}),
		v2Case("create",
			v2Step{"PUT /a?prevExist=false value=x", 201, "create /a=x m1 c1"},
			v2Step{"PUT /a?prevExist=false value=x", 412, "105 Key already exists: /a at 1"},
			v2Step{"PUT /a?prevExist=false&prevValue=x value=y", 412, "105 Key already exists: /a at 1"}),
		v2Case("create a directory",
			v2Step{"PUT /d?prevExist=false&dir=true", 201, "create /d/ m1 c1"},
			v2Step{"PUT /d?prevExist=false&dir=true", 412, "105 Key already exists: /d at 1"}),
		v2Case("update",
			v2Step{"PUT /a?prevExist=true value=x", 404, "100 Key not found: /a at 0"},
			v2Step{"PUT /a value=x", 201, "set /a=x m1 c1"},
			v2Step{"PUT /a?prevExist=true value=y", 200, "update /a=y m2 c1, was /a=x m1 c1"}),
		v2Case("update of a directory",
			v2Step{"PUT /d/x value=1", 201, "set /d/x=1 m1 c1"},
			v2Step{"PUT /d?prevExist=true value=x", 403, "102 Not a file: /d at 1"},
			v2Step{"PUT /d?prevExist=true", 200, "update /d/ m2 c1, was /d/ m1 c1"},
			v2Step{"GET /d/x", 200, "get /d/x=1 m1 c1"}),
		v2Case("compare and swap: the value",
			v2Step{"PUT /a?prevValue=x value=y", 404, "100 Key not found: /a at 0"},
			v2Step{"PUT /a value=one", 201, "set /a=one m1 c1"},
			v2Step{"PUT /a?prevValue=two value=y", 412, "101 Compare failed: [two != one] at 1"},
			v2Step{"PUT /a?prevValue=one value=y", 200, "compareAndSwap /a=y m2 c1, was /a=one m1 c1"}),
		{name: "compare and swap: the index", run: inV2(func(w *v2World) {
			w.do("PUT /a value=one")
			w.play(
				v2Step{"PUT /a?prevIndex=1 value=y", 412, fmt.Sprintf("101 Compare failed: [1 != %d] at 1", w.base+1)},
				v2Step{"PUT /a?prevIndex=1&prevValue=two value=y", 412, fmt.Sprintf("101 Compare failed: [two != one] [1 != %d] at 1", w.base+1)},
				v2Step{fmt.Sprintf("PUT /a?prevIndex=%d value=y", w.base+1), 200, "compareAndSwap /a=y m2 c1, was /a=one m1 c1"},
			)
		})},
		v2Case("compare and swap of a directory",
			v2Step{"PUT /d dir=true", 201, "set /d/ m1 c1"},
			v2Step{"PUT /d?prevValue=x value=y", 403, "102 Not a file: /d at 1"}),
		v2Case("delete",
			v2Step{"DELETE /a", 404, "100 Key not found: /a at 0"},
			v2Step{"PUT /a value=x", 201, "set /a=x m1 c1"},
			v2Step{"DELETE /a", 200, "delete /a m2 c1, was /a=x m1 c1"},
			v2Step{"GET /a", 404, "100 Key not found: /a at 2"}),
		v2Case("delete a directory",
			v2Step{"PUT /d/x value=1", 201, "set /d/x=1 m1 c1"},
			v2Step{"DELETE /d", 403, "102 Not a file: /d at 1"},
			v2Step{"DELETE /d?dir=true", 403, "108 Directory not empty: /d at 1"},
			v2Step{"DELETE /d/x", 200, "delete /d/x m2 c1, was /d/x=1 m1 c1"},
			v2Step{"DELETE /d?dir=true", 200, "delete /d/ m3 c1, was /d/ m1 c1"}),
		v2Case("delete a directory and all that is in it",
			v2Step{"PUT /d/x/y value=1", 201, "set /d/x/y=1 m1 c1"},
			v2Step{"DELETE /d?recursive=true", 200, "delete /d/ m2 c1, was /d/ m1 c1"},
			v2Step{"GET /d/x", 404, "100 Key not found: /d at 2"}),
		v2Case("compare and delete: the value",
			v2Step{"PUT /a value=one", 201, "set /a=one m1 c1"},
			v2Step{"DELETE /a?prevValue=two", 412, "101 Compare failed: [two != one] at 1"},
			v2Step{"DELETE /a?prevValue=one", 200, "compareAndDelete /a m2 c1, was /a=one m1 c1"}),
		{name: "compare and delete: the index", run: inV2(func(w *v2World) {
			w.do("PUT /a value=one")
			w.play(
				v2Step{"DELETE /a?prevIndex=1", 412, fmt.Sprintf("101 Compare failed: [1 != %d] at 1", w.base+1)},
				v2Step{fmt.Sprintf("DELETE /a?prevIndex=%d", w.base+1), 200, "compareAndDelete /a m2 c1, was /a=one m1 c1"},
			)
		})},
		v2Case("compare and delete of a directory",
			v2Step{"PUT /d dir=true", 201, "set /d/ m1 c1"},
			v2Step{"DELETE /d?prevIndex=4&recursive=true&dir=true", 403, "102 Not a file: /d at 1"}),
		{name: "keys in order", run: inV2(func(w *v2World) {
			name := func(n int64) string { return fmt.Sprintf("/q/%020d", w.base+n) }
			w.play(
				v2Step{"POST /q value=x", 201, "create " + name(1) + "=x m1 c1"},
				v2Step{"POST /q value=y", 201, "create " + name(2) + "=y m2 c2"},
				v2Step{"POST /q dir=true", 201, "create " + name(3) + "/ m3 c3"},
				v2Step{"GET /q?sorted=true", 200, "get /q/ m1 c1 (" + name(1) + "=x m1 c1; " + name(2) + "=y m2 c2; " + name(3) + "/ m3 c3)"},
			)
		})},
		v2Case("the root is read only",
			v2Step{"PUT ^/v2/keys/ value=x", 400, "107 Root is read only: / at 0"},
			v2Step{"DELETE ^/v2/keys/?dir=true&recursive=true", 400, "107 Root is read only: / at 0"}),
	}
}

func v2ListCases() []testCase {
	fill := []v2Step{
		{"PUT /b/z value=1", 201, "set /b/z=1 m1 c1"},
		{"PUT /b/a/q value=2", 201, "set /b/a/q=2 m2 c2"},
		{"PUT /b-x value=3", 201, "set /b-x=3 m3 c3"},
		{"PUT /b/_h/v value=4", 201, "set /b/_h/v=4 m4 c4"},
		{"PUT /b/_h/_w value=5", 201, "set /b/_h/_w=5 m5 c5"},
	}
	list := func(name string, steps ...v2Step) testCase { return v2Case(name, slices.Concat(fill, steps)...) }
	return []testCase{
		list("a list shows one level", v2Step{"GET /b?sorted=true", 200, "get /b/ m1 c1 (/b/a/ m2 c2; /b/z=1 m1 c1)"}),
		list("a sorted list", v2Step{"GET /?sorted=true", 200, "get / m0 c0 (/b/ m1 c1; /b-x=3 m3 c3)"}),
		list("a recursive list", v2Step{"GET /b?sorted=true&recursive=true", 200, "get /b/ m1 c1 (/b/a/ m2 c2 (/b/a/q=2 m2 c2); /b/z=1 m1 c1)"}),
		list("hidden nodes are shown to those who name them",
			v2Step{"GET /b/_h", 200, "get /b/_h/ m4 c4 (/b/_h/v=4 m4 c4)"},
			v2Step{"GET /b/_h/_w", 200, "get /b/_h/_w=5 m5 c5"}),
		list("with a quorum", v2Step{"GET /b/z?quorum=true", 200, "get /b/z=1 m1 c1"}),
		list("the first of the path that is missing is named",
			v2Step{"GET /b/z/k", 400, "104 Not a directory: /b/z at 5"},
			v2Step{"GET /c/d/e", 404, "100 Key not found: /c at 5"},
			v2Step{"GET /b/c/e", 404, "100 Key not found: /b/c at 5"}),
	}
}

// v2CheckCases: what is wrong with a request.
func v2CheckCases() []testCase {
	bad := func(field string) string { return `209 Invalid field: invalid value for "` + field + `"` }
	rows := []struct{ line, want string }{
		{"PUT /a?prevIndex=x", `203 The given index in POST form is not a number: invalid value for "prevIndex"`},
		{"GET /a?waitIndex=-1", `203 The given index in POST form is not a number: invalid value for "waitIndex"`},
		{"GET /a?recursive=q", bad("recursive")},
		{"GET /a?sorted=", bad("sorted")},
		{"GET /a?wait=2", bad("wait")},
		{"GET /a?dir=2", bad("dir")},
		{"GET /a?quorum=2", bad("quorum")},
		{"GET /a?stream=2", bad("stream")},
		{"PUT /a?noValueOnSuccess=q", bad("noValueOnSuccess")},
		{"PUT /a?prevExist=q", "209 Invalid field: invalid value for prevExist"},
		{"PUT /a?refresh=q", "209 Invalid field: invalid value for refresh"},
		{"PUT /a?wait=true", `209 Invalid field: "wait" can only be used with GET requests`},
		{"PUT /a?prevValue=", `201 PrevValue is Required in POST form: "prevValue" cannot be empty`},
		{"PUT /a?ttl=x", `202 The given TTL in POST form is not a number: invalid value for "ttl"`},
		{"PUT /a?ttl=-1", `202 The given TTL in POST form is not a number: invalid value for "ttl"`},
		{"PUT /a?refresh=true&value=x", "211 Value provided on refresh: A value was provided on a refresh"},
		{"PUT /a?refresh=true", "212 A TTL must be provided on refresh: No TTL value set"},
	}
	var cases []testCase
	for _, row := range rows {
		cases = append(cases, v2Case("wrong: "+row.line, v2Step{row.line, 400, row.want}))
	}
	return cases
}

// v2PageCases are about headers, and what is not a key.
func v2PageCases() []testCase {
	return []testCase{
		{name: "headers", run: inV2(func(w *v2World) {
			a := w.do("PUT /a value=x")
			w.equal("content type", a.header.Get("Content-Type"), "application/json")
			w.equal("index", a.header.Get("X-Etcd-Index"), fmt.Sprint(w.base+1))
			for _, name := range []string{"X-Etcd-Cluster-Id", "X-Raft-Index", "X-Raft-Term"} {
				w.isTrue(name, a.header.Get(name) != "")
			}
			w.equal("index of an error", w.do("GET /b").header.Get("X-Etcd-Index"), fmt.Sprint(w.base+1))
		})},
		{name: "methods", run: inV2(func(w *v2World) {
			w.equal("patch", w.do("PATCH /a").status, 405)
			w.equal("other path", w.do("GET ^/v2/keysx").status, 404)
			w.do("PUT /a value=x")
			head := w.do("HEAD /a")
			w.equal("head", head.status, 200)
			w.equal("its body", head.body, "")
		})},
		{name: "members", run: inV2(func(w *v2World) {
			var list struct {
				Members []struct {
					ID, Name             string
					PeerURLs, ClientURLs []string
				}
			}
			w.ok(json.Unmarshal([]byte(w.do("GET ^/v2/members").body), &list))
			w.equal("members", len(list.Members), max(1, w.target.Members))
			ids := make(map[string]bool)
			for _, m := range list.Members {
				ids[m.ID] = m.Name != "" && len(m.PeerURLs) > 0 && len(m.ClientURLs) > 0
			}
			w.isTrue("this one is among them", ids[fmt.Sprintf("%x", w.member())])
			var leader struct{ ID string }
			w.ok(json.Unmarshal([]byte(w.do("GET ^/v2/members/leader").body), &leader))
			w.isTrue("so is the leader", ids[leader.ID])
			w.play(
				v2Step{"GET ^/v2/members/other", 404, "Not found"},
				v2Step{"DELETE ^/v2/members/77", 404, "No such member: 77"},
			)
			w.equal("addresses", strings.Count(w.do("GET ^/v2/machines").body, "http://"), max(1, w.target.Members))
		})},
		{name: "statistics", run: inV2(func(w *v2World) {
			w.do("PUT /a value=x")
			var store struct{ SetsSuccess int }
			w.ok(json.Unmarshal([]byte(w.do("GET ^/v2/stats/store").body), &store))
			w.isTrue("writes are counted", store.SetsSuccess > 0)
			var self struct{ ID, State string }
			w.ok(json.Unmarshal([]byte(w.do("GET ^/v2/stats/self").body), &self))
			state, status := "StateLeader", 200
			if w.target.Follower {
				state, status = "StateFollower", 403
			}
			w.equal("self", self, struct{ ID, State string }{fmt.Sprintf("%x", w.member()), state})
			w.equal("of the leader", w.do("GET ^/v2/stats/leader").status, status)
		})},
		v2Case("authentication is off",
			v2Step{"GET ^/v2/auth/enable", 200, `{"enabled":false}`},
			v2Step{"PUT ^/v2/auth/users/x", 501, "auth: users and roles of the v2 API are not supported, use those of the v3 API"}),
	}
}

// v2SharedCases: the keys are those of the v3 API.
func v2SharedCases() []testCase {
	return []testCase{
		{name: "a file is a key of v3", run: inV2(func(w *v2World) {
			w.do("PUT /d/f value=x")
			got, err := w.kv.Range(w.ctx, &pb.RangeRequest{Key: []byte("/v2" + w.dir + "/d/f")})
			w.ok(err)
			w.equal("keys", len(got.Kvs), 1)
			w.equal("value", string(got.Kvs[0].Value), "x")
			w.equal("revision", got.Kvs[0].ModRevision-w.base, int64(1))
		})},
		{name: "a key of v3 is a file", run: inV2(func(w *v2World) {
			_, err := w.kv.Put(w.ctx, &pb.PutRequest{Key: []byte("/v2" + w.dir + "/d/f"), Value: []byte("x")})
			w.ok(err)
			w.play(
				v2Step{"GET /d/f", 200, "get /d/f=x m1 c1"},
				v2Step{"GET /d", 200, "get /d/ m1 c1 (/d/f=x m1 c1)"},
				v2Step{"DELETE /d/f", 200, "delete /d/f m2 c1, was /d/f=x m1 c1"},
			)
		})},
		{name: "a lease of v3 is a time to live", run: inV2(func(w *v2World) {
			w.mustGrant(&pb.LeaseGrantRequest{ID: 4545, TTL: 600})
			w.revokeAtEnd(4545)
			_, err := w.kv.Put(w.ctx, &pb.PutRequest{Key: []byte("/v2" + w.dir + "/f"), Lease: 4545})
			w.ok(err)
			shown := w.shows(w.do("GET /f").body)
			w.isTrue("time to live of "+shown, strings.Contains(shown, " ttl600"))
		})},
	}
}

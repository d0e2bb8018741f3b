package behaviour

import (
	"bufio"
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// v2TTLCases: nodes that live for a while. The times are long enough to be
// shown whole, or over at once.
func v2TTLCases() []testCase {
	return []testCase{
		v2Case("time to live",
			v2Step{"PUT /a?ttl=500 value=x", 201, "set /a=x m1 c1 ttl500"},
			v2Step{"PUT /a value=y", 200, "set /a=y m2 c1, was /a=x m1 c1 ttl500"},
			v2Step{"GET /a", 200, "get /a=y m2 c1"}),
		v2Case("time to live of an update",
			v2Step{"PUT /a value=x", 201, "set /a=x m1 c1"},
			v2Step{"PUT /a?prevExist=true&ttl=500 value=y", 200, "update /a=y m2 c1 ttl500, was /a=x m1 c1"},
			v2Step{"PUT /a?prevExist=true value=z", 200, "update /a=z m3 c1, was /a=y m2 c1 ttl500"}),
		{name: "no time to live", run: inV2(func(w *v2World) {
			events := w.watchV2("/a?wait=true&stream=true")
			w.equal("status", w.do("PUT /a?ttl=0 value=x").status, 201)
			w.equal("event", w.event(events), "set /a=x")
			w.equal("event", w.event(events), "expire /a was x")
			w.equal("status", w.do("GET /a").status, 404)
		})},
		{name: "time that is over", run: inV2(func(w *v2World) {
			w.equal("status", w.do("PUT /d?dir=true&ttl=1").status, 201)
			w.do("PUT /d/a value=x")
			events := w.watchV2("/?wait=true&recursive=true")
			w.equal("event", w.event(events), "expire /d")
			w.equal("status", w.do("GET /d/a").status, 404)
		})},
		v2Case("a directory's time to live",
			v2Step{"PUT /d?dir=true&ttl=500", 201, "set /d/ m1 c1 ttl500"},
			v2Step{"PUT /d/a value=x", 201, "set /d/a=x m2 c2"},
			v2Step{"PUT /d?dir=true&ttl=600&prevExist=true", 200, "update /d/ m3 c1 ttl600, was /d/ m1 c1 ttl500"}),
		v2Case("refresh keeps the value",
			v2Step{"PUT /a?refresh=true&ttl=500", 404, "100 Key not found: /a at 0"},
			v2Step{"PUT /a?ttl=500 value=x", 201, "set /a=x m1 c1 ttl500"},
			v2Step{"PUT /a?refresh=true&ttl=600&prevExist=true", 200, "update /a=x m2 c1 ttl600, was /a=x m1 c1 ttl500"}),
		{name: "refresh wakes nobody", run: inV2(func(w *v2World) {
			w.do("PUT /a?ttl=500 value=x")
			events := w.watchV2("/a?wait=true")
			w.equal("status", w.do("PUT /a?refresh=true&ttl=600&prevExist=true").status, 200)
			w.do("PUT /a value=y")
			w.equal("event", w.event(events), "set /a=y was x")
		})},
	}
}

// watchV2 watches at a path with a query; what happens from now on is seen.
func (w *v2World) watchV2(where string) *bufio.Scanner {
	w.Helper()
	method, url, body, _ := w.request("GET " + where)
	resp := w.open(method, url, body)
	w.Cleanup(func() { _ = resp.Body.Close() })
	w.equal("status", resp.StatusCode, 200)
	w.isTrue("an index", resp.Header.Get("X-Etcd-Index") != "")
	return scan(resp)
}

// event reads the next event: "set /a=new was old".
func (w *v2World) event(events *bufio.Scanner) string {
	w.Helper()
	if !events.Scan() {
		w.Fatalf("the watch ended: %v", events.Err())
	}
	action, rest, _ := strings.Cut(w.shows(events.Text()), " ")
	node, previous, _ := strings.Cut(rest, ", was ")
	name, value, file := strings.Cut(strings.Fields(node)[0], "=")
	text := action + " " + strings.TrimSuffix(name, "/")
	if file {
		text += "=" + value
	}
	if previous == "" {
		return text
	}
	if _, old, file := strings.Cut(strings.Fields(previous)[0], "="); file {
		text += " was " + old
	}
	return text
}

func v2WatchCases() []testCase {
	return []testCase{
		{name: "wait for one event", run: inV2(func(w *v2World) {
			events := w.watchV2("/a?wait=true")
			w.do("PUT /ab value=1")
			w.do("PUT /b value=1")
			w.do("PUT /a value=1")
			w.do("PUT /a value=2")
			w.equal("event", w.event(events), "set /a=1")
			w.isTrue("the end", !events.Scan())
		})},
		{name: "wait for what is below", run: inV2(func(w *v2World) {
			events := w.watchV2("/d?wait=true&recursive=true&stream=true")
			w.do("PUT /d/e/f value=1")
			w.do("PUT /de value=1")
			w.do("PUT /d/_h value=1")
			w.do("PUT /d/x value=1")
			w.do("DELETE /d/e?recursive=true")
			for _, want := range []string{"set /d/e/f=1", "set /d/x=1", "delete /d/e"} {
				w.equal("event", w.event(events), want)
			}
		})},
		{name: "wait for something hidden", run: inV2(func(w *v2World) {
			events := w.watchV2("/d/_h?wait=true&recursive=true")
			w.do("PUT /d/_h/x value=1")
			w.equal("event", w.event(events), "set /d/_h/x=1")
		})},
		{name: "wait without recursive hears nothing from below", run: inV2(func(w *v2World) {
			events := w.watchV2("/d?wait=true")
			w.do("PUT /d/x value=1")
			w.do("DELETE /d?recursive=true")
			w.equal("event", w.event(events), "delete /d")
		})},
		{name: "wait for something in a directory that goes", run: inV2(func(w *v2World) {
			w.do("PUT /d/e/f value=1")
			events := w.watchV2("/d/e/f?wait=true")
			w.do("DELETE /d?recursive=true")
			w.equal("event", w.event(events), "delete /d")
		})},
		{name: "wait from an index of the past", run: inV2(func(w *v2World) {
			for _, value := range []string{"1", "2", "3"} {
				w.do("PUT /a value=" + value)
			}
			w.play(v2Step{fmt.Sprintf("GET /a?wait=true&waitIndex=%d", w.base+2), 200, "set /a=2 m2 c1, was /a=1 m1 c1"})
			events := w.watchV2(fmt.Sprintf("/a?wait=true&stream=true&waitIndex=%d", w.base+2))
			w.do("PUT /a value=4")
			for _, want := range []string{"set /a=2 was 1", "set /a=3 was 2", "set /a=4 was 3"} {
				w.equal("event", w.event(events), want)
			}
		})},
		{name: "wait for an index of the future", run: inV2(func(w *v2World) {
			events := w.watchV2(fmt.Sprintf("/a?wait=true&waitIndex=%d", w.base+2))
			w.do("PUT /a value=1")
			w.do("PUT /a value=2")
			w.equal("event", w.event(events), "set /a=2 was 1")
		})},
		{name: "wait for what is compacted", run: inV2(func(w *v2World) {
			w.do("PUT /a value=1")
			w.do("PUT /a value=2")
			w.mustCompact(w.base + 2)
			cause := fmt.Sprintf("the requested history has been cleared [%d/%d]", w.base+2, w.base)
			w.play(v2Step{fmt.Sprintf("GET /a?wait=true&waitIndex=%d", w.base), 400, "401 The event in requested index is outdated and cleared: " + cause + " at 2"})
		})},
		{name: "wait sees what v3 writes", run: inV2(func(w *v2World) {
			events := w.watchV2("/?wait=true&recursive=true")
			_, err := w.kv.Put(w.ctx, &pb.PutRequest{Key: []byte("/v2" + w.dir + "/d/f"), Value: []byte("x")})
			w.ok(err)
			w.equal("event", w.event(events), "set /d/f=x")
		})},
		{name: "wait whose client says when", run: inV2(func(w *v2World) {
			w.play(v2Step{"HEAD /a?wait=true", 400, ""})
			w.do("PUT /a value=x")
			w.play(v2Step{"GET /a?quorum=true&wait=true", 200, "get /a=x m1 c1"})
		})},
	}
}

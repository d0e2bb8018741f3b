package v2_test

import (
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// TestTTL: a file with a time to live.
func TestTTL(t *testing.T) {
	run(t, func(w *world) {
		w.expect(step{"PUT /v2/keys/a?ttl=10 value=x", 201, `{"action":"set","node":{"key":"/a","value":"x","expiration":"2000-01-01T00:00:10Z","ttl":10,"modifiedIndex":2,"createdIndex":2}}`})
		w.until(3500 * time.Millisecond)
		w.expect(step{"GET /v2/keys/a", 200, `{"action":"get","node":{"key":"/a","value":"x","expiration":"2000-01-01T00:00:10Z","ttl":7,"modifiedIndex":2,"createdIndex":2}}`})
		w.expect(step{"PUT /v2/keys/b?ttl=1 value=x", 201, `{"action":"set","node":{"key":"/b","value":"x","expiration":"2000-01-01T00:00:05Z","ttl":2,…`})
		w.until(10 * time.Second)
		w.expect(step{"GET /v2/keys/a", 404, `{"errorCode":100,"message":"Key not found","cause":"/a","index":5}`})
		w.expect(step{"GET /v2/keys/b", 404, ""})
	})
}

// leases are the ids of all.
func (w *world) leases() int {
	w.Helper()
	raw, err := w.member.LeaseLeases(w.Context(), nil)
	w.check(err)
	out := new(pb.LeaseLeasesResponse)
	w.check(proto.Unmarshal(raw, out))
	return len(out.Leases)
}

// TestTTLIsReplaced: a write without a time to live makes a file permanent, and no lease is left over.
func TestTTLIsReplaced(t *testing.T) {
	run(t, func(w *world) {
		w.do("PUT /v2/keys/a?ttl=10 value=x")
		w.do("PUT /v2/keys/a?ttl=20 value=x")
		if n := w.leases(); n != 1 {
			t.Errorf("%d leases", n)
		}
		w.do("PUT /v2/keys/a value=x")
		w.do("PUT /v2/keys/b?ttl=20 value=x")
		w.do("DELETE /v2/keys/b")
		w.do("PUT /v2/keys/a?ttl=5&prevValue=other value=x")
		if n := w.leases(); n != 0 {
			t.Errorf("%d leases", n)
		}
		w.until(time.Minute)
		w.expect(step{"GET /v2/keys/a", 200, `{"action":"get","node":{"key":"/a","value":"x","modifiedIndex":4,"createdIndex":2}}`})
	})
}

// TestTTLZero: what lives for no time is gone at once.
func TestTTLZero(t *testing.T) {
	run(t, func(w *world) {
		s := w.watch("GET /v2/keys/a?wait=true&stream=true")
		w.expect(step{"PUT /v2/keys/a?ttl=0 value=x", 201, `{"action":"set","node":{"key":"/a","value":"x","expiration":"2000-01-01T00:00:00Z","modifiedIndex":2,"createdIndex":2}}`})
		w.expect(step{"GET /v2/keys/a", 404, ""})
		same(t, s.events(), "set /a=x", "expire /a was x")
		s.end()
	})
}

// TestRefresh: a refresh has an index, keeps the value and wakes no watcher.
func TestRefresh(t *testing.T) {
	run(t, func(w *world) {
		w.expect(step{"PUT /v2/keys/a?refresh=true&ttl=10", 404, `{"errorCode":100,…`})
		w.do("PUT /v2/keys/a?ttl=10 value=x")
		s := w.watch("GET /v2/keys/a?wait=true&stream=true")
		old := w.watch("GET /v2/keys/a?wait=true&stream=true&waitIndex=2")
		w.expect(step{"PUT /v2/keys/a?refresh=true&ttl=20", 200, `{"action":"set","node":{"key":"/a","value":"x","expiration":"2000-01-01T00:00:20Z","ttl":20,"modifiedIndex":3,"createdIndex":2},"prevNode":{"key":"/a","value":"x","expiration":"2000-01-01T00:00:10Z","ttl":10,"modifiedIndex":2,"createdIndex":2}}`})
		w.expect(step{"PUT /v2/keys/a?refresh=true&ttl=20&prevExist=true", 200, `{"action":"update","node":{"key":"/a","value":"x",…`})
		w.expect(step{"PUT /v2/keys/a?refresh=true&ttl=20&prevIndex=4", 200, `{"action":"compareAndSwap","node":{"key":"/a","value":"x",…`})
		w.until(15 * time.Second)
		same(t, s.events())
		w.do("PUT /v2/keys/a?ttl=10 value=x")
		same(t, s.events(), "set /a=x was x")
		same(t, old.events(), "set /a=x", "set /a=x was x")
		s.end()
		old.end()
	})
}

// TestDirectoryTTL: what is in a directory goes with it, under one event.
func TestDirectoryTTL(t *testing.T) {
	run(t, func(w *world) {
		all, below := w.watch("GET /v2/keys/?wait=true&stream=true&recursive=true"), w.watch("GET /v2/keys/d/e/f?wait=true&stream=true")
		w.expect(step{"PUT /v2/keys/d?dir=true&ttl=10", 201, `{"action":"set","node":{"key":"/d","dir":true,"expiration":"2000-01-01T00:00:10Z","ttl":10,…`})
		w.do("PUT /v2/keys/d/e/f value=x")
		w.do("PUT /v2/keys/d/g?ttl=100 value=y")
		w.expect(step{"GET /v2/keys/d/e", 200, `{"action":"get","node":{"key":"/d/e","dir":true,"nodes":[{"key":"/d/e/f","value":"x","modifiedIndex":3,"createdIndex":3}],"modifiedIndex":3,"createdIndex":3}}`})
		w.until(5 * time.Second)
		w.expect(step{"PUT /v2/keys/d?dir=true&ttl=10&prevExist=true", 200, `{"action":"update","node":{"key":"/d","dir":true,"expiration":"2000-01-01T00:00:15Z","ttl":10,"modifiedIndex":5,…`})
		w.expect(step{"PUT /v2/keys/d?dir=true&ttl=12&prevExist=true&refresh=true", 200, `{"action":"update",…`})
		w.until(9 * time.Second)
		w.expect(step{"GET /v2/keys/d/e/f", 200, `{"action":"get","node":{"key":"/d/e/f","value":"x","modifiedIndex":6,"createdIndex":3}}`})
		w.until(5 * time.Second)
		w.expect(step{"GET /v2/keys/d/e/f", 404, `{"errorCode":100,"message":"Key not found","cause":"/d",…`})
		same(t, all.events(), "set /d", "set /d/e/f=x", "set /d/g=y", "update /d", "expire /d/g was y", "expire /d")
		same(t, below.events(), "set /d/e/f=x", "expire /d")
		if keys := w.keys("/v2/", "/v20"); len(keys) != 0 {
			t.Errorf("left over: %q", keys)
		}
		all.end()
		below.end()
	})
}

// TestDirectoryForEver: an update without a time to live makes the directory and what is in it permanent.
func TestDirectoryForEver(t *testing.T) {
	run(t, func(w *world) {
		w.do("PUT /v2/keys/d?dir=true&ttl=10")
		w.do("PUT /v2/keys/d/e/f value=x")
		s := w.watch("GET /v2/keys/d?wait=true&stream=true&recursive=true")
		w.expect(step{"PUT /v2/keys/d?dir=true&prevExist=true", 200, `{"action":"update","node":{"key":"/d","dir":true,"modifiedIndex":4,"createdIndex":2},…`})
		w.until(time.Minute)
		w.expect(step{"GET /v2/keys/d/e/f", 200, ""})
		same(t, s.events(), "update /d")
		if n := w.leases(); n != 0 {
			t.Errorf("%d leases", n)
		}
		s.end()
	})
}

// TestLeaseOfAnother: a lease that was not made here is shown, and never ended by what happens here.
func TestLeaseOfAnother(t *testing.T) {
	run(t, func(w *world) {
		raw, err := proto.Marshal(&pb.LeaseGrantRequest{ID: 77, TTL: 30})
		w.check(err)
		_, err = w.member.LeaseGrant(w.Context(), raw)
		w.check(err)
		w.put("/v2/a", "x", 77)
		w.expect(step{"GET /v2/keys/a", 200, `{"action":"get","node":{"key":"/a","value":"x","expiration":"2000-01-01T00:00:3…`})
		w.do("PUT /v2/keys/a value=y")
		if n := w.leases(); n != 1 {
			t.Errorf("%d leases", n)
		}
	})
}

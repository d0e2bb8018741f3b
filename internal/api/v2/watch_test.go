package v2_test

import (
	"slices"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// same compares events.
func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("events\n got %q\nwant %q", got, want)
	}
}

// TestWatchOne: a watch ends with the first event; its headers come before.
func TestWatchOne(t *testing.T) {
	run(t, func(w *world) {
		w.do("PUT /v2/keys/a value=0")
		s := w.watch("GET /v2/keys/a?wait=true")
		if h := s.rec.Result().Header; s.rec.Code != 200 || h.Get("X-Etcd-Index") != "2" || h.Get("X-Raft-Term") == "" || h.Get("X-Etcd-Cluster-Id") != "c" {
			t.Errorf("%d %v", s.rec.Code, h)
		}
		w.do("PUT /v2/keys/ab value=1")
		w.do("PUT /v2/keys/b value=1")
		same(t, s.events())
		w.do("PUT /v2/keys/a value=1")
		w.do("PUT /v2/keys/a value=2")
		<-s.done
		if got, want := s.rec.Body.String(), `{"action":"set","node":{"key":"/a","value":"1","modifiedIndex":5,"createdIndex":2},"prevNode":{"key":"/a","value":"0","modifiedIndex":2,"createdIndex":2}}`+"\n"; got != want {
			t.Error(got)
		}
	})
}

// TestWatchRecursive: what happens below, but not what is hidden, nor parents that are made.
func TestWatchRecursive(t *testing.T) {
	run(t, func(w *world) {
		deep, flat := w.watch("GET /v2/keys/a?wait=true&recursive=true&stream=true"), w.watch("GET /v2/keys/a?wait=true&stream=true")
		hidden := w.watch("GET /v2/keys/a/_h?wait=true&recursive=true&stream=true")
		w.do("PUT /v2/keys/a/b/c value=1")
		w.do("PUT /v2/keys/abc value=1")
		w.do("PUT /v2/keys/a/_h/x value=1")
		w.do("PUT /v2/keys/a/_h/_y value=1")
		w.do("PUT /v2/keys/a/d dir=true")
		w.put("/v2/a/v3", "from outside", 0)
		w.do("POST /v2/keys/a/d value=1")
		w.do("DELETE /v2/keys/a/b?recursive=true")
		same(t, deep.events(), "set /a/b/c=1", "set /a/d", "set /a/v3=from outside", "set /a/d/00000000000000000008=1", "delete /a/b")
		same(t, flat.events())
		same(t, hidden.events(), "set /a/_h/x=1")
		w.do("DELETE /v2/keys/a?recursive=true")
		same(t, flat.events(), "delete /a")
		same(t, hidden.events(), "set /a/_h/x=1", "delete /a")
		for _, s := range []*stream{deep, flat, hidden} {
			s.end()
		}
	})
}

// TestWatchAbove: who watches something in a directory hears that the directory goes.
func TestWatchAbove(t *testing.T) {
	run(t, func(w *world) {
		w.do("PUT /v2/keys/a/b/c value=1")
		there, nothing := w.watch("GET /v2/keys/a/b/c?wait=true"), w.watch("GET /v2/keys/a/b/d?wait=true")
		w.do("DELETE /v2/keys/a?recursive=true")
		same(t, there.events(), "delete /a")
		same(t, nothing.events())
		nothing.end()
	})
}

// TestWatchFileBecomesDirectory: one event.
func TestWatchFileBecomesDirectory(t *testing.T) {
	run(t, func(w *world) {
		w.do("PUT /v2/keys/a value=1")
		s := w.watch("GET /v2/keys/a?wait=true&stream=true")
		w.do("PUT /v2/keys/a dir=true")
		same(t, s.events(), "set /a was 1")
		s.end()
	})
}

// TestWaitIndex: the past is told as long as it is not compacted, and the future is waited for.
func TestWaitIndex(t *testing.T) {
	run(t, func(w *world) {
		for _, v := range []string{"1", "2", "3", "4"} {
			w.do("PUT /v2/keys/a value=" + v)
		}
		w.expect(step{"GET /v2/keys/a?wait=true&waitIndex=3", 200, `{"action":"set","node":{"key":"/a","value":"2","modifiedIndex":3,"createdIndex":2},"prevNode":{"key":"/a","value":"1","modifiedIndex":2,"createdIndex":2}}`})
		s := w.watch("GET /v2/keys/a?wait=true&waitIndex=4&stream=true")
		future := w.watch("GET /v2/keys/a?wait=true&waitIndex=7")
		w.do("PUT /v2/keys/a value=5")
		w.do("PUT /v2/keys/a value=6")
		same(t, s.events(), "set /a=3 was 2", "set /a=4 was 3", "set /a=5 was 4", "set /a=6 was 5")
		same(t, future.events(), "set /a=6 was 5")
		s.end()
		raw, err := proto.Marshal(&pb.CompactionRequest{Revision: 5})
		w.check(err)
		_, err = w.member.Compact(w.Context(), raw)
		w.check(err)
		w.expect(step{"GET /v2/keys/a?wait=true&waitIndex=3", 400, `{"errorCode":401,"message":"The event in requested index is outdated and cleared","cause":"the requested history has been cleared [5/3]","index":7}`})
		w.expect(step{"GET /v2/keys/a?wait=true&waitIndex=6", 200, ""})
	})
}

// TestDeletionIsNoExpiry: what had a time to live and is deleted is deleted, whoever looks later.
func TestDeletionIsNoExpiry(t *testing.T) {
	run(t, func(w *world) {
		w.do("PUT /v2/keys/a?ttl=10 value=1")
		s := w.watch("GET /v2/keys/a?wait=true")
		w.do("DELETE /v2/keys/a")
		same(t, s.events(), "delete /a was 1")
		w.expect(step{"GET /v2/keys/a?wait=true&waitIndex=3", 200, `{"action":"delete","node":{"key":"/a","modifiedIndex":3,"createdIndex":2},"prevNode":{…`})
		w.expect(step{"GET /v2/keys?recursive=true", 200, `{"action":"get","node":{"dir":true}}`})
	})
}

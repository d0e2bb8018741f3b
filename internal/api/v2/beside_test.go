package v2_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	v2 "github.com/quoin-kv/quoin/internal/api/v2"
)

func tokenOf(t *testing.T, raw []byte) string {
	t.Helper()
	out := new(pb.AuthenticateResponse)
	if err := proto.Unmarshal(raw, out); err != nil {
		t.Fatal(err)
	}
	return out.Token
}

// TestSameKeys: what is written here are keys of the v3 API below the prefix, and the other way round.
func TestSameKeys(t *testing.T) {
	run(t, func(w *world) {
		w.do("PUT /v2/keys/a/b value=1")
		if got, want := w.keys("/v2/", "/v20"), []string{"/v2/a/=", "/v2/a/b=1"}; !slices.Equal(got, want) {
			t.Errorf("keys %q, want %q", got, want)
		}
		for _, key := range []string{"/v2/x/y/z", "/v2/x/y/", "/v2/f", "/v2/f/hidden/by/the/file", "/v2//unclean", "/v2/q//unclean", "/v2/../unclean", "/elsewhere"} {
			w.put(key, "v3", 0)
		}
		for _, s := range []step{
			{"GET /v2/keys?recursive=true&sorted=true", 200, `{"action":"get","node":{"dir":true,"nodes":[` +
				`{"key":"/a","dir":true,"nodes":[{"key":"/a/b","value":"1","modifiedIndex":2,"createdIndex":2}],"modifiedIndex":2,"createdIndex":2},` +
				`{"key":"/f","value":"v3","modifiedIndex":5,"createdIndex":5},` +
				`{"key":"/x","dir":true,"nodes":[{"key":"/x/y","dir":true,"nodes":[{"key":"/x/y/z","value":"v3","modifiedIndex":3,"createdIndex":3}],"modifiedIndex":4,"createdIndex":4}],"modifiedIndex":4,"createdIndex":4}]}}`},
			{"GET /v2/keys/f/hidden", 400, `{"errorCode":104,"message":"Not a directory","cause":"/f",…`},
			{"GET /v2/keys/x/y/z", 200, ""},
			{"DELETE /v2/keys/x/y/z", 200, ""},
			{"DELETE /v2/keys/f", 200, ""},
			{"GET /v2/keys/f/hidden/by/the/file", 200, ""},
		} {
			w.expect(s)
		}
	})
}

// TestManyChildren: a listing of more than one page, with children that are large directories.
func TestManyChildren(t *testing.T) {
	run(t, func(w *world) {
		const children, inside = 700, 3
		for i := range children {
			for j := range inside {
				w.put(fmt.Sprintf("/v2/d/%04d/%d", i, j), "x", 0)
			}
		}
		for line, want := range map[string]int{"GET /v2/keys/d": children, "GET /v2/keys/d?recursive=true": children + children*inside} {
			if got := strings.Count(w.do(line).body, `"key"`) - 1; got != want {
				t.Errorf("%s: %d nodes, want %d", line, got, want)
			}
		}
	})
}

// TestTogether: writers of one file and of one queue at the same time lose nothing, and names are in the order of commits.
func TestTogether(t *testing.T) {
	run(t, func(w *world) {
		const writers, rounds = 8, 10
		w.do("PUT /v2/keys/n value=0")
		var wg sync.WaitGroup
		var mu sync.Mutex
		swapped := 0
		for range writers {
			wg.Go(func() {
				for range rounds {
					if a := w.do("POST /v2/keys/q value=x"); a.status != 201 {
						t.Errorf("POST: %d %s", a.status, a.body)
					}
				}
			})
			wg.Go(func() {
				for i := range rounds {
					a := w.do(fmt.Sprintf("PUT /v2/keys/n?prevValue=%d value=%d", i, i+1))
					mu.Lock()
					if a.status == 200 {
						swapped++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		out := new(pb.RangeResponse)
		raw, err := proto.Marshal(&pb.RangeRequest{Key: []byte("/v2/q/0"), RangeEnd: []byte("/v2/q0")})
		w.check(err)
		raw, err = w.member.Range(w.Context(), raw)
		w.check(err)
		w.check(proto.Unmarshal(raw, out))
		if len(out.Kvs) != writers*rounds {
			t.Errorf("%d children, want %d", len(out.Kvs), writers*rounds)
		}
		for i, kv := range out.Kvs {
			if i > 0 && kv.CreateRevision <= out.Kvs[i-1].CreateRevision {
				t.Errorf("%s was committed before %s", kv.Key, out.Kvs[i-1].Key)
			}
		}
		w.expect(step{fmt.Sprintf("GET /v2/keys/n?x=%d", swapped), 200, fmt.Sprintf(`{"action":"get","node":{"key":"/n","value":"%d",…`, swapped)})
	})
}

// between lets something happen just before a change is committed, once.
type between struct {
	v2.Store
	happens func()
}

func (b *between) Txn(ctx context.Context, raw []byte) ([]byte, error) {
	in := new(pb.TxnRequest)
	if err := proto.Unmarshal(raw, in); err != nil {
		return nil, err
	}
	if happens := b.happens; happens != nil && len(in.Compare) > 0 {
		b.happens = nil
		happens()
	}
	return b.Store.Txn(ctx, raw)
}

// TestOvertaken: what comes between the look and the commit of a change has it begin again.
func TestOvertaken(t *testing.T) {
	for _, c := range []struct {
		name, before, line string
		happens            []string
		want               step
	}{
		{
			"a later name", "PUT /v2/keys/q dir=true", "POST /v2/keys/q value=slow",
			[]string{"PUT /v2/keys/x value=1", "POST /v2/keys/q value=fast"},
			step{"", 201, `{"action":"create","node":{"key":"/q/00000000000000000005",…`},
		},
		{
			"the file", "PUT /v2/keys/a value=1", "PUT /v2/keys/a?prevValue=1 value=2",
			[]string{"PUT /v2/keys/a value=3"},
			step{"", 412, `{"errorCode":101,"message":"Compare failed","cause":"[1 != 3]","index":3}`},
		},
		{
			"a directory instead of the file", "PUT /v2/keys/b value=1", "PUT /v2/keys/a value=2",
			[]string{"PUT /v2/keys/a/b value=3"},
			step{"", 403, `{"errorCode":102,"message":"Not a file","cause":"/a","index":3}`},
		},
		{
			"a file instead of the directory", "PUT /v2/keys/a dir=true", "PUT /v2/keys/a/b value=2",
			[]string{"DELETE /v2/keys/a?dir=true", "PUT /v2/keys/a value=3"},
			step{"", 400, `{"errorCode":104,"message":"Not a directory","cause":"/a","index":4}`},
		},
		{
			"something in the directory", "PUT /v2/keys/a dir=true", "DELETE /v2/keys/a?dir=true",
			[]string{"PUT /v2/keys/a/b value=3"},
			step{"", 403, `{"errorCode":108,"message":"Directory not empty","cause":"/a","index":3}`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, func(w *world) {
				w.do(c.before)
				w.handler = handler(&between{w.member.Service, func() {
					for _, line := range c.happens {
						w.do(line)
					}
				}})
				c.want.line = c.line
				w.expect(c.want)
			})
		})
	}
}

// TestMembers: the list and its changes.
func TestMembers(t *testing.T) {
	run(t, func(w *world) {
		w.until(time.Minute) // it has said who it is
		for _, s := range []step{
			{"GET /v2/members", 200, `{"members":[{"id":"1","name":"one","peerURLs":["http://peer1:2380"],"clientURLs":["http://one:2379"]}]}`},
			{"GET /v2/members/leader", 200, `{"id":"1",…`},
			{"GET /v2/members/other", 404, `{"message":"Not found"}`},
			{"PATCH /v2/members", 405, ""},
			{"DELETE /v2/members", 405, ""},
			{"PUT /v2/members", 405, ""},
			{"DELETE /v2/members/xyz", 404, `{"message":"No such member: xyz"}`},
			{"DELETE /v2/members/77", 404, `{"message":"No such member: 77"}`},
			{"POST /v2/members {}", 415, `{"message":"Bad Content-Type application/x-www-form-urlencoded, accept application/json"}`},
			{"GET /v2/machines", 200, "http://one:2379"},
			{"GET /v2/stats/leader", 200, `{"followers":{},"leader":"1"}`},
			{"GET /v2/stats/self", 200, `{"name":"one","id":"1","state":"StateLeader",…`},
			{"POST /v2/stats/self", 405, ""},
			{"GET /v2/auth/enable", 200, `{"enabled":false}`},
			{"DELETE /v2/auth/enable", 409, `{"message":"auth: already disabled"}`},
			{"PUT /v2/auth/users/x", 501, ""},
		} {
			w.expect(s)
		}
	})
}

// TestStoreStats: requests are counted.
func TestStoreStats(t *testing.T) {
	run(t, func(w *world) {
		w.do("PUT /v2/keys/a value=1")
		w.do("GET /v2/keys/b")
		s := w.watch("GET /v2/keys/a?wait=true")
		body := w.do("GET /v2/stats/store").body
		for _, want := range []string{`"setsSuccess":1`, `"getsFail":1`, `"watchers":1`} {
			if !strings.Contains(body, want) {
				t.Errorf("%s is not in %s", want, body)
			}
		}
		s.end()
	})
}

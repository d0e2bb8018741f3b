package request_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/request"
)

func put(key string) request.Op { return request.Op{Put: &request.Put{Key: []byte(key)}} }

func get(key string) request.Op { return request.Op{Range: &request.Range{Key: []byte(key)}} }

func del(key, end string) request.Op {
	return request.Op{DeleteRange: &request.DeleteRange{Key: []byte(key), RangeEnd: []byte(end)}}
}

// child is a nested transaction whose success branch is ops.
func child(ops ...request.Op) request.Op { return request.Op{Txn: &request.Txn{Success: ops}} }

func orElse(c request.Op, ops ...request.Op) request.Op {
	c.Txn.Failure = ops
	return c
}

func TestDuplicateKeys(t *testing.T) {
	twice := kverr.DuplicateKey
	for _, c := range []struct {
		name string
		ops  []request.Op
		want error
	}{
		{"nothing", nil, nil},
		{"different puts", []request.Op{put("a"), put("b"), get("a")}, nil},
		{"same put", []request.Op{put("a"), put("b"), put("a")}, twice},
		{"put then delete", []request.Op{put("a"), del("a", "")}, twice},
		{"delete then put", []request.Op{del("a", ""), put("a")}, twice},
		{"put in deleted range", []request.Op{del("a", "c"), put("b")}, twice},
		{"put at the end of a deleted range", []request.Op{del("a", "c"), put("c")}, nil},
		{"put behind a deleted key", []request.Op{del("a", ""), put("a\x00")}, nil},
		{"overlapping deletes", []request.Op{del("a", "c"), del("b", "d"), del("a", "")}, nil},
		{"put in joined deletes", []request.Op{del("c", "e"), del("a", "b"), del("b", "d"), put("d")}, twice},
		{"put in a gap of deletes", []request.Op{del("a", "b"), del("c", "d"), put("b")}, nil},
		{"inverted delete", []request.Op{del("z", "a"), put("z"), put("m")}, nil},
		{"delete from key on", []request.Op{del("a", "\x00"), put("z"), put("a")}, nil},

		{"parent put, child put", []request.Op{put("a"), child(put("a"))}, twice},
		{"child put, parent put", []request.Op{child(put("a")), put("a")}, twice},
		{"parent put, child delete", []request.Op{put("b"), child(del("a", "c"))}, twice},
		{"child delete, parent put", []request.Op{child(del("a", "c")), put("b")}, twice},
		{"parent delete, child put", []request.Op{del("a", "c"), child(put("b"))}, twice},
		{"child put, parent delete", []request.Op{child(put("b")), del("a", "c")}, twice},
		{"parent delete, child delete", []request.Op{del("a", "c"), child(del("b", ""))}, nil},
		{"parent delete from key on, child put", []request.Op{del("a", "\x00"), child(put("b"))}, nil},
		{"grandchild put", []request.Op{put("a"), child(child(put("a")))}, twice},
		{"grandchild delete", []request.Op{put("a"), child(child(del("a", "")))}, twice},

		{"siblings put", []request.Op{child(put("a")), child(put("a"))}, twice},
		{"siblings put in different branches", []request.Op{child(put("a")), orElse(child(), put("a"))}, twice},
		{"sibling deleted before", []request.Op{child(del("a", "c")), child(put("b"))}, twice},
		{"sibling deleted before in its other branch", []request.Op{orElse(child(), del("a", "c")), child(put("b"))}, twice},
		{"sibling deletes later", []request.Op{child(put("b")), child(del("a", "c"))}, nil},
		{"siblings delete", []request.Op{child(del("a", "c")), child(del("a", "c"))}, nil},
		{"branches of one child put", []request.Op{orElse(child(put("a")), put("a"))}, nil},
		{"branches of one child put and delete", []request.Op{orElse(child(put("a")), del("a", ""))}, nil},
		{"branches of one child delete and put", []request.Op{orElse(child(del("a", "")), put("a"))}, nil},
		{"inside a lone child", []request.Op{child(put("a"), put("a"))}, twice},
		{"inside the failure branch of a child", []request.Op{orElse(child(), put("a"), del("a", "b"))}, twice},
	} {
		success, failure := &request.Txn{Success: c.ops}, &request.Txn{Failure: c.ops}
		if err := success.Validate(128); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err := failure.Validate(128); err != c.want {
			t.Errorf("%s, in failure: %v, want %v", c.name, err, c.want)
		}
		if c.want == nil {
			both := &request.Txn{Success: c.ops, Failure: c.ops}
			if err := both.Validate(128); err != nil {
				t.Errorf("%s, in both branches: %v", c.name, err)
			}
		}
	}
}

func TestValidationOrder(t *testing.T) {
	many := make([]request.Op, 3)
	for _, c := range []struct {
		name string
		txn  request.Txn
		max  int
		want error
	}{
		{"too many before anything else", request.Txn{Success: many, Compare: make([]request.Compare, 1)}, 2, kverr.TooManyOps},
		{"compares count", request.Txn{Compare: make([]request.Compare, 3)}, 2, kverr.TooManyOps},
		{"compare before ops", request.Txn{Compare: make([]request.Compare, 1), Success: many}, 3, kverr.EmptyKey},
		{"op without request", request.Txn{Success: many}, 3, kverr.KeyNotFound},
		{"success before failure", request.Txn{Failure: many, Success: []request.Op{put("")}}, 3, kverr.EmptyKey},
		{"failure too", request.Txn{Failure: []request.Op{put("")}}, 3, kverr.EmptyKey},
		{"empty delete", request.Txn{Failure: []request.Op{del("", "")}}, 3, kverr.EmptyKey},
		{"empty range", request.Txn{Failure: []request.Op{get("")}}, 3, kverr.EmptyKey},
		{"ops before duplicates", request.Txn{Success: []request.Op{put("a"), put("a"), put("")}}, 3, kverr.EmptyKey},
		{"child within budget", request.Txn{Success: []request.Op{child(put("a"), put("b"))}}, 3, nil},
		{"child above budget", request.Txn{Success: []request.Op{child(put("a"), put("b"), put("c"))}}, 3, kverr.TooManyOps},
		{"budget counts the longest list", request.Txn{Compare: compares(2), Failure: []request.Op{child(put("a"), put("b"))}}, 3, kverr.TooManyOps},
		{"full parent, empty child", request.Txn{Success: []request.Op{child(), child(), put("c")}}, 3, nil},
		{"full parent, child with one", request.Txn{Success: []request.Op{child(put("a")), child(), put("c")}}, 3, kverr.TooManyOps},
		{"grandchild within budget", request.Txn{Success: []request.Op{child(child(put("a")))}}, 3, nil},
		{"grandchild above budget", request.Txn{Success: []request.Op{child(child(put("a"), put("b")))}}, 3, kverr.TooManyOps},
		{"nested compare", request.Txn{Success: []request.Op{{Txn: &request.Txn{Compare: make([]request.Compare, 1)}}}}, 3, kverr.EmptyKey},
	} {
		if err := c.txn.Validate(c.max); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func compares(n int) []request.Compare {
	list := make([]request.Compare, n)
	for i := range list {
		list[i].Key = []byte("k")
	}
	return list
}

func TestValidateSingleRequests(t *testing.T) {
	k := []byte("k")
	for _, c := range []struct {
		name string
		got  error
		want error
	}{
		{"range", (&request.Range{Key: k, SortOrder: 2, SortTarget: 4}).Validate(), nil},
		{"range without key", (&request.Range{SortOrder: 9}).Validate(), kverr.EmptyKey},
		{"range order", (&request.Range{Key: k, SortOrder: 3}).Validate(), kverr.InvalidSortOption},
		{"range negative order", (&request.Range{Key: k, SortOrder: -1}).Validate(), kverr.InvalidSortOption},
		{"range target", (&request.Range{Key: k, SortTarget: 5}).Validate(), kverr.InvalidSortOption},
		{"range negative target", (&request.Range{Key: k, SortTarget: -1}).Validate(), kverr.InvalidSortOption},
		{"put", (&request.Put{Key: k, Value: k, Lease: 1}).Validate(), nil},
		{"put without key", (&request.Put{IgnoreValue: true, Value: k}).Validate(), kverr.EmptyKey},
		{"put ignoring its value", (&request.Put{Key: k, IgnoreValue: true, Value: k, IgnoreLease: true, Lease: 1}).Validate(), kverr.ValueProvided},
		{"put ignoring its lease", (&request.Put{Key: k, IgnoreLease: true, Lease: 1}).Validate(), kverr.LeaseProvided},
		{"put ignoring both", (&request.Put{Key: k, IgnoreLease: true, IgnoreValue: true}).Validate(), nil},
		{"delete", (&request.DeleteRange{Key: k}).Validate(), nil},
		{"delete without key", (&request.DeleteRange{RangeEnd: k}).Validate(), kverr.EmptyKey},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestTxnPredicates(t *testing.T) {
	local := func(key string) request.Op {
		op := get(key)
		op.Range.Serializable = true
		return op
	}
	for _, c := range []struct {
		name                           string
		txn                            request.Txn
		readOnly, serializable, hasPut bool
	}{
		{"empty", request.Txn{}, true, true, false},
		{"compares alone", request.Txn{Compare: compares(2)}, true, true, false},
		{"gets", request.Txn{Success: []request.Op{get("a")}}, true, false, false},
		{"local gets", request.Txn{Success: []request.Op{local("a")}, Failure: []request.Op{local("b")}}, true, true, false},
		{"mixed gets", request.Txn{Success: []request.Op{local("a")}, Failure: []request.Op{get("b")}}, true, false, false},
		{"delete", request.Txn{Failure: []request.Op{del("a", "")}}, false, false, false},
		{"put", request.Txn{Failure: []request.Op{put("a")}}, false, false, true},
		{"nested gets", request.Txn{Success: []request.Op{child(local("a"))}}, false, false, false},
		{"nested put", request.Txn{Success: []request.Op{orElse(child(), put("a"))}}, false, false, true},
	} {
		if c.txn.ReadOnly() != c.readOnly || c.txn.Serializable() != c.serializable || c.txn.HasPut() != c.hasPut {
			t.Errorf("%s: read only %v, serializable %v, has put %v; want %v, %v, %v", c.name,
				c.txn.ReadOnly(), c.txn.Serializable(), c.txn.HasPut(), c.readOnly, c.serializable, c.hasPut)
		}
	}
}

func TestQuotaCost(t *testing.T) {
	if got := (&request.LeaseGrant{}).QuotaCost(); got != 64 {
		t.Errorf("a grant costs %d", got)
	}
	p := &request.Put{Key: []byte("key"), Value: []byte("value")}
	if got := p.QuotaCost(); got != 256+3+5 {
		t.Errorf("a put costs %d", got)
	}
	txn := request.Txn{
		Success: []request.Op{{Put: p}, get("a"), del("b", "")},
		Failure: []request.Op{put("a"), child(put("b"))},
	}
	if got := txn.QuotaCost(); got != 2*257 {
		t.Errorf("a transaction costs %d, want the dearer branch, %d", got, 2*257)
	}
}

// slowCheck is the duplicate key rule, pair by pair.
type slowCheck struct {
	puts []string
	dels []request.DeleteRange
}

func (c *slowCheck) hits(key string) bool {
	for _, p := range c.puts {
		if p == key {
			return true
		}
	}
	for _, d := range c.dels {
		single := len(d.RangeEnd) == 0 && string(d.Key) == key
		if single || string(d.Key) <= key && key < string(d.RangeEnd) {
			return true
		}
	}
	return false
}

func (c *slowCheck) add(o slowCheck) {
	c.puts, c.dels = append(c.puts, o.puts...), append(c.dels, o.dels...)
}

func slowCollect(ops []request.Op) (all slowCheck, ok bool) {
	for _, op := range ops {
		if op.DeleteRange != nil {
			all.dels = append(all.dels, *op.DeleteRange)
		}
	}
	for _, op := range ops {
		if op.Txn == nil {
			continue
		}
		yes, ok1 := slowCollect(op.Txn.Success)
		no, ok2 := slowCollect(op.Txn.Failure)
		if !ok1 || !ok2 {
			return all, false
		}
		for _, key := range append(append([]string{}, yes.puts...), no.puts...) {
			if all.hits(key) {
				return all, false
			}
		}
		all.add(yes)
		all.add(no)
	}
	for _, op := range ops {
		if op.Put != nil {
			if all.hits(string(op.Put.Key)) {
				return all, false
			}
			all.puts = append(all.puts, string(op.Put.Key))
		}
	}
	return all, true
}

func randomOps(r *rand.Rand, depth int) []request.Op {
	key := func() string { return strings.Repeat(string(rune('a'+r.IntN(6))), 1+r.IntN(2)) }
	var ops []request.Op
	for range r.IntN(4) {
		switch n := r.IntN(6); {
		case n < 2:
			ops = append(ops, put(key()))
		case n < 4:
			ops = append(ops, del(key(), []string{"", key(), key(), "\x00"}[r.IntN(4)]))
		case depth > 0:
			ops = append(ops, orElse(child(randomOps(r, depth-1)...), randomOps(r, depth-1)...))
		}
	}
	return ops
}

func TestDuplicateKeysAgreeWithPairwiseCheck(t *testing.T) {
	const seed = 7
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	accepted := 0
	for range 20000 {
		txn := &request.Txn{Success: randomOps(r, 3)}
		before := txn.Append(nil)
		_, ok := slowCollect(txn.Success)
		err := txn.Validate(128)
		if ok != (err == nil) {
			t.Fatalf("%x: %v, but pair by pair it is %v", before, err, ok)
		}
		if !bytes.Equal(before, txn.Append(nil)) {
			t.Fatalf("validation changed the request %x", before)
		}
		if ok {
			accepted++
		}
	}
	if accepted < 5000 || accepted > 19000 {
		t.Fatalf("%d of 20000 transactions passed: the generator is lopsided", accepted)
	}
}

package behaviour

import (
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

func putCases() []testCase {
	return append(putErrorCases(), []testCase{
		{name: "creates", run: func(e *env) {
			resp := e.mustPut(put("a", "1"))
			e.fullHeader(resp.Header, e.base+1)
			e.equal("previous", e.show(resp.PrevKv), "none")
			e.equal("state", e.state(), "a=1 c1 m1 v1")
		}},
		{name: "updates", run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.fullHeader(e.mustPut(put("a", "2")).Header, e.base+2)
			e.equal("state", e.state(), "a=2 c1 m2 v2")
		}},
		{name: "same value is a new version", run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.mustPut(put("a", "1"))
			e.equal("state", e.state(), "a=1 c1 m2 v2")
		}},
		{name: "empty value", run: func(e *env) {
			e.mustPut(put("a", ""))
			e.equal("state", e.state(), "a= c1 m1 v1")
		}},
		{name: "binary key and value", run: func(e *env) {
			e.mustPut(put("\x00\xff\x80", "\x00\xfe"))
			e.equal("state", e.state(), "\x00\xff\x80=\x00\xfe c1 m1 v1")
		}},
		{name: "after a delete starts a new life", run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.mustPut(put("a", "2"))
			e.mustDelete(del("a", ""))
			e.mustPut(put("a", "3"))
			e.equal("state", e.state(), "a=3 c4 m4 v1")
		}},
		{name: "previous record", run: func(e *env) {
			e.mustPut(put("a", "1"))
			resp := e.mustPut(&pb.PutRequest{Key: []byte("a"), Value: []byte("2"), PrevKv: true})
			e.equal("previous", e.show(resp.PrevKv), "a=1 c1 m1 v1")
		}},
		{name: "no previous record of a new key", run: func(e *env) {
			resp := e.mustPut(&pb.PutRequest{Key: []byte("a"), Value: []byte("2"), PrevKv: true})
			e.equal("previous", e.show(resp.PrevKv), "none")
		}},
		{name: "no previous record of a deleted key", run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.mustDelete(del("a", ""))
			resp := e.mustPut(&pb.PutRequest{Key: []byte("a"), Value: []byte("2"), PrevKv: true})
			e.equal("previous", e.show(resp.PrevKv), "none")
		}},
		{name: "previous record unasked", run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.equal("previous", e.show(e.mustPut(put("a", "2")).PrevKv), "none")
		}},
		{name: "ignore value keeps it", run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.mustPut(&pb.PutRequest{Key: []byte("a"), IgnoreValue: true})
			e.equal("state", e.state(), "a=1 c1 m2 v2")
		}},
		{name: "ignore value keeps it and moves the lease", run: func(e *env) {
			id := e.grant(60)
			e.mustPut(put("a", "1"))
			e.mustPut(&pb.PutRequest{Key: []byte("a"), IgnoreValue: true, Lease: id})
			kv := e.mustGet(get("a", "")).Kvs[0]
			e.equal("value", string(kv.Value), "1")
			e.equal("lease", kv.Lease, id)
		}},
		{name: "ignore lease keeps it", run: func(e *env) {
			id := e.grant(60)
			e.mustPut(&pb.PutRequest{Key: []byte("a"), Value: []byte("1"), Lease: id})
			e.mustPut(&pb.PutRequest{Key: []byte("a"), Value: []byte("2"), IgnoreLease: true})
			kv := e.mustGet(get("a", "")).Kvs[0]
			e.equal("value", string(kv.Value), "2")
			e.equal("lease", kv.Lease, id)
		}},
		{name: "ignore both touches only", run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.mustPut(&pb.PutRequest{Key: []byte("a"), IgnoreValue: true, IgnoreLease: true})
			e.equal("state", e.state(), "a=1 c1 m2 v2")
		}},
		{name: "ignore value with previous record", run: func(e *env) {
			e.mustPut(put("a", "1"))
			resp := e.mustPut(&pb.PutRequest{Key: []byte("a"), IgnoreValue: true, PrevKv: true})
			e.equal("previous", e.show(resp.PrevKv), "a=1 c1 m1 v1")
		}},
		{name: "previous record shows its lease", run: func(e *env) {
			id := e.grant(60)
			e.mustPut(&pb.PutRequest{Key: []byte("a"), Value: []byte("1"), Lease: id})
			resp := e.mustPut(&pb.PutRequest{Key: []byte("a"), PrevKv: true})
			e.equal("lease", resp.PrevKv.Lease, id)
		}},
		{name: "long key", run: func(e *env) {
			name := strings.Repeat("k", 64<<10)
			e.mustPut(put(name, "1"))
			e.equal("count", e.mustGet(get(name, "")).Count, int64(1))
		}},
	}...)
}

func putErrorCases() []testCase {
	type row struct {
		name string
		req  *pb.PutRequest
		want refusal
	}
	rows := []row{
		{"ignore value with value", &pb.PutRequest{Key: []byte("a"), Value: []byte("1"), IgnoreValue: true}, valueProvided()},
		{"ignore lease with lease", &pb.PutRequest{Key: []byte("a"), Lease: 7, IgnoreLease: true}, leaseProvided()},
		{"value before lease", &pb.PutRequest{Key: []byte("a"), Value: []byte("1"), Lease: 7, IgnoreValue: true, IgnoreLease: true}, valueProvided()},
		{"ignore value on a missing key", &pb.PutRequest{Key: []byte("a"), IgnoreValue: true}, keyNotFound()},
		{"ignore lease on a missing key", &pb.PutRequest{Key: []byte("a"), IgnoreLease: true}, keyNotFound()},
		{"unknown lease", &pb.PutRequest{Key: []byte("a"), Lease: 0x7fffffffffffff01}, leaseNotFound()},
		{"unknown negative lease", &pb.PutRequest{Key: []byte("a"), Lease: -77}, leaseNotFound()},
		{"unknown lease before missing key", &pb.PutRequest{Key: []byte("a"), IgnoreValue: true, Lease: 0x7fffffffffffff01}, leaseNotFound()},
	}
	cases := []testCase{{name: "empty key", run: func(e *env) {
		_, err := e.kv.Put(e.ctx, &pb.PutRequest{Value: []byte("1")})
		e.refused(err, emptyKey())
	}}, {name: "empty key before the rest", run: func(e *env) {
		_, err := e.kv.Put(e.ctx, &pb.PutRequest{Value: []byte("1"), IgnoreValue: true, Lease: 5, IgnoreLease: true})
		e.refused(err, emptyKey())
	}}}
	for _, row := range rows {
		cases = append(cases, testCase{name: row.name, run: func(e *env) {
			_, err := e.kv.Put(e.ctx, e.realPut(row.req))
			e.refused(err, row.want)
			e.wrote(0)
		}})
	}
	return cases
}

func deleteCases() []testCase {
	type row struct {
		name     string
		key, end string
		deleted  int64
		left     string
	}
	rows := []row{
		{"one key", "b", "", 1, "a c d"},
		{"half open", "a", "c", 2, "c d"},
		{"all", "", "*", 4, ""},
		{"from key", "c", fromKey, 2, "a b"},
		{"nothing: missing key", "x", "", 0, "a b c d"},
		{"nothing: end before start", "c", "a", 0, "a b c d"},
		{"nothing: end equals start", "c", "c", 0, "a b c d"},
		{"nothing: already deleted", "e", "", 0, "a b c d"},
	}
	cases := []testCase{
		{name: "empty key", run: func(e *env) {
			_, err := e.kv.DeleteRange(e.ctx, &pb.DeleteRangeRequest{})
			e.refused(err, emptyKey())
		}},
		{name: "empty key with an end", run: func(e *env) {
			_, err := e.kv.DeleteRange(e.ctx, &pb.DeleteRangeRequest{RangeEnd: []byte(fromKey)})
			e.refused(err, emptyKey())
		}},
		{name: "previous records in key order", run: func(e *env) {
			e.writeHistory()
			resp := e.mustDelete(&pb.DeleteRangeRequest{Key: []byte("a"), RangeEnd: []byte("d"), PrevKv: true})
			e.equal("previous", e.shows(resp.PrevKvs), "a=4 c3 m3 v1; b=2 c2 m5 v2; c=1 c4 m4 v1")
		}},
		{name: "no previous records of nothing", run: func(e *env) {
			resp := e.mustDelete(&pb.DeleteRangeRequest{Key: []byte("a"), PrevKv: true})
			e.equal("previous", len(resp.PrevKvs), 0)
		}},
		{name: "the past still shows it", run: func(e *env) {
			e.mustPut(put("a", "1"))
			e.mustDelete(del("a", ""))
			r := get("a", "")
			r.Revision = e.base + 1
			e.equal("record", e.shows(e.mustGet(r).Kvs), "a=1 c1 m1 v1")
		}},
	}
	for _, row := range rows {
		cases = append(cases, testCase{name: row.name, run: func(e *env) {
			e.writeHistory()
			resp := e.mustDelete(del(row.key, row.end))
			e.equal("deleted", resp.Deleted, row.deleted)
			e.equal("previous", len(resp.PrevKvs), 0)
			e.equal("left", e.names(e.mustGet(get("", "*")).Kvs), row.left)
			e.fullHeader(resp.Header, e.base+7+min(row.deleted, 1))
			e.wrote(7 + min(row.deleted, 1))
		}})
	}
	return cases
}

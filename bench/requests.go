package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// The calls that are measured.
const (
	pathRange     = "/etcdserverpb.KV/Range"
	pathPut       = "/etcdserverpb.KV/Put"
	pathTxn       = "/etcdserverpb.KV/Txn"
	pathWatch     = "/etcdserverpb.Watch/Watch"
	pathGrant     = "/etcdserverpb.Lease/LeaseGrant"
	pathKeepAlive = "/etcdserverpb.Lease/LeaseKeepAlive"
	pathStatus    = "/etcdserverpb.Maintenance/Status"
	pathDelete    = "/etcdserverpb.KV/DeleteRange"
	pathCompact   = "/etcdserverpb.KV/Compact"

	pathDefragment = "/etcdserverpb.Maintenance/Defragment"
)

// keyPrefix begins every key, so that one range holds them all.
const (
	keyPrefix = "bench/"
	keyEnd    = "bench0"
	// txnPuts is how many keys one transaction of the preparation writes: the
	// default limit of operations, or fewer for large values.
	txnPuts = 128
	// txnBytes bounds the values of such a transaction: it has to fit into the
	// window of a stream.
	txnBytes = 32 << 10
)

// keyAt returns the i-th key in order.
func keyAt(i int) []byte { return fmt.Appendf(nil, "%s%010d", keyPrefix, i) }

// payload returns size bytes that do not compress well, the same for a seed.
func payload(seed uint64, size int) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, 0, size+8)
	for len(b) < size {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:size]
}

// must encodes a message of our own making.
func must(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", m, err))
	}
	return b
}

// randomPuts writes puts of a random key out of so many.
func randomPuts(keys, valueBytes int) func(*rand.Rand, []byte) []byte {
	value := payload(1, valueBytes)
	return func(r *rand.Rand, buf []byte) []byte {
		return appendPut(buf, keyAt(r.IntN(keys)), value)
	}
}

// orderedPuts writes puts of one key after the other, for a single connection.
func orderedPuts(valueBytes int) func(*rand.Rand, []byte) []byte {
	value := payload(3, valueBytes)
	next := 0
	return func(_ *rand.Rand, buf []byte) []byte {
		next++
		return appendPut(buf, keyAt(next), value)
	}
}

func appendPut(buf, key, value []byte) []byte {
	buf = protowire.AppendTag(buf, 1, protowire.BytesType)
	buf = protowire.AppendBytes(buf, key)
	buf = protowire.AppendTag(buf, 2, protowire.BytesType)
	return protowire.AppendBytes(buf, value)
}

// randomGets writes reads of a random key out of so many; the requests are
// encoded beforehand.
func randomGets(keys int, serializable bool) func(*rand.Rand, []byte) []byte {
	encoded := make([][]byte, keys)
	for i := range encoded {
		encoded[i] = must(&etcdserverpb.RangeRequest{Key: keyAt(i), Serializable: serializable})
	}
	return func(r *rand.Rand, buf []byte) []byte { return append(buf, encoded[r.IntN(keys)]...) }
}

// pages writes the requests for the pages of a list, at random among them.
func pages(keys, size int) func(*rand.Rand, []byte) []byte {
	var encoded [][]byte
	for from := 0; from < keys; from += size {
		encoded = append(encoded, must(&etcdserverpb.RangeRequest{Key: keyAt(from), RangeEnd: []byte(keyEnd), Limit: int64(size)}))
	}
	return func(r *rand.Rand, buf []byte) []byte { return append(buf, encoded[r.IntN(len(encoded))]...) }
}

// always writes the same request.
func always(m proto.Message) func(*rand.Rand, []byte) []byte {
	encoded := must(m)
	return func(_ *rand.Rand, buf []byte) []byte { return append(buf, encoded...) }
}

// fillKeys writes the first so many keys with values of a size, in transactions.
func fillKeys(ctx context.Context, address string, keys, valueBytes int) error {
	if keys == 0 {
		return nil
	}
	perTxn := max(1, min(txnPuts, txnBytes/(valueBytes+64)))
	value := payload(2, valueBytes)
	next := 0
	u := unary{path: pathTxn, connections: 1, inFlight: 8, limit: int64((keys + perTxn - 1) / perTxn)}
	u.body = func(_ *rand.Rand, buf []byte) []byte {
		txn := &etcdserverpb.TxnRequest{}
		for range min(perTxn, keys-next) {
			txn.Success = append(txn.Success, &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestPut{
				RequestPut: &etcdserverpb.PutRequest{Key: keyAt(next), Value: value},
			}})
			next++
		}
		return append(buf, must(txn)...)
	}
	_, err := u.run(ctx, []string{address}, 0, 10*time.Minute)
	return err
}

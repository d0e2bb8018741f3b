package proxy

import (
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// newest is the highest revision that an answer of a member had.
type newest struct{ revision atomic.Int64 }

func (n *newest) note(revision int64) {
	for {
		was := n.revision.Load()
		if revision <= was || n.revision.CompareAndSwap(was, revision) {
			return
		}
	}
}

// orderedMethods are the methods whose answers say how far a member is. Those that may read from whatever a member has at the moment come with
// the function that makes such a request one that reads what is newest; it returns nil for a request that does so already.
func orderedMethods() map[string]func([]byte) []byte {
	as := func([]byte) []byte { return nil }
	return map[string]func([]byte) []byte{
		pb.KV_Range_FullMethodName: rangeFromNewest, pb.KV_Txn_FullMethodName: txnFromNewest,
		pb.KV_Put_FullMethodName: as, pb.KV_DeleteRange_FullMethodName: as,
	}
}

// forwardOrdered passes on a call with one request and one answer. A read of what a member has at the moment that turns out to be older than
// an answer which was given before the call is asked again, as one of the newest.
func (r *Relay) forwardOrdered(method string, client grpc.ServerStream) error {
	req, err := r.request(method, client)
	if err != nil {
		return err
	}
	defer func() { req.free() }()
	before := r.newest.revision.Load()
	resp, err := r.ask(method, client, &req)
	if err == nil && revisionOf(resp.data.Materialize()) < before {
		if again := r.ordered[method](req.data.Materialize()); again != nil {
			resp.free()
			err = req.change(func([]byte) ([]byte, error) { return again, nil })
			if err == nil {
				resp, err = r.ask(method, client, &req)
			}
		}
	}
	if err != nil {
		return err
	}
	defer func() { resp.free() }()
	r.newest.note(revisionOf(resp.data.Materialize()))
	if err := resp.change(r.edits[method].answer); err != nil {
		return err
	}
	return client.SendMsg(&resp)
}

// ask sends a request to a member. What it says besides the answer is kept for the client.
func (r *Relay) ask(method string, client grpc.ServerStream, req *frame) (resp frame, err error) {
	var header, trailer metadata.MD
	err = r.conn.Invoke(outgoing(client.Context()), method, req, &resp,
		grpc.ForceCodecV2(frameCodec{}), grpc.Header(&header), grpc.Trailer(&trailer))
	if err == nil {
		err = client.SetHeader(header)
	}
	client.SetTrailer(trailer)
	return resp, err
}

// revisionOf returns the revision in the header of an answer of KV, 0 if there is none.
func revisionOf(answer []byte) int64 {
	const headerField, revisionField = 1, 3
	header, _ := protowire.ConsumeBytes(field(answer, headerField, protowire.BytesType))
	revision, n := protowire.ConsumeVarint(field(header, revisionField, protowire.VarintType))
	if n < 0 {
		return 0
	}
	return int64(revision)
}

// field returns a message from the value of a field on, nil if it has none of that kind.
func field(message []byte, number protowire.Number, kind protowire.Type) []byte {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil
		}
		message = message[n:]
		if num == number && typ == kind {
			return message
		}
		if n = protowire.ConsumeFieldValue(num, typ, message); n < 0 {
			return nil
		}
		message = message[n:]
	}
	return nil
}

func rangeFromNewest(b []byte) []byte {
	var m pb.RangeRequest
	if proto.Unmarshal(b, &m) != nil || !m.Serializable || m.Revision > 0 {
		return nil
	}
	m.Serializable = false
	return encoded(&m)
}

// txnFromNewest: a transaction that writes is in order by itself, and must not happen twice.
func txnFromNewest(b []byte) []byte {
	var m pb.TxnRequest
	if proto.Unmarshal(b, &m) != nil || !readsOnly(&m) {
		return nil
	}
	return encoded(&m)
}

// readsOnly reports whether a transaction has only reads, and makes them reads of what is newest.
func readsOnly(m *pb.TxnRequest) bool {
	for _, list := range [][]*pb.RequestOp{m.Success, m.Failure} {
		for _, op := range list {
			switch r := op.Request.(type) {
			case *pb.RequestOp_RequestRange:
				r.RequestRange.Serializable = false
			case *pb.RequestOp_RequestTxn:
				if !readsOnly(r.RequestTxn) {
					return false
				}
			default:
				return false
			}
		}
	}
	return true
}

func encoded(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		return nil // it came in encoded
	}
	return b
}

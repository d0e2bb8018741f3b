package proxy

import (
	"bytes"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// namespace puts the keys of clients behind a prefix, which is not empty: what they see is the part of the keys that begins with it, without it.
type namespace struct{ prefix []byte }

// toEnd is the end of a range that has all keys from the first on.
const toEnd = "\x00"

// edits returns what happens to the messages of each method that carries keys. Lock and Election name keys too, but those stay as they are.
func (n namespace) edits() map[string]edit {
	return map[string]edit{
		pb.KV_Range_FullMethodName:              {change(n.rangeRequest), change(n.rangeAnswer)},
		pb.KV_RangeStream_FullMethodName:        {change(n.rangeRequest), change(n.rangePart)},
		pb.KV_Put_FullMethodName:                {change(n.putRequest), change(n.putAnswer)},
		pb.KV_DeleteRange_FullMethodName:        {change(n.deleteRequest), change(n.deleteAnswer)},
		pb.KV_Txn_FullMethodName:                {change(n.txnRequest), change(n.txnAnswer)},
		pb.Watch_Watch_FullMethodName:           {change(n.watchRequest), change(n.watchAnswer)},
		pb.Lease_LeaseTimeToLive_FullMethodName: {nil, change(n.leaseAnswer)},
	}
}

// change makes a change of messages one of their bytes.
func change[T any, M interface {
	*T
	proto.Message
}](fn func(M) error) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) {
		m := M(new(T))
		if err := proto.Unmarshal(b, m); err != nil {
			return nil, status.Errorf(codes.Internal, "grpc: error unmarshalling message: %v", err)
		}
		if err := fn(m); err != nil {
			return nil, err
		}
		return proto.Marshal(m)
	}
}

// into returns a range of the client's as one of the members'. An empty end stays: the range is one key.
func (n namespace) into(key, end []byte) (first, last []byte, err error) {
	if len(key) == 0 {
		return nil, nil, rpctypes.ErrGRPCEmptyKey // behind the prefix it would not be empty any more
	}
	first = n.name(key)
	switch {
	case len(end) == 0:
	case string(end) == toEnd:
		last = n.end()
	default:
		last = n.name(end)
	}
	return first, last, nil
}

func (n namespace) name(key []byte) []byte { return append(bytes.Clone(n.prefix), key...) }

// end is the first key after those of the namespace.
func (n namespace) end() []byte {
	end := bytes.Clone(n.prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return []byte(toEnd)
}

func (n namespace) strip(list ...*mvccpb.KeyValue) {
	for _, kv := range list {
		if kv != nil {
			kv.Key = bytes.TrimPrefix(kv.Key, n.prefix)
		}
	}
}

func (n namespace) rangeRequest(m *pb.RangeRequest) (err error) {
	m.Key, m.RangeEnd, err = n.into(m.Key, m.RangeEnd)
	return err
}

func (n namespace) putRequest(m *pb.PutRequest) (err error) {
	m.Key, _, err = n.into(m.Key, nil)
	return err
}

func (n namespace) deleteRequest(m *pb.DeleteRangeRequest) (err error) {
	m.Key, m.RangeEnd, err = n.into(m.Key, m.RangeEnd)
	return err
}

func (n namespace) txnRequest(m *pb.TxnRequest) (err error) {
	for _, c := range m.Compare {
		if c.Key, c.RangeEnd, err = n.into(c.Key, c.RangeEnd); err != nil {
			return err
		}
	}
	for _, list := range [][]*pb.RequestOp{m.Success, m.Failure} {
		for _, op := range list {
			if err := n.operation(op); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n namespace) operation(op *pb.RequestOp) error {
	switch r := op.Request.(type) {
	case *pb.RequestOp_RequestRange:
		return n.rangeRequest(r.RequestRange)
	case *pb.RequestOp_RequestPut:
		return n.putRequest(r.RequestPut)
	case *pb.RequestOp_RequestDeleteRange:
		return n.deleteRequest(r.RequestDeleteRange)
	case *pb.RequestOp_RequestTxn:
		return n.txnRequest(r.RequestTxn)
	}
	return nil // the member says what is wrong with an operation that is none
}

// watchRequest: a watch of the empty key is one from the first key on, as without a namespace.
func (n namespace) watchRequest(m *pb.WatchRequest) (err error) {
	c := m.GetCreateRequest()
	if c == nil {
		return nil
	}
	if len(c.Key) == 0 {
		c.Key = []byte{0}
	}
	c.Key, c.RangeEnd, err = n.into(c.Key, c.RangeEnd)
	return err
}

func (n namespace) rangeAnswer(m *pb.RangeResponse) error {
	n.strip(m.GetKvs()...)
	return nil
}

func (n namespace) rangePart(m *pb.RangeStreamResponse) error { return n.rangeAnswer(m.RangeResponse) }

func (n namespace) putAnswer(m *pb.PutResponse) error {
	n.strip(m.PrevKv)
	return nil
}

func (n namespace) deleteAnswer(m *pb.DeleteRangeResponse) error {
	n.strip(m.PrevKvs...)
	return nil
}

func (n namespace) txnAnswer(m *pb.TxnResponse) error {
	for _, r := range m.Responses {
		if err := n.result(r); err != nil {
			return err
		}
	}
	return nil
}

func (n namespace) result(op *pb.ResponseOp) error {
	switch r := op.Response.(type) {
	case *pb.ResponseOp_ResponseRange:
		return n.rangeAnswer(r.ResponseRange)
	case *pb.ResponseOp_ResponsePut:
		return n.putAnswer(r.ResponsePut)
	case *pb.ResponseOp_ResponseDeleteRange:
		return n.deleteAnswer(r.ResponseDeleteRange)
	case *pb.ResponseOp_ResponseTxn:
		return n.txnAnswer(r.ResponseTxn)
	}
	return nil
}

func (n namespace) watchAnswer(m *pb.WatchResponse) error {
	for _, e := range m.Events {
		n.strip(e.Kv, e.PrevKv)
	}
	return nil
}

// leaseAnswer leaves out the keys of others.
func (n namespace) leaseAnswer(m *pb.LeaseTimeToLiveResponse) error {
	kept := m.Keys[:0]
	for _, key := range m.Keys {
		if rest, ours := bytes.CutPrefix(key, n.prefix); ours {
			kept = append(kept, rest)
		}
	}
	m.Keys = kept
	return nil
}

package v2

import (
	"math"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// node is a file or a directory as it is shown. Fields are omitted when they are empty.
type node struct {
	Key        string     `json:"key,omitempty"`
	Value      *string    `json:"value,omitempty"`
	Dir        bool       `json:"dir,omitempty"`
	Expiration *time.Time `json:"expiration,omitempty"`
	TTL        int64      `json:"ttl,omitempty"`
	Nodes      []*node    `json:"nodes,omitempty"`
	Modified   int64      `json:"modifiedIndex,omitempty"`
	Created    int64      `json:"createdIndex,omitempty"`
}

// event is what happened, or what was asked for.
type event struct {
	Action string `json:"action"`
	Node   *node  `json:"node,omitempty"`
	Prev   *node  `json:"prevNode,omitempty"`

	index   int64 // of the store afterwards
	created bool  // a new node
}

// shower makes nodes of records.
type shower struct {
	now func() time.Time
	// foreign tells when a lease ends that was not made here; false if it is not known.
	foreign func(lease int64) (time.Time, bool)
}

// file shows a file.
func (s *shower) file(p string, kv *mvccpb.KeyValue) *node {
	value := string(kv.Value)
	n := &node{Key: p, Value: &value, Modified: kv.ModRevision, Created: kv.CreateRevision}
	if kv.Lease != 0 && !leaseID(kv.Lease).ofDir() {
		s.expire(n, kv.Lease)
	}
	return n
}

// dir shows a directory: its marker or, if it has none, a key inside.
func (s *shower) dir(p string, kv *mvccpb.KeyValue, marked bool) *node {
	if p == "/" {
		return &node{Dir: true}
	}
	if !marked {
		return &node{Key: p, Dir: true, Modified: kv.CreateRevision, Created: kv.CreateRevision}
	}
	n := &node{Key: p, Dir: true, Modified: kv.ModRevision, Created: kv.CreateRevision}
	if kv.Lease != 0 && (marker(kv.Value).ownsLease() || !leaseID(kv.Lease).ours()) {
		s.expire(n, kv.Lease)
	}
	return n
}

// expire says until when a node lives.
func (s *shower) expire(n *node, lease int64) {
	ends, ok := leaseID(lease).ends(), true
	if !leaseID(lease).ours() {
		ends, ok = s.foreign(lease)
	}
	if ok {
		n.Expiration, n.TTL = &ends, int64(math.Ceil(ends.Sub(s.now()).Seconds()))
	}
}

// gone is a node after its deletion.
func (n *node) gone(index int64) *node {
	return &node{Key: n.Key, Dir: n.Dir, Modified: index, Created: n.Created}
}

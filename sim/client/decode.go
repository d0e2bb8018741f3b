package client

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/quoin-kv/quoin/internal/model"
	"github.com/quoin-kv/quoin/internal/schema"
)

// errMalformed says that a member's answer is no answer.
var errMalformed = errors.New("client: malformed answer")

// fields calls fn with each field of a message; number is the value of a varint, data that of a message or of bytes.
func fields(b []byte, fn func(num protowire.Number, number int64, data []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		var number uint64
		var data []byte
		switch typ {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
		default:
			n = -1
		}
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		if err := fn(num, int64(number), data); err != nil {
			return err
		}
	}
	return nil
}

// Decode reads the answer to an operation.
func Decode(kind model.Kind, b []byte) (model.Response, error) {
	var r model.Response
	var err error
	switch kind {
	case model.Txn:
		err = txnResponse(b, &r)
	case model.Range:
		err = rangeResponse(b, &r)
	case model.Delete:
		err = deleteResponse(b, &r)
	case model.Put:
		err = putResponse(b, &r)
	default:
		err = headerOnly(b, &r)
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w", kind, err)
	}
	return r, nil
}

// The field of the header is the same in all responses, and so is that of the revision in it.
const (
	fieldHeader   = 1
	fieldRevision = 3
)

func header(b []byte, r *model.Response) error {
	return fields(b, func(num protowire.Number, number int64, _ []byte) error {
		if num == fieldRevision {
			r.Revision = number
		}
		return nil
	})
}

func headerOnly(b []byte, r *model.Response) error {
	return fields(b, func(num protowire.Number, _ int64, data []byte) error {
		if num == fieldHeader {
			return header(data, r)
		}
		return nil
	})
}

func putResponse(b []byte, r *model.Response) error {
	return fields(b, func(num protowire.Number, _ int64, data []byte) error {
		switch num {
		case fieldHeader:
			return header(data, r)
		case 2:
			return addKV(&r.KVs, data)
		}
		return nil
	})
}

func deleteResponse(b []byte, r *model.Response) error {
	return fields(b, func(num protowire.Number, number int64, data []byte) error {
		switch num {
		case fieldHeader:
			return header(data, r)
		case 2:
			r.Count = number
		case 3:
			return addKV(&r.KVs, data)
		}
		return nil
	})
}

func rangeResponse(b []byte, r *model.Response) error {
	return fields(b, func(num protowire.Number, number int64, data []byte) error {
		switch num {
		case fieldHeader:
			return header(data, r)
		case 2:
			return addKV(&r.KVs, data)
		case 3:
			r.More = number != 0
		case 4:
			r.Count = number
		}
		return nil
	})
}

func txnResponse(b []byte, r *model.Response) error {
	return fields(b, func(num protowire.Number, number int64, data []byte) error {
		switch num {
		case fieldHeader:
			return header(data, r)
		case 2:
			r.Succeeded = number != 0
		case 3:
			return addResponse(&r.Responses, data)
		}
		return nil
	})
}

// addResponse reads a ResponseOp.
func addResponse(all *[]model.Response, b []byte) error {
	var r model.Response
	err := fields(b, func(num protowire.Number, _ int64, data []byte) error {
		switch num {
		case 1:
			return rangeResponse(data, &r)
		case 2:
			return putResponse(data, &r)
		case 3:
			return deleteResponse(data, &r)
		case 4:
			return txnResponse(data, &r)
		}
		return nil
	})
	*all = append(*all, r)
	return err
}

func addKV(all *[]model.KV, b []byte) error {
	kv, err := KV(b)
	*all = append(*all, kv)
	return err
}

// KV reads a KeyValue.
func KV(b []byte) (model.KV, error) {
	var kv schema.KeyValue
	if err := kv.Unmarshal(b); err != nil {
		return model.KV{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return model.KV{
		Key: model.Bytes(kv.Key), Value: model.Bytes(kv.Value),
		Create: kv.CreateRevision, Mod: kv.ModRevision, Version: kv.Version, Lease: kv.Lease,
	}, nil
}

// DecodeLease reads a response with a lease's id and a time to live: to a grant, a renewal or a question for what is left.
func DecodeLease(b []byte) (revision, id, ttl int64, err error) {
	var r model.Response
	err = fields(b, func(num protowire.Number, number int64, data []byte) error {
		switch num {
		case fieldHeader:
			return header(data, &r)
		case 2:
			id = number
		case 3:
			ttl = number
		}
		return nil
	})
	return r.Revision, id, ttl, err
}

// WatchMessage is a message of a watch stream.
type WatchMessage struct {
	model.WatchResponse
	ID       int64
	Created  bool
	Fragment bool
	Reason   string
}

// DecodeWatch reads a WatchResponse.
func DecodeWatch(b []byte) (m WatchMessage, err error) {
	err = fields(b, func(num protowire.Number, number int64, data []byte) error {
		switch num {
		case fieldHeader:
			var r model.Response
			err := header(data, &r)
			m.Revision = r.Revision
			return err
		case 2:
			m.ID = number
		case 3:
			m.Created = number != 0
		case 4:
			m.Canceled = number != 0
		case 5:
			m.CompactRevision = number
		case 6:
			m.Reason = string(data)
		case 7:
			m.Fragment = number != 0
		case 11:
			return addEvent(&m.Events, data)
		}
		return nil
	})
	return m, err
}

func addEvent(all *[]model.Event, b []byte) error {
	var e model.Event
	err := fields(b, func(num protowire.Number, number int64, data []byte) (err error) {
		switch num {
		case 1:
			e.Delete = number != 0
		case 2:
			e.KV, err = KV(data)
		case 3:
			var prev model.KV
			prev, err = KV(data)
			e.Prev = &prev
		}
		return err
	})
	*all = append(*all, e)
	return err
}

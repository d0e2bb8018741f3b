package lock

import (
	"context"
	"errors"

	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/watch"
)

// waitBefore waits until no key of a queue is older than rev. It looks at the youngest of them only, so that the end of a place wakes no more
// than the one behind it.
func (q *Queues) waitBefore(ctx context.Context, prefix []byte, rev int64) error {
	youngest := &request.Range{
		Key: prefix, RangeEnd: after(prefix), Limit: 1, SortTarget: request.SortByCreate, SortOrder: request.SortDescend,
		MaxCreateRevision: rev - 1, KeysOnly: true,
	}
	for {
		header, result, err := q.read(ctx, youngest)
		if err != nil || len(result.KVs) == 0 {
			return err
		}
		record, err := only(&result)
		if err != nil {
			return err
		}
		gone := func(event) (bool, error) { return true, nil }
		err = q.follow(ctx, watch.CreateRequest{Key: record.Key, StartRevision: header.Revision + 1, NoPut: true}, gone)
		if err := unlessCompacted(err); err != nil {
			return err
		}
	}
}

// event is what happened to a key.
type event struct {
	record  []byte // encoded
	deleted bool
}

// errCompacted says that the past was forgotten before it was read: look at the present again.
var errCompacted = errors.New("lock: the past is compacted")

// unlessCompacted drops the error that is no reason to give up.
func unlessCompacted(err error) error {
	if errors.Is(err, errCompacted) {
		return nil
	}
	return err
}

// follow calls each with the events of a watch until that is done or fails.
func (q *Queues) follow(ctx context.Context, r watch.CreateRequest, each func(e event) (done bool, err error)) error {
	stream := q.svc.Watch()
	defer stream.Close()
	if err := stream.Create(ctx, r); err != nil {
		return err
	}
	for {
		resp, err := stream.NextResponse(ctx)
		switch {
		case err != nil:
			return err
		case resp.CompactRevision > 0:
			return errCompacted
		case resp.Canceled:
			return errors.New(resp.CancelReason)
		}
		for _, raw := range resp.Events {
			record, deleted, err := request.ParseEvent(raw)
			if err != nil {
				return err
			}
			if done, err := each(event{record, deleted}); done || err != nil {
				return err
			}
		}
	}
}

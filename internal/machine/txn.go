package machine

import (
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/request"
)

// path is which branch a transaction takes and, in order, the paths of the transactions nested in that branch.
type path struct {
	succeeded bool
	nested    []path
}

// txn applies a transaction: all compares, nested ones included, are evaluated before anything changes; then the path taken is checked as
// a whole; then it is executed. Everything written shares one revision.
func (a *apply) txn(t *request.Txn) {
	tx := a.begin()
	p := a.choose(tx, t)
	if a.out.Err = a.checkPath(tx, t, p); a.out.Err != nil {
		tx.End()
		return
	}
	result := a.execute(tx, t, p)
	a.end(tx)
	a.reply(func(h request.ResponseHeader) []byte { return request.AppendTxnResponse(nil, h, &result) })
}

// choose evaluates the compares of t and of the nested transactions on its path.
func (a *apply) choose(tx *mvcc.Tx, t *request.Txn) path {
	succeeded, err := holdAll(tx, t.Compare)
	if err != nil {
		panic(&StorageError{err})
	}
	a.out.Ops.Ranges += len(t.Compare)
	p := path{succeeded: succeeded}
	for _, op := range branch(t, succeeded) {
		if op.Txn != nil {
			p.nested = append(p.nested, a.choose(tx, op.Txn))
		}
	}
	return p
}

// checkPath refuses the whole transaction if any operation on its path could not be done.
func (a *apply) checkPath(tx *mvcc.Tx, t *request.Txn, p path) error {
	nested := p.nested
	for _, op := range branch(t, p.succeeded) {
		var err error
		switch {
		case op.Range != nil:
			err = tx.CheckRevision(op.Range.Revision)
		case op.Put != nil:
			err = a.checkPut(tx, op.Put)
		case op.Txn != nil:
			err = a.checkPath(tx, op.Txn, nested[0])
			nested = nested[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// execute does the operations on the path. Each sees what the ones before it wrote.
func (a *apply) execute(tx *mvcc.Tx, t *request.Txn, p path) request.TxnResult {
	result := request.TxnResult{Succeeded: p.succeeded}
	nested := p.nested
	for _, op := range branch(t, p.succeeded) {
		var one request.OpResult
		switch {
		case op.Range != nil:
			one.Range = a.rangeIn(tx, op.Range)
			a.out.Ops.Ranges++
		case op.Put != nil:
			r := a.putIn(tx, op.Put)
			one.Put = &r
		case op.DeleteRange != nil:
			r := a.deleteIn(tx, op.DeleteRange)
			one.DeleteRange = &r
		case op.Txn != nil:
			r := a.execute(tx, op.Txn, nested[0])
			one.Txn, nested = &r, nested[1:]
		}
		one.Revision = tx.Rev()
		result.Responses = append(result.Responses, one)
	}
	return result
}

// rangeIn reads in a transaction whose path is checked. Where nobody waits for the answer there is nothing to read.
func (a *apply) rangeIn(tx *mvcc.Tx, r *request.Range) *request.RangeResult {
	if !a.wanted {
		return &request.RangeResult{}
	}
	result, err := Range(tx, Query(r))
	if err != nil {
		panic(&StorageError{err})
	}
	return &result
}

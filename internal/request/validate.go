package request

import "github.com/quoin-kv/quoin/internal/kverr"

// Validate makes the checks of a range that need no state.
// Errors: EmptyKey, InvalidSortOption.
func (r *Range) Validate() error {
	switch {
	case len(r.Key) == 0:
		return kverr.EmptyKey
	case r.SortOrder < SortNone || r.SortOrder > SortDescend:
		return kverr.InvalidSortOption
	case r.SortTarget < SortByKey || r.SortTarget > SortByValue:
		return kverr.InvalidSortOption
	}
	return nil
}

// Validate makes the checks of a put that need no state.
// Errors: EmptyKey, ValueProvided, LeaseProvided, in this order.
func (r *Put) Validate() error {
	switch {
	case len(r.Key) == 0:
		return kverr.EmptyKey
	case r.IgnoreValue && len(r.Value) > 0:
		return kverr.ValueProvided
	case r.IgnoreLease && r.Lease != 0:
		return kverr.LeaseProvided
	}
	return nil
}

// Validate makes the checks of a deletion that need no state. Error: EmptyKey.
func (r *DeleteRange) Validate() error {
	if len(r.Key) == 0 {
		return kverr.EmptyKey
	}
	return nil
}

// Validate makes the checks of a transaction that need no state: sizes and
// operations first, nested transactions included, then keys changed twice.
// A nested transaction may have as many operations as maxOps leaves after the
// longest list of its parent.
// Errors: TooManyOps, EmptyKey, KeyNotFound for an operation without request,
// those of the operations, and DuplicateKey.
func (t *Txn) Validate(maxOps int) error {
	if err := t.validateOps(maxOps); err != nil {
		return err
	}
	if changesTwice(t.Success) || changesTwice(t.Failure) {
		return kverr.DuplicateKey
	}
	return nil
}

func (t *Txn) validateOps(maxOps int) error {
	longest := max(len(t.Compare), len(t.Success), len(t.Failure))
	if longest > maxOps {
		return kverr.TooManyOps
	}
	for i := range t.Compare {
		if len(t.Compare[i].Key) == 0 {
			return kverr.EmptyKey
		}
	}
	for _, branch := range [...][]Op{t.Success, t.Failure} {
		for i := range branch {
			if err := branch[i].validate(maxOps - longest); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *Op) validate(nestedMaxOps int) error {
	switch {
	case o.Range != nil:
		return o.Range.Validate()
	case o.Put != nil:
		return o.Put.Validate()
	case o.DeleteRange != nil:
		return o.DeleteRange.Validate()
	case o.Txn != nil:
		return o.Txn.validateOps(nestedMaxOps)
	}
	return kverr.KeyNotFound
}

// ReadOnly reports whether all operations of both branches are ranges. Such a
// transaction is answered without the log. A nested transaction counts as a
// write even if it only reads.
func (t *Txn) ReadOnly() bool {
	for _, branch := range [...][]Op{t.Success, t.Failure} {
		for i := range branch {
			if branch[i].Range == nil {
				return false
			}
		}
	}
	return true
}

// Serializable reports whether all operations of both branches are
// serializable ranges. It is true for a transaction of compares alone.
func (t *Txn) Serializable() bool {
	for _, branch := range [...][]Op{t.Success, t.Failure} {
		for i := range branch {
			if r := branch[i].Range; r == nil || !r.Serializable {
				return false
			}
		}
	}
	return true
}

// HasPut reports whether either branch, or a nested transaction, contains a
// put.
func (t *Txn) HasPut() bool { return hasPut(t.Success) || hasPut(t.Failure) }

func hasPut(ops []Op) bool {
	for i := range ops {
		if ops[i].Put != nil || ops[i].Txn != nil && ops[i].Txn.HasPut() {
			return true
		}
	}
	return false
}

// What the quota counts for requests, in bytes.
const (
	putOverheadBytes    = 256
	leaseGrantCostBytes = 64
)

// QuotaCost is what the put adds to the used space, in bytes, by the quota's
// estimate.
func (r *Put) QuotaCost() int64 { return putOverheadBytes + int64(len(r.Key)) + int64(len(r.Value)) }

// QuotaCost is what the grant adds to the used space, in bytes, by the quota's
// estimate.
func (r *LeaseGrant) QuotaCost() int64 { return leaseGrantCostBytes }

// QuotaCost is what the more expensive branch of the transaction adds to the
// used space, in bytes, by the quota's estimate.
func (t *Txn) QuotaCost() int64 { return max(quotaCost(t.Success), quotaCost(t.Failure)) }

func quotaCost(ops []Op) int64 {
	var sum int64
	for i := range ops {
		switch op := &ops[i]; {
		case op.Put != nil:
			sum += op.Put.QuotaCost()
		case op.Txn != nil:
			sum += op.Txn.QuotaCost()
		}
	}
	return sum
}

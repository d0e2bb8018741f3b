package request

import (
	"errors"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxTxnDepth is how deep transactions may be nested in each other, the outer
// one included. The default limit of 128 operations lets at most 129 levels
// through validation; protobuf's own bound of 10,000 levels would let a
// request of a few kilobytes occupy megabytes of stack.
const MaxTxnDepth = 256

var errTooDeep = errors.New("transactions are nested too deep")

// Txn runs Success if all of Compare hold, else Failure.
type Txn struct {
	Compare          []Compare
	Success, Failure []Op
}

// Op is one operation of a [Txn]. One field is set, or none if the client sent
// an operation without a request.
type Op struct {
	Range       *Range
	Put         *Put
	DeleteRange *DeleteRange
	Txn         *Txn
}

// Results of a [Compare]: the relation of the stored value, on the left, to
// the operand.
const (
	CompareEqual int32 = iota
	CompareGreater
	CompareLess
	CompareNotEqual
)

// Targets of a [Compare].
const (
	TargetVersion int32 = iota
	TargetCreate
	TargetMod
	TargetValue
	TargetLease
)

// Arm says which operand of a [Compare] is present. Its values are the field
// numbers on the wire.
type Arm uint8

// The arms of a [Compare].
const (
	ArmNone    Arm = 0
	ArmVersion Arm = 4
	ArmCreate  Arm = 5
	ArmMod     Arm = 6
	ArmValue   Arm = 7
	ArmLease   Arm = 8
)

// Compare is one condition of a [Txn].
//
// Invariant 1: only the operand that Arm names differs from zero.
type Compare struct {
	Result, Target int32
	Key            []byte
	// Arm tells the operand that is present. It can disagree with Target: the
	// operand then counts as zero or empty; see Operand.
	Arm            Arm
	Version        int64
	CreateRevision int64
	ModRevision    int64
	Lease          int64
	Value          []byte
	// RangeEnd extends the condition to all keys of [Key, RangeEnd), as in
	// Range.
	RangeEnd []byte
}

// Operand returns what the stored value is compared with: a number, or for
// TargetValue bytes. It is zero if the arm that is set is not the target's.
func (c *Compare) Operand() (number int64, value []byte) {
	switch c.Target {
	case TargetVersion:
		return c.Version, nil
	case TargetCreate:
		return c.CreateRevision, nil
	case TargetMod:
		return c.ModRevision, nil
	case TargetLease:
		return c.Lease, nil
	case TargetValue:
		return 0, c.Value
	}
	return 0, nil
}

// Unmarshal merges the wire form b into c. Byte fields alias b.
func (c *Compare) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setInt32(&c.Result)
		case 2:
			d.setInt32(&c.Target)
		case 3:
			d.setBytes(&c.Key)
		case 4, 5, 6, 8:
			c.setNumber(&d)
		case 7:
			c.setValue(&d)
		case 64:
			d.setBytes(&c.RangeEnd)
		}
	}
	return d.done("Compare")
}

// number returns the place of an arm's operand, nil for no numeric arm.
func (c *Compare) number(a Arm) *int64 {
	switch a {
	case ArmVersion:
		return &c.Version
	case ArmCreate:
		return &c.CreateRevision
	case ArmMod:
		return &c.ModRevision
	case ArmLease:
		return &c.Lease
	}
	return nil
}

// switchTo empties the arm that was set and selects another.
func (c *Compare) switchTo(a Arm) {
	if n := c.number(c.Arm); n != nil {
		*n = 0
	}
	c.Value = nil
	c.Arm = a
}

func (c *Compare) setNumber(d *decoder) {
	if d.typ == protowire.VarintType {
		c.switchTo(Arm(d.num))
		*c.number(c.Arm) = int64(d.varint)
	}
}

func (c *Compare) setValue(d *decoder) {
	if d.isMessage() {
		c.switchTo(ArmValue)
		c.Value = d.payload
	}
}

// Size is the length of the wire form in bytes.
func (c *Compare) Size() int {
	n := sizeNumber(1, uint64(c.Result)) + sizeNumber(2, uint64(c.Target)) +
		sizeBytes(3, len(c.Key)) + sizeBytes(64, len(c.RangeEnd))
	if number := c.number(c.Arm); number != nil {
		n += sizePresent(4, uint64(*number)) // all arms have tags of one byte
	}
	if c.Arm == ArmValue {
		n += sizeFrame(7, len(c.Value))
	}
	return n
}

// Append appends the canonical wire form to b.
func (c *Compare) Append(b []byte) []byte {
	w := begin(b, c.Size())
	c.write(&w)
	return w.finish()
}

func (c *Compare) write(w *writer) {
	// The operand, a oneof, stands last as in the generated code's encoding.
	if number := c.number(c.Arm); number != nil {
		w.present(protowire.Number(c.Arm), uint64(*number))
	}
	if c.Arm == ArmValue {
		w.frame(7, c.Value)
	}
	w.bytes(64, c.RangeEnd)
	w.bytes(3, c.Key)
	w.number(2, uint64(c.Target))
	w.number(1, uint64(c.Result))
}

// Unmarshal merges the wire form b into t. Byte fields alias b. It fails with
// ErrMalformed also if transactions are nested deeper than [MaxTxnDepth].
func (t *Txn) Unmarshal(b []byte) error { return t.unmarshal(b, 1) }

func (t *Txn) unmarshal(b []byte, depth int) error {
	d := decoder{rest: b}
	if depth > MaxTxnDepth {
		d.fail(errTooDeep)
	}
	t.reserve(b)
	for d.next() {
		if !d.isMessage() {
			continue
		}
		switch d.num {
		case 1:
			t.Compare = append(t.Compare, Compare{})
			d.err = t.Compare[len(t.Compare)-1].Unmarshal(d.payload)
		case 2:
			d.err = addOp(&t.Success, d.payload, depth)
		case 3:
			d.err = addOp(&t.Failure, d.payload, depth)
		}
	}
	return d.done("TxnRequest")
}

// reserve makes room for the compares and operations of b, of which there are
// at most len(b)/2.
func (t *Txn) reserve(b []byte) {
	var counts [4]int
	for d := (decoder{rest: b}); d.next(); {
		if d.isMessage() && int(d.num) < len(counts) {
			counts[d.num]++
		}
	}
	t.Compare = slices.Grow(t.Compare, counts[1])
	t.Success = slices.Grow(t.Success, counts[2])
	t.Failure = slices.Grow(t.Failure, counts[3])
}

func addOp(ops *[]Op, b []byte, depth int) error {
	*ops = append(*ops, Op{})
	return (*ops)[len(*ops)-1].unmarshal(b, depth)
}

// Unmarshal merges the wire form b into o. Byte fields alias b.
func (o *Op) Unmarshal(b []byte) error { return o.unmarshal(b, 0) }

// unmarshal decodes an operation of a transaction at the given depth.
func (o *Op) unmarshal(b []byte, depth int) error {
	d := decoder{rest: b}
	for d.next() {
		if !d.isMessage() {
			continue
		}
		switch d.num {
		case 1:
			*o = Op{Range: orNew(o.Range)}
			d.err = o.Range.Unmarshal(d.payload)
		case 2:
			*o = Op{Put: orNew(o.Put)}
			d.err = o.Put.Unmarshal(d.payload)
		case 3:
			*o = Op{DeleteRange: orNew(o.DeleteRange)}
			d.err = o.DeleteRange.Unmarshal(d.payload)
		case 4:
			*o = Op{Txn: orNew(o.Txn)}
			d.err = o.Txn.unmarshal(d.payload, depth+1)
		}
	}
	return d.done("RequestOp")
}

// orNew returns p, or a new value if p is nil: the same arm of a oneof merges.
func orNew[T any](p *T) *T {
	if p == nil {
		return new(T)
	}
	return p
}

// Size is the length of the wire form in bytes.
func (t *Txn) Size() int {
	n := 0
	for i := range t.Compare {
		n += sizeFrame(1, t.Compare[i].Size())
	}
	for i := range t.Success {
		n += sizeFrame(2, t.Success[i].Size())
	}
	for i := range t.Failure {
		n += sizeFrame(3, t.Failure[i].Size())
	}
	return n
}

// Append appends the canonical wire form to b.
func (t *Txn) Append(b []byte) []byte {
	w := begin(b, t.Size())
	t.write(&w)
	return w.finish()
}

func (t *Txn) write(w *writer) {
	for i := range slices.Backward(t.Failure) {
		end := w.at
		t.Failure[i].write(w)
		w.message(3, end)
	}
	for i := range slices.Backward(t.Success) {
		end := w.at
		t.Success[i].write(w)
		w.message(2, end)
	}
	for i := range slices.Backward(t.Compare) {
		end := w.at
		t.Compare[i].write(w)
		w.message(1, end)
	}
}

// Size is the length of the wire form in bytes.
func (o *Op) Size() int {
	switch {
	case o.Range != nil:
		return sizeFrame(1, o.Range.Size())
	case o.Put != nil:
		return sizeFrame(2, o.Put.Size())
	case o.DeleteRange != nil:
		return sizeFrame(3, o.DeleteRange.Size())
	case o.Txn != nil:
		return sizeFrame(4, o.Txn.Size())
	}
	return 0
}

// Append appends the canonical wire form to b.
func (o *Op) Append(b []byte) []byte {
	w := begin(b, o.Size())
	o.write(&w)
	return w.finish()
}

func (o *Op) write(w *writer) {
	end := w.at
	switch {
	case o.Range != nil:
		o.Range.write(w)
		w.message(1, end)
	case o.Put != nil:
		o.Put.write(w)
		w.message(2, end)
	case o.DeleteRange != nil:
		o.DeleteRange.write(w)
		w.message(3, end)
	case o.Txn != nil:
		o.Txn.write(w)
		w.message(4, end)
	}
}

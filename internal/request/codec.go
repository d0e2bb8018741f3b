package request

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrMalformed is wrapped by every error that Unmarshal and ParseInternal
// return for bytes that are not a protobuf message of the wanted kind.
var ErrMalformed = errors.New("malformed protobuf message")

// decoder walks over the fields of one message. Set methods store the current
// field if its wire type is the expected one; otherwise the field counts as
// unknown and is skipped, as protobuf demands.
type decoder struct {
	rest []byte // not yet decoded
	err  error

	num     protowire.Number
	typ     protowire.Type
	varint  uint64 // value of a varint field
	payload []byte // contents of a length-delimited field; aliases the input
}

// next decodes one field. It reports false at the end and at the first error.
func (d *decoder) next() bool {
	if d.err != nil || len(d.rest) == 0 {
		return false
	}
	num, typ, n := protowire.ConsumeTag(d.rest)
	if n < 0 {
		return d.fail(protowire.ParseError(n))
	}
	if num > protowire.MaxValidNumber {
		return d.fail(fmt.Errorf("field number %d out of range", num))
	}
	d.num, d.typ = num, typ
	d.rest = d.rest[n:]
	return d.value()
}

// value decodes the current field's value behind its tag.
func (d *decoder) value() bool {
	var n int
	switch d.typ {
	case protowire.VarintType:
		d.varint, n = protowire.ConsumeVarint(d.rest)
	case protowire.BytesType:
		d.payload, n = protowire.ConsumeBytes(d.rest)
	default:
		n = protowire.ConsumeFieldValue(d.num, d.typ, d.rest)
	}
	if n < 0 {
		return d.fail(protowire.ParseError(n))
	}
	d.rest = d.rest[n:]
	return true
}

func (d *decoder) fail(err error) bool {
	d.err = fmt.Errorf("%w: %w", ErrMalformed, err)
	return false
}

func (d *decoder) isMessage() bool { return d.typ == protowire.BytesType }

func (d *decoder) setBytes(p *[]byte) {
	if d.typ == protowire.BytesType {
		*p = d.payload
	}
}

func (d *decoder) setInt64(p *int64) {
	if d.typ == protowire.VarintType {
		*p = int64(d.varint)
	}
}

func (d *decoder) setUint64(p *uint64) {
	if d.typ == protowire.VarintType {
		*p = d.varint
	}
}

func (d *decoder) setInt32(p *int32) {
	if d.typ == protowire.VarintType {
		*p = int32(d.varint)
	}
}

func (d *decoder) setBool(p *bool) {
	if d.typ == protowire.VarintType {
		*p = d.varint != 0
	}
}

func (d *decoder) setString(p *string) {
	if s, ok := d.text(); ok {
		*p = s
	}
}

// setKnown is setString, but the string is the known one if it is equal.
func (d *decoder) setKnown(p *string, known string) {
	if d.typ == protowire.BytesType && string(d.payload) == known {
		*p = known
		return
	}
	d.setString(p)
}

func (d *decoder) addString(p *[]string) {
	if s, ok := d.text(); ok {
		*p = append(*p, s)
	}
}

// text returns the current field as a string. Strings, unlike bytes, have to
// be valid UTF-8.
func (d *decoder) text() (string, bool) {
	if d.typ != protowire.BytesType {
		return "", false
	}
	if !utf8.Valid(d.payload) {
		return "", d.fail(fmt.Errorf("field %d is not valid UTF-8", d.num))
	}
	return string(d.payload), true
}

// writer fills a buffer from its end to its beginning, so that the length of a
// submessage is known when its prefix is written and no size has to be
// computed twice. Fields are therefore written in descending order.
//
// Invariant 1: when a message is complete, at equals the length of what the
// buffer held before; finish panics otherwise, since then Size is wrong.
type writer struct {
	buf   []byte
	start int // where the message begins
	at    int // everything from here on is written
}

// begin returns a writer for size bytes behind b. b's array is reused if it
// has room.
func begin(b []byte, size int) writer {
	start := len(b)
	if cap(b) == 0 {
		b = make([]byte, 0, size)
	}
	b = slices.Grow(b, size)[:start+size]
	return writer{buf: b, start: start, at: len(b)}
}

func (w *writer) finish() []byte {
	if w.at != w.start {
		panic(fmt.Sprintf("request: message begins at byte %d, expected %d: its size is wrong", w.at, w.start))
	}
	return w.buf
}

func (w *writer) raw(p []byte) {
	w.at -= len(p)
	copy(w.buf[w.at:], p)
}

func (w *writer) uvarint(v uint64) {
	w.at -= protowire.SizeVarint(v)
	i := w.at
	for ; v >= 0x80; i++ {
		w.buf[i] = byte(v) | 0x80
		v >>= 7
	}
	w.buf[i] = byte(v)
}

func (w *writer) tag(num protowire.Number, typ protowire.Type) {
	w.uvarint(protowire.EncodeTag(num, typ))
}

// number writes a varint field unless it is zero.
func (w *writer) number(num protowire.Number, v uint64) {
	if v != 0 {
		w.present(num, v)
	}
}

// present writes a varint field even if it is zero.
func (w *writer) present(num protowire.Number, v uint64) {
	w.uvarint(v)
	w.tag(num, protowire.VarintType)
}

func (w *writer) flag(num protowire.Number, v bool) {
	if v {
		w.present(num, 1)
	}
}

// bytes writes a length-delimited field unless it is empty.
func (w *writer) bytes(num protowire.Number, p []byte) {
	if len(p) > 0 {
		w.frame(num, p)
	}
}

// frame writes a length-delimited field even if it is empty.
func (w *writer) frame(num protowire.Number, p []byte) {
	w.raw(p)
	w.prefix(num, len(p))
}

func (w *writer) text(num protowire.Number, s string) {
	if len(s) > 0 {
		w.textFrame(num, s)
	}
}

func (w *writer) texts(num protowire.Number, list []string) {
	for _, s := range slices.Backward(list) {
		w.textFrame(num, s)
	}
}

func (w *writer) textFrame(num protowire.Number, s string) {
	w.at -= len(s)
	copy(w.buf[w.at:], s)
	w.prefix(num, len(s))
}

// message makes everything written since at was end a submessage.
func (w *writer) message(num protowire.Number, end int) {
	w.prefix(num, end-w.at)
}

func (w *writer) prefix(num protowire.Number, length int) {
	w.uvarint(uint64(length))
	w.tag(num, protowire.BytesType)
}

// The size functions mirror the writer's methods.

func sizeNumber(num protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return sizePresent(num, v)
}

func sizePresent(num protowire.Number, v uint64) int {
	return protowire.SizeTag(num) + protowire.SizeVarint(v)
}

func sizeFlag(num protowire.Number, v bool) int {
	if !v {
		return 0
	}
	return protowire.SizeTag(num) + 1
}

func sizeBytes(num protowire.Number, n int) int {
	if n == 0 {
		return 0
	}
	return sizeFrame(num, n)
}

func sizeFrame(num protowire.Number, n int) int {
	return protowire.SizeTag(num) + protowire.SizeBytes(n)
}

func sizeTexts(num protowire.Number, list []string) int {
	n := 0
	for _, s := range list {
		n += sizeFrame(num, len(s))
	}
	return n
}

func sizeFrames(num protowire.Number, list [][]byte) int {
	n := 0
	for _, p := range list {
		n += sizeFrame(num, len(p))
	}
	return n
}

func (w *writer) frames(num protowire.Number, list [][]byte) {
	for _, p := range slices.Backward(list) {
		w.frame(num, p)
	}
}

// done adds the message's name to the error that ended the walk, once: an
// error that comes from a submessage has its name already.
func (d *decoder) done(name string) error {
	if d.err == nil {
		return nil
	}
	var named *messageError
	if errors.As(d.err, &named) {
		return d.err
	}
	return &messageError{message: name, err: d.err}
}

type messageError struct {
	message string
	err     error
}

func (e *messageError) Error() string { return "request: decoding " + e.message + ": " + e.err.Error() }
func (e *messageError) Unwrap() error { return e.err }

package ctl

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// A format is a value of --write-out.
type format string

const (
	formatSimple   format = "simple"   // lines of text, per command
	formatJSON     format = "json"     // the response on one line
	formatFields   format = "fields"   // a line per field
	formatTable    format = "table"    // with borders
	formatProtobuf format = "protobuf" // the response as it came
)

// newFormat adds --write-out to flags.
func newFormat(flags *pflag.FlagSet) *format {
	f := formatSimple
	flags.StringVarP((*string)(&f), "write-out", "w", string(formatSimple), "output format: fields, json, protobuf, simple or table")
	return &f
}

// check refuses a format that does not exist.
func (f format) check() error {
	switch f {
	case formatSimple, formatJSON, formatFields, formatTable, formatProtobuf:
		return nil
	}
	return fail(ExitUnsupported, "unsupported output format")
}

// answer is a response in the forms in which it can be printed; nil where there is none.
type answer struct {
	json   any
	proto  proto.Message
	simple func(io.Writer) error
	fields func(*fieldWriter)
	table  *Table
	hex    bool // ids among the fields in hexadecimal
}

// show prints an answer in the format that was asked for.
func (f format) show(w io.Writer, a answer) error {
	err := f.render(w, a)
	if err == nil || ExitCode(err) == ExitUnsupported {
		return err
	}
	return fail(ExitIO, "write the answer: %w", err)
}

func (f format) render(w io.Writer, a answer) error {
	switch {
	case f == formatSimple:
		return a.simple(w)
	case f == formatJSON && a.json != nil:
		return WriteJSON(w, a.json)
	case f == formatFields && a.fields != nil:
		fields := &fieldWriter{w: w, hex: a.hex}
		a.fields(fields)
		return fields.err
	case f == formatTable && a.table != nil:
		return a.table.Write(w)
	case f == formatProtobuf && a.proto != nil:
		raw, err := proto.Marshal(a.proto)
		if err == nil {
			_, err = w.Write(raw)
		}
		return err
	}
	return fail(ExitUnsupported, "%s not supported as output format", string(f))
}

// WriteJSON prints any value as one line of JSON.
func WriteJSON(w io.Writer, value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", line)
	return err
}

// line prints a line of text.
func line(form string, args ...any) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := fmt.Fprintf(w, form+"\n", args...)
		return err
	}
}

// fieldWriter prints a line for each field, up to the first error.
type fieldWriter struct {
	w   io.Writer
	err error
	hex bool // ids in hexadecimal
}

func (f *fieldWriter) print(form string, args ...any) {
	if f.err == nil {
		_, f.err = fmt.Fprintf(f.w, form+"\n", args...)
	}
}

// field prints one field; texts and bytes are quoted.
func (f *fieldWriter) field(name string, value any) {
	switch value.(type) {
	case string, []byte:
		f.print("%q : %q", name, value)
	default:
		f.print("%q : %v", name, value)
	}
}

func (f *fieldWriter) id(name string, id uint64) {
	if f.hex {
		f.print("%q : %x", name, id)
		return
	}
	f.field(name, id)
}

func (f *fieldWriter) lease(name string, id int64) {
	if f.hex {
		f.print("%q : %016x", name, id)
		return
	}
	f.field(name, id)
}

func (f *fieldWriter) header(h *etcdserverpb.ResponseHeader) {
	f.id("ClusterID", h.GetClusterId())
	f.id("MemberID", h.GetMemberId())
	if h.GetRevision() > 0 {
		f.field("Revision", h.GetRevision())
	}
	f.field("RaftTerm", h.GetRaftTerm())
}

// pair prints a key and what belongs to it; prefix stands before each name.
func (f *fieldWriter) pair(prefix string, kv *mvccpb.KeyValue) {
	f.field(prefix+"Key", kv.Key)
	f.field(prefix+"CreateRevision", kv.CreateRevision)
	f.field(prefix+"ModRevision", kv.ModRevision)
	f.field(prefix+"Version", kv.Version)
	f.field(prefix+"Value", kv.Value)
	f.lease(prefix+"Lease", kv.Lease)
}

// text is how the simple format prints bytes.
func (g *globals) text(b []byte) string {
	if !g.hex {
		return string(b)
	}
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, "\\x%02x", c)
	}
	return s.String()
}

// writePairs prints each key and value on a line of its own.
func (g *globals) writePairs(w io.Writer, kvs []*mvccpb.KeyValue) error {
	for _, kv := range kvs {
		if err := g.writePair(w, kv); err != nil {
			return err
		}
	}
	return nil
}

func (g *globals) writePair(w io.Writer, kv *mvccpb.KeyValue) error {
	_, err := fmt.Fprintf(w, "%s\n%s\n", g.text(kv.Key), g.text(kv.Value))
	return err
}

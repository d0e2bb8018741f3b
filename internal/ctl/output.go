package ctl

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// A format is a value of --write-out.
type format string

const (
	formatSimple format = "simple" // lines of text, per command
	formatJSON   format = "json"   // the response on one line
)

// newFormat adds --write-out to a command.
func newFormat(cmd *cobra.Command) *format {
	f := formatSimple
	cmd.Flags().StringVarP((*string)(&f), "write-out", "w", string(formatSimple), "output format: simple or json")
	return &f
}

// check refuses a format that does not exist.
func (f format) check() error {
	if f != formatSimple && f != formatJSON {
		return fail(ExitUnsupported, "unsupported output format %q", string(f))
	}
	return nil
}

// write prints a response as one line of JSON, or as text by simple.
func (f format) write(w io.Writer, response any, simple func(io.Writer) error) error {
	var err error
	if f == formatJSON {
		err = writeJSON(w, response)
	} else {
		err = simple(w)
	}
	if err != nil {
		return fail(ExitIO, "write the answer: %w", err)
	}
	return nil
}

// writeJSON prints any value as one line of JSON.
func writeJSON(w io.Writer, value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", line)
	return err
}

// writePairs prints each key and value on a line of its own.
func writePairs(w io.Writer, kvs []*mvccpb.KeyValue) error {
	for _, kv := range kvs {
		if err := writePair(w, kv); err != nil {
			return err
		}
	}
	return nil
}

func writePair(w io.Writer, kv *mvccpb.KeyValue) error {
	_, err := fmt.Fprintf(w, "%s\n%s\n", kv.Key, kv.Value)
	return err
}

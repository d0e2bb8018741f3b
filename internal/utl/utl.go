// Package utl holds the offline commands: what is done to snapshots and data directories while no member runs. They take etcdutl's flags and
// print in its formats; the work is that of package offline.
package utl

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/version"

	"github.com/quoin-kv/quoin/internal/ctl"
	"github.com/quoin-kv/quoin/internal/kverr"
)

// Commands returns the offline commands. Errors are left to the caller to print; pass what Execute returns to ctl.ExitCode.
func Commands() []*cobra.Command {
	f := &format{name: "simple"}
	snapshot := &cobra.Command{Use: "snapshot", Short: "Judge and restore snapshots"}
	snapshot.AddCommand(statusCommand(f), restoreCommand())
	return []*cobra.Command{f.attach(snapshot), f.attach(hashCommand(f)), f.attach(defragCommand()), f.attach(migrateCommand()), f.attach(membersCommand(f))}
}

// Tool returns the offline commands under one root: the program etcdutl.
func Tool() *cobra.Command {
	root := &cobra.Command{Use: "etcdutl", Short: "An administrative command line tool for etcd3.", SilenceUsage: true, SilenceErrors: true}
	f := &format{name: "simple"}
	f.attach(root)
	root.AddCommand(Commands()...)
	root.AddCommand(&cobra.Command{Use: "version", Short: "Print the version", Run: func(cmd *cobra.Command, _ []string) {
		fmt.Fprintf(cmd.OutOrStdout(), "etcdutl version: %s\nAPI version: %s\n", version.Version, version.APIVersion)
	}})
	return root
}

// logger writes what a command does to the error stream.
func logger(cmd *cobra.Command) *slog.Logger {
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
}

// failed gives a failure its exit code and the words that users of etcd's tool know.
func failed(err error) error {
	if err == nil {
		return nil
	}
	var known *kverr.Error
	if errors.As(err, &known) {
		err = errors.New(strings.TrimPrefix(known.Text, "etcdserver: "))
	}
	return &ctl.ExitError{Code: ctl.ExitFailure, Err: err}
}

// wrong is a command line that makes no sense.
func wrong(form string, args ...any) error {
	return &ctl.ExitError{Code: ctl.ExitBadArguments, Err: fmt.Errorf(form, args...)}
}

// format is the flag of how to print.
type format struct{ name string }

func (f *format) attach(cmd *cobra.Command) *cobra.Command {
	if cmd.PersistentFlags().Lookup("write-out") == nil {
		cmd.PersistentFlags().StringVarP(&f.name, "write-out", "w", f.name, "fields, json, protobuf, simple or table")
	}
	quiet(cmd)
	return cmd
}

func quiet(cmd *cobra.Command) {
	cmd.SilenceUsage = true
	for _, sub := range cmd.Commands() {
		quiet(sub)
	}
}

// check refuses formats that do not exist, or that no offline command has.
func (f *format) check() error {
	switch f.name {
	case "simple", "json", "fields", "table":
		return nil
	case "protobuf":
		return &ctl.ExitError{Code: ctl.ExitUnsupported, Err: errors.New("protobuf not supported as output format")}
	}
	return &ctl.ExitError{Code: ctl.ExitUnsupported, Err: errors.New("unsupported output format")}
}

// result is what a command has found out, in the forms in which it can be printed.
type result struct {
	json    any
	columns []column
}

// column is one thing that was found out.
type column struct {
	title string // in a table
	field string // as a field
	text  string // in a table, and in a line
	value any    // as a field; nil for text
}

func number(title, field string, n int64) column {
	return column{title: title, field: field, text: strconv.FormatInt(n, 10)}
}

// show prints a result.
func (f *format) show(w io.Writer, r result) error {
	table := ctl.Table{Rows: [][]string{nil}}
	for _, c := range r.columns {
		table.Header = append(table.Header, c.title)
		table.Rows[0] = append(table.Rows[0], c.text)
	}
	switch f.name {
	case "json":
		return ctl.WriteJSON(w, r.json)
	case "table":
		return table.Write(w)
	case "fields":
		for _, c := range r.columns {
			value := c.value
			if value == nil {
				value = c.text
			}
			if _, err := fmt.Fprintf(w, "%q : %v\n", c.field, value); err != nil {
				return err
			}
		}
		return nil
	}
	return ctl.WriteRows(w, table.Rows)
}

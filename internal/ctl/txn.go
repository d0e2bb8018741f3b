package ctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func (g *globals) txnCommand() *cobra.Command {
	var interactive bool
	cmd := &cobra.Command{
		Use: "txn [options]", Short: "Do several things at once, or others, as conditions hold",
		Long: "Do several things at once, or others, as conditions hold. Standard input has three blocks of lines, each ended by an empty line:\n" +
			"conditions such as version(\"key\") > \"1\", what to do if they hold (get, put and del with their flags), and what else.",
	}
	cmd.Flags().BoolVarP(&interactive, "interactive", "i", false, "ask for each block")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fail(ExitBadArguments, "txn command does not accept argument")
		}
		if err := g.check(); err != nil {
			return err
		}
		in := blocks{in: bufio.NewReader(cmd.InOrStdin())}
		if interactive {
			in.prompts = cmd.OutOrStdout()
		}
		t, err := in.txn()
		if err != nil {
			return err
		}
		return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
			r, err := c.Txn(ctx).If(t.conditions...).Then(t.then...).Else(t.otherwise...).Commit()
			return answer{
				json: r, proto: (*etcdserverpb.TxnResponse)(r),
				simple: func(w io.Writer) error { return g.writeTxn(w, (*etcdserverpb.TxnResponse)(r)) },
				fields: func(f *fieldWriter) { f.txnResponse((*etcdserverpb.TxnResponse)(r)) },
			}, err
		})
	}
	return cmd
}

// txn is a transaction that was read.
type txn struct {
	conditions      []clientv3.Cmp
	then, otherwise []clientv3.Op
}

// blocks reads a transaction block by block. With prompts, it asks for each.
type blocks struct {
	in      *bufio.Reader
	prompts io.Writer // nil for none
}

func (b *blocks) txn() (t txn, err error) {
	err = b.block("compares:", func(line string) error {
		c, err := parseCompare(line)
		t.conditions = append(t.conditions, c)
		return err
	})
	if err != nil {
		return t, err
	}
	if t.then, err = b.operations("success requests (get, put, del):"); err != nil {
		return t, err
	}
	t.otherwise, err = b.operations("failure requests (get, put, del):")
	return t, err
}

func (b *blocks) operations(prompt string) (ops []clientv3.Op, err error) {
	err = b.block(prompt, func(line string) error {
		op, err := parseOperation(line)
		ops = append(ops, op)
		return err
	})
	return ops, err
}

// block passes on the lines up to an empty one. Failures are those of invalid input.
func (b *blocks) block(prompt string, take func(line string) error) error {
	if b.prompts != nil {
		fmt.Fprintln(b.prompts, prompt)
	}
	for {
		line, err := b.in.ReadString('\n')
		if err != nil && (!errors.Is(err, io.EOF) || line == "") {
			return fail(ExitInvalidInput, "%w", err)
		}
		if line = strings.TrimSpace(line); line == "" {
			return nil
		}
		if err := take(line); err != nil {
			return fail(ExitInvalidInput, "%w", err)
		}
	}
}

// parseCompare reads a condition such as `mod("key") > "0"`.
func parseCompare(line string) (c clientv3.Cmp, err error) {
	var target, key, op, value string
	open := strings.IndexByte(line, '(')
	if open < 0 {
		return c, fmt.Errorf("malformed comparison: %s", line)
	}
	target = line[:open]
	if n, err := fmt.Sscanf(line[open:], "(%q) %s %q", &key, &op, &value); err != nil || n != 3 {
		return c, fmt.Errorf("malformed comparison: %s; got %s(%q) %s %q", line, target, key, op, value)
	}
	number := func() (n int64) {
		n, err = strconv.ParseInt(value, 10, 64)
		return n
	}
	switch target {
	case "ver", "version":
		c = compare(clientv3.Version(key), op, number())
	case "c", "create":
		c = compare(clientv3.CreateRevision(key), op, number())
	case "m", "mod":
		c = compare(clientv3.ModRevision(key), op, number())
	case "val", "value":
		c = compare(clientv3.Value(key), op, value)
	case "lease":
		var id clientv3.LeaseID
		id, err = parseLease(value)
		c = compare(clientv3.LeaseValue(key), op, id)
	default:
		return c, fmt.Errorf("malformed comparison: %s (unknown target %s)", line, target)
	}
	if err == nil && !strings.Contains(" = != > < ", " "+op+" ") {
		err = fmt.Errorf("malformed comparison: %s (unknown operator %s)", line, op)
	}
	if err != nil {
		err = fmt.Errorf("invalid txn compare request: %w", err)
	}
	return c, err
}

// compare is clientv3.Compare, which panics at operators that it does not know.
func compare(what clientv3.Cmp, op string, with any) clientv3.Cmp {
	if !strings.Contains(" = != > < ", " "+op+" ") {
		return what
	}
	return clientv3.Compare(what, op, with)
}

// parseOperation reads a command line of get, put or del.
func parseOperation(line string) (clientv3.Op, error) {
	args, err := splitLine(line)
	if err != nil {
		return clientv3.Op{}, err
	}
	g := newGlobals()
	var op clientv3.Op
	var command *cobra.Command
	switch args[0] {
	case "get":
		c := &get{globals: g}
		command = c.command(func(_ *cobra.Command, args []string) error { return c.operation(args, &op) })
	case "put":
		p := &put{globals: g}
		command = p.command(func(_ *cobra.Command, args []string) error { return p.operation(args, &op) })
	case "del":
		d := &remove{globals: g}
		command = d.command(func(_ *cobra.Command, args []string) error { return d.operation(args, &op) })
	default:
		return op, fmt.Errorf("invalid txn request: %s", line)
	}
	command.SilenceUsage, command.SilenceErrors = true, true
	command.SetArgs(args[1:])
	if err := command.Execute(); err != nil {
		return op, fmt.Errorf("invalid txn request: %s (%w)", line, err)
	}
	return op, nil
}

// splitLine splits a line at spaces. A part in quotes may hold spaces; one in double quotes is read as Go reads it.
func splitLine(line string) (args []string, err error) {
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimSpace(rest) {
		var arg string
		switch rest[0] {
		case '"':
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, fmt.Errorf("quotes do not match: %s", line)
			}
			if arg, err = strconv.Unquote(quoted); err != nil {
				return nil, err
			}
			rest = rest[len(quoted):]
		case '\'':
			end := strings.IndexByte(rest[1:], '\'')
			if end < 0 {
				return nil, fmt.Errorf("quotes do not match: %s", line)
			}
			arg, rest = rest[1:1+end], rest[end+2:]
		default:
			arg, rest, _ = strings.Cut(rest, " ")
		}
		args = append(args, arg)
	}
	return args, nil
}

func (g *globals) writeTxn(w io.Writer, r *etcdserverpb.TxnResponse) error {
	result := "FAILURE"
	if r.Succeeded {
		result = "SUCCESS"
	}
	if err := line("%s", result)(w); err != nil {
		return err
	}
	for _, one := range r.Responses {
		if err := line("")(w); err != nil {
			return err
		}
		if err := g.writeTxnPart(w, one); err != nil {
			return err
		}
	}
	return nil
}

func (g *globals) writeTxnPart(w io.Writer, r *etcdserverpb.ResponseOp) error {
	switch v := r.Response.(type) {
	case *etcdserverpb.ResponseOp_ResponsePut:
		return g.writePut(w, v.ResponsePut.PrevKv)
	case *etcdserverpb.ResponseOp_ResponseDeleteRange:
		return g.writeDelete(w, v.ResponseDeleteRange)
	case *etcdserverpb.ResponseOp_ResponseRange:
		return g.writePairs(w, v.ResponseRange.Kvs)
	}
	return line("unexpected response in txn")(w)
}

func (f *fieldWriter) txnResponse(r *etcdserverpb.TxnResponse) {
	f.header(r.Header)
	f.field("Succeeded", r.Succeeded)
	for _, one := range r.Responses {
		switch v := one.Response.(type) {
		case *etcdserverpb.ResponseOp_ResponsePut:
			f.putResponse(v.ResponsePut)
		case *etcdserverpb.ResponseOp_ResponseDeleteRange:
			f.deleteResponse(v.ResponseDeleteRange)
		case *etcdserverpb.ResponseOp_ResponseRange:
			f.rangeResponse(v.ResponseRange)
		}
	}
}

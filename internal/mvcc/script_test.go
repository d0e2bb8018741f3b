package mvcc

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/ordtree"
	"github.com/quoin-kv/quoin/internal/schema"
)

var update = flag.Bool("update", false, "rewrite the golden output of scripts")

// TestScripts runs the scripts of testdata. A script is blocks of one command
// per line, "----", the expected output and an empty line; lines that begin
// with # are comments. The commands:
//
//	put KEY VALUE [LEASE]; del KEY [END]; begin; end
//	get KEY [END] [rev=N] [limit=N] [sort=none|asc|desc] [by=key|version|create|mod|value]
//	    [keys] [count] [minmod=N] [maxmod=N] [mincreate=N] [maxcreate=N]
//	changes KEY END FROM [TO] [max=N]
//	compact REV; step BUDGET; hash REV; restore; stored; index; meta
//
// "." stands for the zero byte as END and for no END.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sc := &script{t: t}
	sc.s, sc.m = newStore(t)
	var out strings.Builder
	for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		input, _, _ := strings.Cut(block, "----\n")
		input = strings.TrimSuffix(input, "----")
		result := sc.block(input)
		fmt.Fprintf(&out, "%s", input)
		if result != "" || strings.Contains(block, "----") {
			fmt.Fprintf(&out, "----\n%s", result)
		}
		out.WriteString("\n")
	}
	got := strings.TrimSpace(out.String()) + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != string(text) {
		t.Errorf("output differs (run with -update to accept):\n%s", got)
	}
}

type script struct {
	t  *testing.T
	s  *Store
	m  *memStore
	tx *Tx
}

func (sc *script) block(input string) string {
	var out strings.Builder
	for line := range strings.Lines(input) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		out.WriteString(sc.command(strings.Fields(line)))
		if sc.tx == nil {
			sc.s.check(sc.m)
		}
	}
	return out.String()
}

func (sc *script) command(args []string) string {
	args = append(args, "", "", "")
	switch args[0] {
	case "begin":
		sc.tx = sc.s.Begin()
	case "end":
		tx := sc.tx
		sc.tx = nil
		return showEvents(tx.End())
	case "put":
		return sc.write(func(tx *Tx) { tx.Put([]byte(args[1]), []byte(args[2]), number(args[3])) })
	case "del":
		return sc.write(func(tx *Tx) { tx.DeleteRange([]byte(args[1]), rangeEnd(args[2])) })
	case "get":
		return sc.get(args[1:])
	case "changes":
		return sc.changes(args[1:])
	case "compact":
		return showError(sc.s.Compact(number(args[1])))
	case "step":
		done, err := sc.s.CompactStep(int(number(args[1])))
		return fmt.Sprintf("done=%v %s", done, showError(err))
	case "restore":
		sc.s = restore(sc.t, sc.m, sc.m.options())
		return fmt.Sprintf("rev=%d compacted=%d finished=%d\n", sc.s.Rev(), sc.s.CompactRev(), sc.s.finished)
	default:
		return sc.show(args)
	}
	return ""
}

func (sc *script) show(args []string) string {
	switch args[0] {
	case "hash":
		v := sc.s.View(sc.m.reader())
		defer v.Release()
		h, err := v.HashKV(number(args[1]))
		return fmt.Sprintf("hash=%d compacted=%d rev=%d %s", h.Hash, h.CompactRev, h.Rev, showError(err))
	case "stored":
		return sc.stored()
	case "index":
		return sc.index()
	case "meta":
		return sc.meta()
	}
	sc.t.Fatalf("unknown command %q", args)
	return ""
}

// write runs in the open transaction or in one of its own.
func (sc *script) write(do func(*Tx)) string {
	if sc.tx != nil {
		do(sc.tx)
		return ""
	}
	tx := sc.s.Begin()
	do(tx)
	return showEvents(tx.End())
}

func (sc *script) get(args []string) string {
	q := parseQuery(args)
	ask := func() (Result, error) { return sc.tx.Range(q) }
	if sc.tx == nil {
		v := sc.s.View(sc.m.reader())
		defer v.Release()
		ask = func() (Result, error) { return v.Range(q) }
	}
	res, err := ask()
	if err != nil {
		return showError(err)
	}
	var out strings.Builder
	for _, r := range res.Records {
		fmt.Fprintf(&out, "%s\n", showRecord(r))
	}
	fmt.Fprintf(&out, "count=%d more=%v rev=%d\n", res.Count, res.More, res.Rev)
	return out.String()
}

func parseQuery(args []string) Query {
	q := Query{Key: []byte(args[0])}
	for i, arg := range args[1:] {
		name, value, isOption := strings.Cut(arg, "=")
		switch {
		case arg == "":
		case i == 0 && !isOption && arg != "keys" && arg != "count":
			q.End = rangeEnd(arg)
		default:
			setOption(&q, name, value)
		}
	}
	return q
}

func setOption(q *Query, name, value string) {
	orders := map[string]Order{"none": OrderNone, "asc": Ascending, "desc": Descending}
	targets := map[string]Target{"key": ByKey, "version": ByVersion, "create": ByCreate, "mod": ByMod, "value": ByValue}
	switch name {
	case "rev":
		q.Revision = number(value)
	case "limit":
		q.Limit = number(value)
	case "sort":
		q.Order = orders[value]
	case "by":
		q.Target = targets[value]
	case "keys":
		q.KeysOnly = true
	case "count":
		q.CountOnly = true
	case "minmod":
		q.MinMod = number(value)
	case "maxmod":
		q.MaxMod = number(value)
	case "mincreate":
		q.MinCreate = number(value)
	case "maxcreate":
		q.MaxCreate = number(value)
	default:
		panic("unknown option " + name)
	}
}

func (sc *script) changes(args []string) string {
	v := sc.s.View(sc.m.reader())
	defer v.Release()
	q := ChangesQuery{Key: []byte(args[0]), End: rangeEnd(args[1]), From: number(args[2]), To: number(args[3])}
	if len(args) > 4 && strings.HasPrefix(args[4], "max=") {
		q.MaxRevisions = int(number(args[4][4:]))
	}
	c, err := v.Changes(q)
	if err != nil {
		return showError(err)
	}
	return showEvents(c.Events) + fmt.Sprintf("next=%d\n", c.Next)
}

func (sc *script) stored() string {
	var out strings.Builder
	for _, r := range sc.m.records {
		mark := ""
		if r.tombstone {
			mark = " tombstone"
		}
		fmt.Fprintf(&out, "%s%s: %s\n", showRev(r.rev), mark, showRecord(r.record))
	}
	return out.String()
}

func (sc *script) index() string {
	var out strings.Builder
	sc.s.tree.Ascend(ordtree.All, nil, nil, func(key ordtree.Key, it item) bool {
		fmt.Fprintf(&out, "%s:", key.Clone())
		for i := range it.len() {
			v := it.version(i)
			if v.tombstone() {
				fmt.Fprintf(&out, " %s(tombstone)", showRev(v.rev))
			} else {
				fmt.Fprintf(&out, " %s(created=%d version=%d)", showRev(v.rev), v.created, v.number)
			}
		}
		out.WriteString("\n")
		return true
	})
	return out.String()
}

func (sc *script) meta() string {
	var out strings.Builder
	for _, name := range []string{schema.MetaScheduledCompact, schema.MetaFinishedCompact} {
		fmt.Fprintf(&out, "%s=%x\n", name, sc.m.meta[name])
	}
	return out.String()
}

func number(s string) int64 {
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func rangeEnd(s string) []byte {
	if s == "." {
		return []byte{0}
	}
	return []byte(s)
}

func showError(err error) string {
	if err == nil {
		return "ok\n"
	}
	return "error: " + err.Error() + "\n"
}

func showRev(r schema.Rev) string { return fmt.Sprintf("%d.%d", r.Main, r.Sub) }

func showRecord(record []byte) string {
	var kv schema.KeyValue
	if err := kv.Unmarshal(record); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s=%q create=%d mod=%d version=%d lease=%d",
		kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease)
}

func showEvents(events []Event) string {
	var out strings.Builder
	for _, e := range events {
		what := "PUT"
		if e.Delete {
			what = "DELETE"
		}
		fmt.Fprintf(&out, "%s %s %s version=%d", showRev(e.Rev), what, e.Key, e.Version)
		if !e.Prev.IsZero() {
			fmt.Fprintf(&out, " prev=%s", showRev(e.Prev))
		}
		if e.Lease != 0 || e.PrevLease != 0 {
			fmt.Fprintf(&out, " lease=%d was=%d", e.Lease, e.PrevLease)
		}
		out.WriteString("\n")
	}
	if len(events) == 0 {
		return "no events\n"
	}
	return out.String()
}

package utl

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/ctl"
	"github.com/quoin-kv/quoin/internal/schema"
)

// run runs a command line and returns what it prints and its exit code.
func run(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	root := Tool()
	root.SilenceErrors = false
	var o, e bytes.Buffer
	root.SetArgs(args)
	root.SetOut(&o)
	root.SetErr(&e)
	code = ctl.ExitCode(root.ExecuteContext(t.Context()))
	return o.String(), e.String(), code
}

// database makes a file with one key.
func database(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	b, err := backend.Open(backend.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	kv := schema.KeyValue{Key: []byte("a"), Value: []byte("1"), CreateRevision: 2, ModRevision: 2, Version: 1}
	b.Append(schema.Rev{Main: 2}, false, kv.Append(nil))
	b.Commit(schema.Applied{Index: 5, Term: 2})
	if _, err := b.Flush(5); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommandLines(t *testing.T) {
	db := database(t)
	made := filepath.Join(t.TempDir(), "made")
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string // of either stream
	}{
		{"snapshot status", 128, "snapshot status requires exactly one argument"},
		{"snapshot status none", 1, "stat none: no such file or directory"},
		{"snapshot status DB -w protobuf", 4, "protobuf not supported as output format"},
		{"snapshot status DB -w xml", 4, "unsupported output format"},
		{"snapshot status DB", 0, ", 2, 1, "},
		{"snapshot status DB -w json", 0, `"revision":2,"totalKey":1,`},
		{"snapshot status DB -w fields", 0, "\"Revision\" : 2\n\"Keys\" : 1\n"},
		{"snapshot status DB -w table", 0, "│ REVISION │ TOTAL KEYS │"},
		{"hashkv DB", 0, ", 2, -1\n"},
		{"hashkv DB --rev 9", 1, "mvcc: required revision is a future revision"},
		{"hashkv", 1, "accepts 1 arg(s), received 0"},
		{"snapshot restore", 128, "snapshot restore requires exactly one argument"},
		{"snapshot restore DB --data-dir MADE", 1, "snapshot missing hash but --skip-hash-check=false"},
		{"snapshot restore DB --data-dir FULL", 1, "not empty or could not be read"},
		{"snapshot restore DB --data-dir MADE --skip-hash-check --bump-revision 5", 128, "--mark-compacted required if --revision-bump > 0"},
		{"snapshot restore DB --data-dir MADE --skip-hash-check --initial-memory-map-size 1 --progress", 0, "100%"},
		{"migrate --data-dir MADE --target-version 3.6", 0, "updated storage version"},
		{"migrate --data-dir MADE", 1, `required flag(s) "target-version" not set`},
		{"migrate --data-dir MADE --target-version 3.4", 1, `target version "3.4" not supported. Minimal "3.5"`},
		{"defrag", 1, `required flag(s) "data-dir" not set`},
		{"defrag --data-dir none", 1, "Failed to defragment etcd data[none] (stat none/member/snap/db: no such file or directory)"},
		{"defrag --data-dir MADE", 0, "finished defragmenting directory"},
		{"version", 0, "etcdutl version: "},
	} {
		line := strings.NewReplacer("DB", db, "MADE", made, "FULL", full).Replace(c.args)
		out, errs, code := run(t, strings.Fields(line)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s%s", c.args, code, c.code, c.want, out, errs)
		}
	}
}

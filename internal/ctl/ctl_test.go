package ctl

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// execute runs a command line as a multi-call binary would.
func execute(ctx context.Context, in io.Reader, out, errs io.Writer, args ...string) int {
	root := &cobra.Command{Use: "quoin"}
	root.AddCommand(Commands()...)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	return ExitCode(root.ExecuteContext(ctx))
}

// TestCommands runs command lines against the fake and compares requests,
// output and exit codes with a golden transcript. A line after | is the input.
func TestCommands(t *testing.T) {
	lines := []string{
		"put a 1",
		"put a | from\\nstdin\\n",
		"put a 1 --prev-kv",
		"put a 1 --prev-kv -w json",
		"put a --ignore-value --lease 1f",
		"put a 1 --ignore-lease",
		"put -- -a -1",
		"put",
		"put a 1 2",
		"put a 1 --ignore-value",
		"put a 1 --lease xyz",
		"put  1",
		"get a",
		"get a -w json",
		"get absent",
		"get a z",
		"get a --prefix --keys-only",
		"get  --prefix",
		"get  --from-key",
		"get a --from-key --print-value-only",
		"get a --prefix --count-only",
		"get a --prefix --count-only -w json",
		"get a --prefix --count-only -w fields",
		"get a --prefix --stream",
		"get a --prefix --stream -w json",
		"get a --stream --count-only -w fields",
		"get a --stream --rev 1",
		"get a --stream --order descend",
		"get a --stream -w table",
		"get a --limit 5 --rev 4 --order descend --sort-by modify --consistency s",
		"get a --sort-by VERSION",
		"get a --min-mod-rev 1 --max-mod-rev 2 --min-create-rev 3 --max-create-rev 4",
		"get a --rev 1",
		"get",
		"get a b c",
		"get a z --prefix",
		"get a --prefix --from-key",
		"get a --keys-only --count-only",
		"get a --print-value-only -w json",
		"get a --consistency x",
		"get a --order up",
		"get a --sort-by colour",
		"get a -w yaml",
		"get a --no-such-flag",
		"get a --password x",
		"get a --user root",
		"get a --cert only.pem",
		"get a --cacert testdata/absent.pem",
		"get a --cacert ctl_test.go",
		"del a",
		"del a --prefix --prev-kv",
		"del a z --range -w json",
		"del",
		"watch old",
		"watch",
		"watch a b c",
		"watch a b --prefix",
		"watch a --",
		"watch a --prefix -w table",
		"watch -i | \\nbogus\\nprogress\\nwatch\\nwatch \"a\\nwatch a b --prefix\\nwatch a -- \\n",
		"watch -i | watch a --bogus\\n",
		"watch -i -w yaml | watch a\\n",
		"make-mirror",
		"make-mirror a b",
		"make-mirror a --prefix p --dest-prefix q --no-dest-prefix",
		"make-mirror a --dest-cert x",
		"make-mirror a --dest-user u",
		"make-mirror a --dest-password p",
		"make-mirror a --rev 1 --prefix old",
		"check perf --load x",
		"check perf",
		"check datascale --load x",
		"check datascale",
		"status",
		"status -w json",
		"status here",
	}
	f := startFake(t)
	var transcript strings.Builder
	for _, line := range lines {
		f.run(t, &transcript, line)
	}
	golden(t, "commands.golden", strings.ReplaceAll(transcript.String(), f.address, "SERVER"))
}

// run adds one command line and what came of it to the transcript.
func (f *fake) run(t *testing.T, transcript *strings.Builder, line string) {
	t.Helper()
	command, input, _ := strings.Cut(line, " | ")
	args := strings.Split(command, " ")
	name, rest := args[0], args[1:]
	var out, errs bytes.Buffer
	args = append([]string{name, "--endpoints", f.address}, rest...)
	code := execute(t.Context(), strings.NewReader(strings.ReplaceAll(input, `\n`, "\n")), &out, &errs, args...)
	fmt.Fprintf(transcript, "$ %s\n", line)
	for _, request := range f.take() {
		fmt.Fprintf(transcript, "-> %s\n", request)
	}
	transcript.WriteString(out.String())
	for text := range strings.Lines(errs.String()) {
		transcript.WriteString("2> " + text)
	}
	if code != 0 {
		fmt.Fprintf(transcript, "exit %d\n", code)
	}
	transcript.WriteString("\n")
}

// golden compares text with a file of testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			t.Fatalf("%s:%d\n got %s\nwant %s\n(go test -update writes the file)", file, i+1, gotLines[i], wantLines[i])
		}
	}
	t.Fatalf("%s: got %d lines, want %d", file, len(gotLines), len(wantLines))
}

// TestWatchUntilCancelled: a watch prints what comes and ends without an error
// when its context does.
func TestWatchUntilCancelled(t *testing.T) {
	cases := []struct {
		name string
		args []string
		want string
	}{
		{"simple", nil, "PUT\na\n1\nDELETE\nb\n2\nb\n\nprogress notify: 7\n"},
		{"json", []string{"-w", "json"}, `{"Header":{"cluster_id":14841639068965178418,"member_id":10276657743932975437,"revision":7,"raft_term":2},` +
			`"Events":[{"kv":{"key":"YQ==","create_revision":3,"mod_revision":5,"version":2,"value":"MQ=="}},` +
			`{"type":1,"kv":{"key":"Yg==","mod_revision":7},"prev_kv":{"key":"Yg==","create_revision":3,"mod_revision":5,"version":2,"value":"Mg=="}}],` +
			`"CompactRevision":0,"Canceled":false,"Created":false,"CancelReason":""}` + "\n"},
		{
			"command",
			[]string{"--", "sh", "-c", "echo $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"},
			"PUT\na\n1\nDELETE\nb\n2\nb\n\n7 \"PUT\" \"a\" \"1\"\n7 \"DELETE\" \"b\" \"\"\nprogress notify: 7\n",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := startFake(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			reader, writer := io.Pipe()
			var errs bytes.Buffer
			code := make(chan int)
			go func() {
				args := append([]string{"watch", "a", "--prefix", "--rev", "3", "--prev-kv", "--progress-notify", "--endpoints", f.address}, c.args...)
				code <- execute(ctx, strings.NewReader(""), writer, &errs, args...)
				writer.Close()
			}()
			got := make([]byte, len(c.want))
			if _, err := io.ReadFull(reader, got); err != nil || string(got) != c.want {
				t.Fatalf("error %v, got\n%s\nwant\n%s", err, got, c.want)
			}
			cancel()
			go io.Copy(io.Discard, reader) //nolint:errcheck // ends with the writer
			if exit := <-code; exit != 0 || errs.Len() > 0 {
				t.Errorf("exit code %d, errors %q", exit, errs.String())
			}
			want := `WatchCreateRequest {"key":"YQ==","rangeEnd":"Yg==","startRevision":"3","progressNotify":true,"prevKv":true}`
			if requests := f.take(); len(requests) != 1 || requests[0] != want {
				t.Errorf("requests %q", requests)
			}
		})
	}
}

// TestSessionError: who holds a lock may be interrupted, who waits for one fails.
func TestSessionError(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want string
	}{
		{t.Context(), nil, ""},
		{ended, context.Canceled, ""},
		{t.Context(), errSessionExpired, "session expired"},
		{ended, notHeldError{context.Canceled}, "context canceled"},
	} {
		err := sessionError(c.ctx, c.err)
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want || ExitCode(err) != ExitFailure) {
			t.Errorf("%v: %v, want %q", c.err, err, c.want)
		}
	}
}

// TestWatchArguments: keys that are not on the command line are those of the environment.
func TestWatchArguments(t *testing.T) {
	for _, c := range []struct{ args, key, end, keys, command, failure string }{
		{"a b", "", "", "a b", "", ""},
		{"a -- x y", "", "", "a", "x y", ""},
		{"", "k", "", "k", "", ""},
		{"-- x", "k", "l", "k l", "x", ""},
		{"-- x", "", "", "", "", "bad number of arguments"},
		{"a", "k", "", "", "", "bad number of arguments (found conflicting environment key)"},
		{"a", "", "l", "", "", `ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END="l"`},
		{"a --", "", "", "", "", "bad number of arguments (found separator --, but no commands)"},
	} {
		t.Setenv(watchKeyVariable, c.key)
		t.Setenv(watchEndVariable, c.end)
		cmd := watchCommand(&globals{})
		if err := cmd.ParseFlags(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		keys, command, err := watchArguments(cmd, cmd.Flags().Args())
		if err != nil && (err.Error() != c.failure || ExitCode(err) != ExitBadArguments) || err == nil && c.failure != "" {
			t.Errorf("%q: %v", c.args, err)
		}
		if strings.Join(keys, " ") != c.keys || strings.Join(command, " ") != c.command {
			t.Errorf("%q: %q, %q", c.args, keys, command)
		}
	}
}

// TestConversation: lines begin watches beside one another and ask how far the server is. The end of the lines is that of all.
func TestConversation(t *testing.T) {
	f := startFake(t)
	in, lines := io.Pipe()
	out, printed := io.Pipe()
	var errs bytes.Buffer
	code := make(chan int)
	go func() {
		code <- execute(t.Context(), in, printed, &errs, "watch", "-i", "--endpoints", f.address)
		printed.Close()
	}()
	ask := func(line, want string) {
		t.Helper()
		if _, err := fmt.Fprintln(lines, line); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(out, got); err != nil || string(got) != want {
			t.Fatalf("%s: error %v, got\n%s\nwant\n%s", line, err, got, want)
		}
	}
	const first = "PUT\na\n1\nDELETE\nb\n2\nb\n\nprogress notify: 7\n"
	ask("watch \"a\" --prefix --rev 3\nprogress", first+"progress notify: 7\n") // what is asked at once comes too
	ask("watch b -- echo hi", "PUT\na\n1\nDELETE\nb\n2\nb\n\nhi\nhi\nprogress notify: 7\n")
	if _, err := fmt.Fprintln(lines, "watch old"); err != nil {
		t.Fatal(err)
	}
	lines.Close()
	go io.Copy(io.Discard, out) //nolint:errcheck // ends with the writer
	if exit := <-code; exit != ExitInvalidInput || !strings.HasSuffix(errs.String(), "Error: error reading watch request line: EOF\n") {
		t.Errorf("exit code %d, errors %q", exit, errs.String())
	}
}

// TestUnreachable: a server that is not there is a failure like any other, in the words that scripts know.
func TestUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	for _, args := range [][]string{{"get", "a"}, {"status"}} {
		var out, errs bytes.Buffer
		args = append(args, "--endpoints", address, "--command-timeout", "300ms")
		code := execute(t.Context(), strings.NewReader(""), &out, &errs, args...)
		if code != ExitFailure || !strings.Contains(errs.String(), "context deadline exceeded") {
			t.Errorf("%v: exit code %d, errors %q", args, code, errs.String())
		}
		t.Log(errs.String())
	}
}

func TestEnvironment(t *testing.T) {
	f := startFake(t)
	t.Setenv("ETCDCTL_ENDPOINTS", f.address)
	var out, errs bytes.Buffer
	if code := execute(t.Context(), strings.NewReader(""), &out, &errs, "put", "a", "1"); code != 0 || out.String() != "OK\n" {
		t.Errorf("exit code %d, output %q, errors %q", code, out.String(), errs.String())
	}
	errs.Reset()
	code := execute(t.Context(), strings.NewReader(""), &out, &errs, "put", "a", "1", "--endpoints", f.address)
	if code != ExitFailure || !strings.Contains(errs.String(), "both ETCDCTL_ENDPOINTS and --endpoints are given") {
		t.Errorf("exit code %d, errors %q", code, errs.String())
	}
	t.Setenv("ETCDCTL_DIAL_TIMEOUT", "soon")
	errs.Reset()
	code = execute(t.Context(), strings.NewReader(""), &out, &errs, "put", "a", "1")
	if code != ExitFailure || !strings.Contains(errs.String(), `invalid value "soon" for ETCDCTL_DIAL_TIMEOUT`) {
		t.Errorf("exit code %d, errors %q", code, errs.String())
	}
}

// TestRangeDeleteWaits: without --range a delete of a range gives time to
// think, and an interruption in that time deletes nothing.
func TestRangeDeleteWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var warning bytes.Buffer
		began := time.Now()
		if err := warnOfRange(t.Context(), &warning, []string{"a", "z"}); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != rangeDeleteDelay {
			t.Errorf("waited %v", waited)
		}
		if !strings.Contains(warning.String(), `from "a" up to "z"`) {
			t.Errorf("warning %q", warning.String())
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := warnOfRange(ctx, io.Discard, []string{"a", "z"}); err == nil {
			t.Error("an interruption went unnoticed")
		}
	})
}

func TestCredentials(t *testing.T) {
	cases := []struct{ user, password, wantUser, wantPassword, wantError string }{
		{},
		{user: "root:pw", wantUser: "root", wantPassword: "pw"},
		{user: "root:p:w", wantUser: "root", wantPassword: "p:w"},
		{user: "ro:ot", password: "pw", wantUser: "ro:ot", wantPassword: "pw"},
		{user: "root", wantError: "no password"},
		{password: "pw", wantError: "needs --user"},
	}
	for _, c := range cases {
		user, password, err := (&connection{user: c.user, password: c.password}).credentials()
		if user != c.wantUser || password != c.wantPassword {
			t.Errorf("%+v: got %q %q", c, user, password)
		}
		if (err == nil) != (c.wantError == "") || err != nil && !strings.Contains(err.Error(), c.wantError) {
			t.Errorf("%+v: error %v", c, err)
		}
	}
}

func TestSize(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 9950: "10 kB", 25_432: "25 kB",
		999_499: "999 kB", 999_500: "1.0 MB", 2 << 30: "2.1 GB", 5e15: "5000 TB",
	} {
		if got := FormatBytes(bytes); got != want {
			t.Errorf("%d: got %s, want %s", bytes, got, want)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{fmt.Errorf("wrapped: %w", fail(ExitIO, "x")), ExitIO},
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("%v: got %d, want %d", c.err, got, c.want)
		}
	}
}

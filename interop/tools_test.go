package interop

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/quoin-kv/quoin/interop/process"
)

// tool is a command line program under the name of one of etcd's.
type tool struct {
	path string
	env  []string
}

// answer is what a tool did. Durations and counters that go on by themselves are left out.
type toolAnswer struct {
	out, errs string
	code      int
}

var volatileParts = []struct {
	pattern *regexp.Regexp
	in      string
}{
	{regexp.MustCompile(`took (= )?[0-9.]+[a-zµ]+`), "took T"},
	{regexp.MustCompile(`"took":"[^"]*"`), `"took":"T"`},
	{regexp.MustCompile(`"Took" : \S+`), `"Took" : T`},
	{regexp.MustCompile(`[0-9.]+(ms|µs) │`), "T │"},
	{regexp.MustCompile(`─+`), "─"},
	{regexp.MustCompile(` +(│|TOOK)`), " $1"},
	{regexp.MustCompile(`(?i)("(revision|raftIndex|raftAppliedIndex)" ?:) ?[0-9]+`), "$1 N"},
}

func (c tool) run(t *testing.T, args ...string) toolAnswer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.path, args...)
	cmd.Env = append(os.Environ(), c.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the exit code says it
	a := toolAnswer{out.String(), withoutLogs(errs.String()), cmd.ProcessState.ExitCode()}
	for _, v := range volatileParts {
		a.out, a.errs = v.pattern.ReplaceAllString(a.out, v.in), v.pattern.ReplaceAllString(a.errs, v.in)
	}
	return a
}

// withoutLogs leaves out the lines that the tools' libraries log.
func withoutLogs(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, `{"level"`) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// must fails the test unless a command ends well, and returns what it printed.
func (c tool) must(t *testing.T, args ...string) string {
	t.Helper()
	a := c.run(t, args...)
	if a.code != 0 {
		t.Fatalf("%s %v: exit %d\n%s%s", filepath.Base(c.path), args, a.code, a.out, a.errs)
	}
	return a.out
}

// ourCtl, theirCtl, ourUtl and theirUtl are the tools; endpoint may be empty.
func ourCtl(t *testing.T, endpoint string) tool {
	return tool{builder.Link(t, process.Quoin(), "etcdctl"), []string{"ETCDCTL_ENDPOINTS=" + endpoint}}
}

func theirCtl(t *testing.T, endpoint string) tool {
	return tool{builder.Path(t, process.Etcdctl()), []string{"ETCDCTL_ENDPOINTS=" + endpoint}}
}

func ourUtl(t *testing.T) tool   { return tool{path: builder.Link(t, process.Quoin(), "etcdutl")} }
func theirUtl(t *testing.T) tool { return tool{path: builder.Path(t, process.Etcdutl())} }

// TestTools runs the same command lines with etcdctl and with ours, on the same server: they print the same and end with the same code.
func TestTools(t *testing.T) {
	t.Parallel()
	eachProgram(t, func(t *testing.T, program process.Program) {
		server := process.Start(t, process.Config{Program: program, Builder: builder, Volatile: true})
		ours, theirs := ourCtl(t, server.Endpoint()), theirCtl(t, server.Endpoint())
		theirs.must(t, "put", "a", "1")
		file := filepath.Join(t.TempDir(), "saved")
		for _, line := range toolLines() {
			args := strings.Fields(strings.ReplaceAll(line, "FILE", file))
			want, got := theirs.run(t, args...), ours.run(t, args...)
			if got.out != want.out || got.code != want.code {
				t.Errorf("%s: exit %d\n%s%s\nwant exit %d\n%s%s", line, got.code, got.out, got.errs, want.code, want.out, want.errs)
			} else if got.errs != want.errs && !strings.Contains(want.errs, "Usage:") && strings.Count(want.errs, "\n") == 1 {
				t.Errorf("%s: error\n%s\nwant\n%s", line, got.errs, want.errs)
			}
		}
	})
}

// toolLines are the command lines to compare. What they change they change alike whoever is first.
func toolLines() []string {
	lines := []string{
		"alarm list x", "alarm disarm", "alarm list", "member add", "member add n", "member add n m --peer-urls http://1.1.1.1:1", "member remove",
		"member remove zz", "member remove 12", "member update 12", "member update 12 --peer-urls http://1.1.1.1:1", "member promote 12", "member promote",
		"endpoint status x", "compaction", "compaction x", "compaction 99", "downgrade validate", "downgrade validate 3.6 3.7",
		"downgrade validate 3.5", "downgrade validate x", "downgrade cancel x", "move-leader", "move-leader zz", "move-leader 12", "defrag", "defrag --cluster",
		"snapshot save", "snapshot save a b", "snapshot save FILE", "endpoint hashkv --rev 99", "endpoint hashkv --cluster", "endpoint status --cluster",
		"endpoint health --cluster", "member list --hex", "member list -w json --hex", "member list -w fields --hex", "alarm list -w fields --hex", "get a -w fields --hex", "endpoint status -w fields --hex", "endpoint hashkv -w fields --hex", "member list --consistency s", "version", "bogus",
		"memb li", "get x --consistency q", "get a --bogus", "get a -w zz", "get a --hex", "get a --prefix --keys-only", "get a --prefix --count-only -w fields",
		"put a 1", "del zz", "watch", "watch a b --prefix", "watch a --", "watch -i", "watch a -w zz",
	}
	for _, command := range []string{
		"get a", "put b 1", "del zz", "alarm list", "member list", "endpoint status", "endpoint health", "endpoint hashkv", "downgrade validate 3.7",
		"downgrade cancel",
	} {
		for _, format := range []string{"simple", "json", "fields", "table", "protobuf"} {
			if format == "protobuf" && strings.HasPrefix(command, "put") {
				continue // holds a revision
			}
			lines = append(lines, fmt.Sprintf("%s -w %s", command, format))
		}
	}
	return lines
}

// TestToolOptions: our tool takes the same flags everywhere as etcdctl, with the same defaults.
func TestToolOptions(t *testing.T) {
	t.Parallel()
	flag := regexp.MustCompile(`^(-., )?--[a-z-]+ (strings|string|int|duration)?|\(default [^)]+\)$`)
	flagsOf := func(c tool) (all []string) {
		for line := range strings.Lines(c.must(t, "options")) {
			all = append(all, strings.Join(flag.FindAllString(strings.TrimSpace(line), -1), " "))
		}
		return all[1:]
	}
	if got, want := flagsOf(ourCtl(t, "")), flagsOf(theirCtl(t, "")); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestToolSequences gives each tool a server of its own and the same sequence of commands, which change it: both print the same.
func TestToolSequences(t *testing.T) {
	t.Parallel()
	start := func() string {
		return process.Start(t, process.Config{Program: process.Etcd(), Builder: builder, Volatile: true}).Endpoint()
	}
	ours, theirs := ourCtl(t, start()), theirCtl(t, start())
	ids := regexp.MustCompile(`[0-9a-f]{12,20}|remaining\([0-9]+s\)|127\.0\.0\.1:[0-9]+|"raft_?[tT]erm" ?: ?[0-9]+`)
	for _, line := range []string{
		"lease grant 100", "lease grant 100 -w fields", "lease grant", "lease grant x", "lease revoke", "lease revoke zz", "lease revoke 12", "lease timetolive",
		"lease timetolive 12", "lease timetolive 12 -w json", "lease timetolive 12 -w fields", "lease grant 100 --hex -w fields", "lease timetolive 12 --hex -w fields", "lease list --hex -w fields", "lease keep-alive 12 --once --hex -w fields", "lease keep-alive 12 --once", "lease keep-alive", "lease list -w table", "lock", "lock L -- false", "lock L -- true", "elect", "elect x", "elect x y z",
		"put leased 1 --lease 12", "auth status", "auth status -w json", "auth status -w fields", "auth enable", "auth enable x", "user add", "user add root:pw", "user add u:pw",
		"user add u:pw", "user add n --no-password", "user list", "user list -w json", "user get u", "user get u -w fields", "user get u -w json", "role add r", "role add r",
		"role add", "role list", "role list -w fields", "role list -w json", "role grant-permission r read a", "role grant-permission r write a b",
		"role grant-permission r readwrite p --prefix", "role grant-permission r read f --from-key", "role grant-permission r", "role grant-permission r eat a",
		"role grant-permission r read a b --prefix", "role get r", "role get r -w json", "role get r -w fields", "role get x", "user grant-role u r", "user grant-role u",
		"user get u", "user get u --detail", "role revoke-permission r a", "role revoke-permission r a b", "role revoke-permission r p --prefix", "role revoke-permission r",
		"user revoke-role u r", "user delete n", "user delete", "user delete zz", "role delete r", "role delete r", "auth enable", "auth status", "get a",
		"--user root:pw get a", "--user u:wrong get a", "--user root:pw auth disable", "auth disable x",
	} {
		args := strings.Fields(line)
		want, got := theirs.run(t, args...), ours.run(t, args...)
		for _, a := range []*toolAnswer{&want, &got} {
			a.out, a.errs = ids.ReplaceAllString(a.out, "ID"), ids.ReplaceAllString(a.errs, "ID")
		}
		if got.out != want.out || got.code != want.code || strings.Count(want.errs, "\n") == 1 && got.errs != want.errs {
			t.Errorf("%s: exit %d\n%s%s\nwant exit %d\n%s%s", line, got.code, got.out, got.errs, want.code, want.out, want.errs)
		}
	}
}

// TestOfflineTools runs etcdutl and ours on the same files.
func TestOfflineTools(t *testing.T) {
	t.Parallel()
	server := process.Start(t, process.Config{Program: process.Etcd(), Builder: builder, Volatile: true})
	ctl := theirCtl(t, server.Endpoint())
	for i := range 50 {
		ctl.must(t, "put", fmt.Sprint("key", i%20), fmt.Sprint(i))
	}
	ctl.must(t, "del", "key3")
	ctl.must(t, "compaction", "30")
	file := filepath.Join(t.TempDir(), "snapshot")
	ctl.must(t, "snapshot", "save", file)
	server.Stop()
	ours, theirs := ourUtl(t), theirUtl(t)
	for _, bump := range [][]string{nil, {"--bump-revision", "1000", "--mark-compacted"}} {
		dirs := map[string]string{}
		for name, tool := range map[string]tool{"ours": ours, "theirs": theirs} {
			dirs[name] = filepath.Join(t.TempDir(), name)
			tool.must(t, append([]string{"snapshot", "restore", file, "--data-dir", dirs[name]}, bump...)...)
		}
		for _, command := range []string{"snapshot status", "hashkv"} {
			for _, format := range []string{"simple", "json", "fields", "table", "protobuf", "zz"} {
				var answers []toolAnswer
				for _, restored := range []string{"theirs", "ours"} {
					for _, tool := range []tool{theirs, ours} {
						db := filepath.Join(dirs[restored], "member", "snap", "db")
						answers = append(answers, tool.run(t, append(strings.Fields(command), db, "-w", format)...))
					}
				}
				for _, a := range answers[1:] {
					if a.out != answers[0].out || a.code != answers[0].code {
						t.Errorf("%s -w %s %v: exit %d\n%s\nwant exit %d\n%s", command, format, bump, a.code, a.out, answers[0].code, answers[0].out)
					}
				}
			}
		}
	}
}

package interop

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/quoin-kv/quoin/interop/process"
	"github.com/quoin-kv/quoin/test/freeport"
)

// startBoth starts a real etcd and the server under test.
func startBoth(t *testing.T) (etcd, quoin *process.Server) {
	t.Helper()
	start := func(p process.Program) *process.Server {
		return process.Start(t, process.Config{Program: p, Builder: builder, Volatile: true})
	}
	return start(process.Etcd()), start(process.Quoin())
}

// identities are what differs between two clusters that did the same.
var identities = regexp.MustCompile(`("(cluster_id|member_id|raft_term)": ?|"(ClusterID|MemberID|RaftTerm)" : )[0-9a-f]+`)

func withoutIdentities(text string) string { return identities.ReplaceAllString(text, "$1 ID") }

// TestGetOptions asks with etcdctl for the same keys in all its ways, of a real etcd and of Quoin, and with our tool as well: all print the same.
func TestGetOptions(t *testing.T) {
	t.Parallel()
	etcd, quoin := startBoth(t)
	for _, s := range []*process.Server{etcd, quoin} {
		c := theirCtl(t, s.Endpoint())
		for _, line := range []string{"put a 3", "put b/1 2", "put b/2 1", "put c 9", "put b/1 7", "put \x01bin \xff\xfe", "del c", "put c 5"} {
			c.must(t, strings.Split(line, " ")...)
		}
	}
	for _, line := range getLines() {
		args := append([]string{"get"}, strings.Fields(strings.ReplaceAll(line, "EMPTY", `""`))...)
		for i, a := range args {
			args[i] = strings.ReplaceAll(a, `""`, "")
		}
		want, got := theirCtl(t, etcd.Endpoint()).run(t, args...), theirCtl(t, quoin.Endpoint()).run(t, args...)
		compareAnswers(t, line+" of Quoin", got, want)
		if !strings.HasSuffix(line, "-w protobuf") { // holds ids of the server's
			compareAnswers(t, line+" with our tool", ourCtl(t, quoin.Endpoint()).run(t, args...), want)
		}
	}
}

// getLines are ways to ask. EMPTY is the empty key.
func getLines() []string {
	lines := []string{
		"b/1 --rev 3", "b/1 --rev 99", "c --rev 8", "EMPTY --prefix --limit 2", "EMPTY --from-key --limit 2 --order DESCEND", "b --from-key", "a c", "a c --print-value-only",
		"EMPTY --from-key --keys-only", "EMPTY --from-key --count-only", "EMPTY --from-key --count-only -w fields", "a --print-value-only", "a --prefix --from-key",
		"a --print-value-only -w json", "a --sort-by BOGUS", "a --order UP", "EMPTY --prefix --hex", "EMPTY --prefix --consistency s", "b/ --prefix --min-mod-rev 4",
		"b/ --prefix --max-mod-rev 4", "EMPTY --prefix --min-create-rev 4", "EMPTY --prefix --max-create-rev 4", "absent", "absent -w json", "EMPTY",
	}
	for _, by := range []string{"CREATE", "KEY", "MODIFY", "VALUE", "VERSION"} {
		lines = append(lines, "EMPTY --prefix --order ASCEND --sort-by "+by, "EMPTY --prefix --order DESCEND --sort-by "+by)
	}
	for _, format := range []string{"simple", "json", "fields", "table", "protobuf"} {
		lines = append(lines, "EMPTY --from-key -w "+format, "EMPTY --from-key --hex -w "+format, "EMPTY --from-key --keys-only -w "+format, "EMPTY --from-key --count-only -w "+format,
			"EMPTY --from-key --stream -w "+format)
	}
	return append(lines, "b/ --prefix --stream --rev 5", "a --stream --limit 1", "EMPTY --prefix --stream --sort-by VERSION", "b --from-key --stream --order DESCEND", "a --stream --rev 99", "a --stream --min-mod-rev 2")
}

func compareAnswers(t *testing.T, what string, got, want toolAnswer) {
	t.Helper()
	got.out, want.out = withoutIdentities(got.out), withoutIdentities(want.out)
	if strings.HasSuffix(what, "protobuf of Quoin") {
		got.out, want.out = fmt.Sprint(len(got.out) > 0), fmt.Sprint(len(want.out) > 0) // ids take different room
	}
	if got.out != want.out || got.code != want.code {
		t.Errorf("%s: exit %d\n%s%s\nwant exit %d\n%s%s", what, got.code, got.out, got.errs, want.code, want.out, want.errs)
	}
}

// background runs a tool until the end of the test, and returns what to write to it and the lines that it prints.
func (c tool) background(t *testing.T, args ...string) (io.Writer, <-chan string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.path, args...)
	cmd.Env = append(os.Environ(), c.env...)
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	cmd.Stderr = os.Stderr
	check(t, cmd.Start())
	lines := make(chan string, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-t.Context().Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait()
	})
	return in, lines
}

// take waits for n lines.
func take(t *testing.T, lines <-chan string, n int) (all []string) {
	t.Helper()
	late := time.NewTimer(mixedBudget)
	defer late.Stop()
	for range n {
		select {
		case line := <-lines:
			all = append(all, line)
		case <-late.C:
			t.Fatalf("only %d lines came: %q", len(all), all)
		}
	}
	return all
}

// TestWatchTool watches with etcdctl and our tool in each of its ways: line by line from its input, and with a command for each event.
func TestWatchTool(t *testing.T) {
	t.Parallel()
	eachProgram(t, func(t *testing.T, program process.Program) {
		for _, which := range []func(*testing.T, string) tool{theirCtl, ourCtl} {
			watchWith(t, which(t, process.Start(t, process.Config{Program: program, Builder: builder, Volatile: true}).Endpoint()))
		}
	})
}

func watchWith(t *testing.T, c tool) {
	for _, line := range []string{"put a 1", "put b/1 2", "put a 3", "del a"} {
		c.must(t, strings.Fields(line)...)
	}
	in, lines := c.background(t, "watch", "-i")
	ask := func(line string, want ...string) {
		t.Helper()
		_, err := fmt.Fprintln(in, line)
		check(t, err)
		if got := take(t, lines, len(want)); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
	ask("watch a --rev 2 --prev-kv", "PUT", "a", "1", "PUT", "a", "1", "a", "3", "DELETE", "a", "3", "a", "")
	ask("progress", "progress notify: 5")
	ask("watch --prefix b --rev 1", "PUT", "b/1", "2")
	c.must(t, "put", "a", "4")
	if got := take(t, lines, 3); !slices.Equal(got, []string{"PUT", "a", "4"}) {
		t.Errorf("an event: %q", got)
	}

	_, lines = c.background(t, "watch", "a", "--rev", "2", "--", "sh", "-c", "echo $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE")
	want := []string{
		"PUT", "a", "1", "PUT", "a", "3", "DELETE", "a", "", "PUT", "a", "4", `6 "PUT" "a" "1"`, `6 "PUT" "a" "3"`, `6 "DELETE" "a" ""`, `6 "PUT" "a" "4"`,
	}
	if got := take(t, lines, len(want)); !slices.Equal(got, want) {
		t.Errorf("commands: got %q, want %q", got, want)
	}
}

// TestMakeMirror has etcdctl copy a prefix from either kind of server to the other, and our tool, what is there and what comes.
func TestMakeMirror(t *testing.T) {
	t.Parallel()
	etcd, quoin := startBoth(t)
	for i, way := range [][2]*process.Server{{etcd, quoin}, {quoin, etcd}, {etcd, quoin}, {quoin, etcd}} {
		copying := []func(*testing.T, string) tool{theirCtl, ourCtl}[i/2](t, way[0].Endpoint())
		from, to := theirCtl(t, way[0].Endpoint()), theirCtl(t, way[1].Endpoint())
		name := way[0].Program().Name + []string{"", "-ours"}[i/2]
		for i := range 5 {
			from.must(t, "put", fmt.Sprintf("%s/%d", name, i), fmt.Sprint(i))
		}
		from.must(t, "put", "other", "1")
		copying.background(t, "make-mirror", "--prefix="+name+"/", "--dest-prefix=copy/"+name+"/", "--max-txn-ops=2", way[1].Endpoint())
		copied := func() string { return to.must(t, "get", "copy/"+name, "--prefix") }
		eventually(t, "what is there to be copied", func() bool { return strings.Count(copied(), "\n") == 10 })
		from.must(t, "del", name+"/1")
		from.must(t, "put", name+"/2", "new")
		eventually(t, "what comes to be copied", func() bool {
			all := strings.ReplaceAll(from.must(t, "get", name+"/", "--prefix"), name+"/", "copy/"+name+"/")
			return strings.Count(all, "\n") == 8 && copied() == all
		})
	}
}

// TestCheckTool has etcdctl and our tool measure each server. Their measure of speed takes a minute: it runs with -long.
func TestCheckTool(t *testing.T) {
	t.Parallel()
	eachProgram(t, func(t *testing.T, program process.Program) {
		for _, which := range []func(*testing.T, string) tool{theirCtl, ourCtl} {
			checkWith(t, which(t, process.Start(t, process.Config{Program: program, Builder: builder, Volatile: true}).Endpoint()))
		}
	})
}

func checkWith(t *testing.T, c tool) {
	t.Helper()
	said := func(texts string, args ...string) {
		t.Helper()
		if out := c.must(t, args...); !regexp.MustCompile(`(?s)` + texts).MatchString(out) {
			t.Errorf("%v does not say %q: %s", args, texts, out)
		}
	}
	const cleaned = `Compacting with revision (\d+)\nCompacted with revision \d+\nDefragmenting "([^"]*)"\nDefragmented "[^"]*"\n`
	said(`^Start data scale check for work load \[10000 key-value pairs, 1024 bytes per key-value, 50 concurrent clients\]\.\n.*`+cleaned+
		`PASS: Approximate system memory used : -?[0-9.]+ MB\.\n$`, "check", "datascale", "--load=s", "--auto-compact", "--auto-defrag")
	said(`^$`, "get", "", "--prefix")
	if flags.long {
		said(cleaned+`PASS: Throughput is 1\d\d writes/s\nPASS: Slowest request took [0-9.]+s\nPASS: Stddev is [0-9.]+s\nPASS\n$`,
			"check", "perf", "--load=s", "--auto-compact", "--auto-defrag")
	}
	c.must(t, "put", "p/1", "1")
	for _, what := range []string{"perf", "datascale"} {
		if a := c.run(t, "check", what, "--prefix", "p/"); a.code != 3 || !strings.Contains(a.errs, `Error: prefix "p/" has keys. Delete with `) {
			t.Errorf("check %s of a prefix with keys: exit %d, %s", what, a.code, a.errs)
		}
		if a := c.run(t, "check", what, "--load", "x"); a.code != 4 || a.errs != "Error: unknown load option x\n" {
			t.Errorf("check %s of an unknown load: exit %d, %s", what, a.code, a.errs)
		}
	}
}

// TestTokenOfTool gives etcdctl a signed token instead of a password.
func TestTokenOfTool(t *testing.T) {
	t.Parallel()
	private, public := keyPair(t)
	option := "--auth-token=jwt,pub-key=" + public + ",priv-key=" + private + ",sign-method=RS256,ttl=10m"
	eachProgram(t, func(t *testing.T, program process.Program) {
		server := process.Start(t, process.Config{Program: program, Builder: builder, Volatile: true, Flags: []string{option, "--bcrypt-cost=4"}})
		c := theirCtl(t, server.Endpoint())
		for _, line := range []string{"put a 1", "user add root:pw", "user grant-role root root", "auth enable"} {
			c.must(t, strings.Fields(line)...)
		}
		conn := server.Dial(t)
		defer conn.Close()
		r, err := pb.NewAuthClient(conn).Authenticate(t.Context(), &pb.AuthenticateRequest{Name: "root", Password: "pw"})
		check(t, err)
		ours := ourCtl(t, server.Endpoint())
		for _, tool := range []tool{c, ours} {
			if got := tool.must(t, "get", "a", "--auth-jwt-token="+r.Token); got != "a\n1\n" {
				t.Errorf("with a token: %q", got)
			}
		}
		forged := r.Token[:len(r.Token)-4] + base64.RawURLEncoding.EncodeToString([]byte{1, 2, 3})
		for _, tool := range []tool{c, ours} {
			a := tool.run(t, "get", "a", "--auth-jwt-token="+forged)
			if a.code != 1 || !strings.Contains(a.errs, "etcdserver: invalid auth token") {
				t.Errorf("with a forged token: %d %s", a.code, a.errs)
			}
		}
	})
}

// TestNamesOfService: etcdctl, and servers of either kind, find members through a name service.
func TestNamesOfService(t *testing.T) {
	t.Parallel()
	resolver := nameService(t)
	eachProgram(t, func(t *testing.T, program process.Program) {
		client, peer := freeport.Address(t), freeport.Address(t)
		named := "http://" + resolver.set(program.Name, client, peer) + peer[strings.LastIndex(peer, ":"):]
		resolver.start(t, append(
			builder.Command(t, program), "--name=m1", "--data-dir="+filepath.Join(process.MemoryDir(t), "data"), "--listen-client-urls=http://"+client, "--advertise-client-urls=http://"+client,
			"--listen-peer-urls=http://"+peer, "--initial-advertise-peer-urls="+named, "--discovery-srv=cluster.test", "--discovery-srv-name="+program.Name,
		)...)
		domain := []string{"--discovery-srv=cluster.test", "--discovery-srv-name=" + program.Name}
		ctl := append([]string{theirCtl(t, "").path}, domain...)
		eventually(t, "the server to be found", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			return resolver.command(ctx, append(ctl, "put", "a", "1")...).Run() == nil
		})
		for _, tool := range []tool{theirCtl(t, ""), ourCtl(t, "")} {
			out, err := resolver.command(t.Context(), append(append([]string{tool.path}, domain...), "member", "list")...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), ", started, m1, "+named+", http://"+client) {
				t.Errorf("%v: %s", err, out)
			}
		}
	})
}

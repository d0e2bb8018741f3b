package cluster

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/quoin-kv/quoin/internal/migrate"
)

// TestMigrate: while clients work and authentication goes on and off, `quoin migrate` makes three members of the other kind ours, and then
// theirs again. After each start the member, or another, is killed or cut off before the command is told that it is started. What clients saw is
// judged, and writes never stop for longer than a change of leader takes.
func TestMigrate(t *testing.T) {
	if flags.other == "" {
		return
	}
	c := newClusterOf(t, &cluster{program: other, users: true, extra: mixedFlags()}, flags.network, 3, false)
	c.addRoot(t)
	w := newWorkload(t, c)
	w.pace *= 3 // there is much time
	for _, m := range c.members {
		w.through(m)
	}
	w.warm(t, c)
	began := w.recorder.now()
	g := c.toggle(t.Context(), 4*flags.election)
	defer g.stop()
	o := newOperator(t, c)
	o.migrate(t, migrate.Quoin)
	o.wantPrograms(t, program)
	o.migrate(t, migrate.Etcd)
	o.wantPrograms(t, other)
	g.end(t)
	for _, m := range c.members {
		w.writtenThrough(t, m, w.recorder.now())
	}
	w.neverStopped(t, began)
	w.finish(t, c)
	c.noAlarms(t)
}

// An operator stops and starts members as the command wants it. The command's hook writes a line to one pipe and waits for one from another.
type operator struct {
	cluster *cluster
	dir     string
	done    int // steps that were started
}

func newOperator(t *testing.T, c *cluster) *operator {
	t.Helper()
	o := &operator{cluster: c, dir: t.TempDir()}
	for _, name := range []string{"orders", "answers"} {
		if err := syscall.Mkfifo(filepath.Join(o.dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// migrate runs the command to its end.
func (o *operator) migrate(t *testing.T, to migrate.Kind) {
	t.Helper()
	quoin := filepath.Join(o.dir, "quoin")
	if err := os.Symlink(program, quoin); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), quoin, "migrate", "--endpoints", o.cluster.members[0].at.client, "--to", string(to), "--yes",
		"--user", rootName+":"+rootPassword, "--command-timeout", "1s", "--away", "1m",
		"--run", fmt.Sprintf("echo $QUOIN_STEP $QUOIN_MEMBER $QUOIN_TO > %[1]s/orders && read answer < %[1]s/answers && test $answer = done", o.dir))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	orders := o.open(t, "orders")
	defer orders.Close()
	answers := o.open(t, "answers")
	defer answers.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		_, _ = fmt.Fprintln(orders, "end") // wakes the reader below
	}()
	lines := bufio.NewScanner(orders)
	for lines.Scan() && lines.Text() != "end" {
		o.obey(t, strings.Fields(lines.Text()))
		if _, err := fmt.Fprintln(answers, "done"); err != nil {
			t.Fatal(err)
		}
	}
	err := <-ended
	t.Logf("quoin migrate --to %s: %v\n%s", to, err, out.String())
	if err != nil {
		t.FailNow()
	}
}

// open opens a pipe for reading and writing, for which nobody else has to be there.
func (o *operator) open(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(o.dir, name), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// obey does what the hook was called for.
func (o *operator) obey(t *testing.T, order []string) {
	t.Helper()
	if len(order) != 3 {
		t.Fatalf("the hook was called for %q", order)
	}
	m := o.cluster.named(order[1])
	switch order[0] {
	case "stop":
		m.signal(t, syscall.SIGTERM)
		<-m.done
	case "start":
		m.program = other
		if order[2] == string(migrate.Quoin) {
			m.program = program
		}
		m.restart(t)
		o.cluster.awaitServing(t)
		o.trouble(t, m)
		o.done++
	}
}

// trouble is what happens between two steps: the new member is killed, the leader is, or another is cut off for a while.
func (o *operator) trouble(t *testing.T, m *member) {
	t.Helper()
	c := o.cluster
	switch o.done % 3 {
	case 0:
		m.kill(t)
		m.restart(t)
	case 1:
		leader := c.leader(t)
		leader.kill(t)
		anotherLeads(t, c, nil, leader)
		leader.restart(t)
	case 2:
		heal := cutOff(true, true)(t, c, nil, m)
		isAlone(t, c, nil, m)
		heal()
	}
	c.awaitServing(t)
}

func (c *cluster) named(name string) *member {
	for _, m := range c.members {
		if m.name == name {
			return m
		}
	}
	return nil
}

// wantPrograms checks that all members run a program.
func (o *operator) wantPrograms(t *testing.T, want string) {
	t.Helper()
	for _, m := range o.cluster.members {
		if m.program != want {
			t.Errorf("%s runs %s, want %s", m.name, m.program, want)
		}
		eventually(t, "serving", m.serves)
	}
	if o.done%3 != 0 {
		t.Errorf("%d steps were done", o.done)
	}
}

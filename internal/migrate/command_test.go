package migrate

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// TestHook: the operator's command is told what to do, its failure is one of the step, and what it leaves running is not waited for.
func TestHook(t *testing.T) {
	var out bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	a := Action{Step: stepStop, To: Etcd, Member: Member{
		ID: 0xa1, Name: "m1", Endpoint: "c1:2379", PeerURLs: []string{"http://p1:2380"}, ClientURLs: []string{"http://c1:2379", "http://c2:2379"},
	}}
	tell := `echo $QUOIN_STEP $QUOIN_TO $QUOIN_MEMBER $QUOIN_MEMBER_ID $QUOIN_ENDPOINT $QUOIN_CLIENT_URLS $QUOIN_PEER_URLS; sleep 30 &`
	began := time.Now()
	if err := hook(cmd, tell)(t.Context(), a); err != nil || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if got, want := out.String(), "stop etcd m1 a1 c1:2379 http://c1:2379,http://c2:2379 http://p1:2380\n"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if err := hook(cmd, "exit 3")(t.Context(), a); err == nil {
		t.Error("a command that fails counts as done")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := hook(cmd, "sleep 60")(ctx, a); err == nil {
		t.Error("a command goes on after the end")
	}
}

// TestAsker: only a yes is one.
func TestAsker(t *testing.T) {
	cmd := &cobra.Command{}
	cmd.SetIn(strings.NewReader("y\n YES \nno\n\nyesterday\n"))
	cmd.SetOut(&bytes.Buffer{})
	ask := asker(cmd)
	for i, want := range []bool{true, true, false, false, false, false} {
		if got, err := ask("Go on?"); got != want || err != nil {
			t.Errorf("answer %d: %t, %v", i, got, err)
		}
	}
}

// TestFlags: what makes no sense is refused before anybody is asked.
func TestFlags(t *testing.T) {
	cmd := Command()
	cmd.SetArgs([]string{"--to", "consul"})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "expected quoin or etcd") {
		t.Error(err)
	}
}

package steps

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// other is the key of another value of the context.
type other struct{}

func TestSpent(t *testing.T) {
	ctx, spent := With(t.Context())
	deeper, cancel := context.WithTimeout(context.WithValue(ctx, other{}, 1), time.Hour)
	defer cancel()
	From(deeper).Add(Queue, 3*time.Millisecond)
	From(deeper).Add(Log, 10*time.Millisecond)
	From(deeper).Add(Log, 10*time.Millisecond)
	From(deeper).Add(Apply, -time.Second)
	From(t.Context()).Add(Log, time.Hour) // nobody listens
	if deeper.Value(other{}) != 1 {
		t.Error("values of the context got lost")
	}
	if longest := spent.Close(30*time.Millisecond, 35*time.Millisecond); longest != Log {
		t.Errorf("longest is %v", longest)
	}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "spent", spent)
	if want := "spent.queue=3ms spent.log=20ms spent.reading=7ms spent.sending=5ms\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("logged %s", &out)
	}
}

// TestNames: every step has a name of its own.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for s := range numSteps {
		if name := s.String(); name == "" || name == "unknown" || seen[name] {
			t.Errorf("step %d is called %q", s, name)
		} else {
			seen[name] = true
		}
	}
	if got := numSteps.String(); got != "unknown" {
		t.Errorf("what is no step is called %q", got)
	}
}

// BenchmarkRecord is what every request pays.
func BenchmarkRecord(b *testing.B) {
	base, cancel := context.WithCancel(context.WithValue(b.Context(), key{}, nil))
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		ctx, spent := With(base)
		From(ctx).Add(Queue, 1)
		spent.Add(Log, 1)
	}
}

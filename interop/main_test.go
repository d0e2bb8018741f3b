package interop

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/interop/process"
	"go.uber.org/goleak"
)

// suiteFlags are the flags of the tests in this package.
type suiteFlags struct {
	against string // which servers to run on
	seeds   int
	ops     int
	seed    uint64
	cycles  int
	files   int

	takeovers int
	mixedTime time.Duration
	long      bool
}

var (
	flags   suiteFlags
	builder *process.Builder
)

func TestMain(m *testing.M) {
	flag.StringVar(&flags.against, "against", "etcd,quoin", "servers to run the tests on: etcd, quoin, or both with a comma")
	flag.IntVar(&flags.seeds, "seeds", 4, "how many seeds the differential test runs")
	flag.IntVar(&flags.ops, "ops", 20000, "operations per seed")
	flag.Uint64Var(&flags.seed, "seed", 1, "first seed")
	flag.IntVar(&flags.cycles, "cycles", 50, "how often the crash test kills the server; a real etcd, which proves the test, a fifth of it")
	flag.IntVar(&flags.files, "files", 0, "how many source files the main job loads; 0 is all, but with a real etcd only some without -long")
	flag.IntVar(&flags.takeovers, "takeovers", 3, "how many histories of data directories TestTakeover makes")
	flag.DurationVar(&flags.mixedTime, "mixedtime", 3*time.Minute, "how long faults befall clusters of both programs")
	flag.BoolVar(&flags.long, "long", false, "everything, through each member, and what waits for minutes")
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	out, err := os.MkdirTemp("", "quoin-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(out)
	root, err := filepath.Abs(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	builder = process.NewBuilder(root, out)
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// eachProgram runs the test once for each server program chosen by -against, beside each other: a test has servers of its own, and waits for
// them most of its time. How many tests run at once is for -parallel to say.
func eachProgram(t *testing.T, test func(t *testing.T, program process.Program)) {
	t.Helper()
	for name := range strings.SplitSeq(flags.against, ",") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, programNamed(t, name))
		})
	}
}

func programNamed(t *testing.T, name string) process.Program {
	t.Helper()
	for _, p := range []process.Program{process.Etcd(), process.Quoin()} {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("-against: no server is called %q", name)
	return process.Program{}
}

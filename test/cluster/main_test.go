package cluster

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// flags are what a run can choose.
var flags struct {
	against  string
	other    string
	mixed    time.Duration
	network  string
	out      string
	long     bool
	small    bool
	election time.Duration
	resume   int
	behind   int
	large    int
}

// program is the binary under test, through a link named etcd: a name that both parties answer to. other is that of a second kind of members,
// empty without one.
var program, other string

func TestMain(m *testing.M) {
	flag.StringVar(&flags.against, "against", os.Getenv("QUOIN_BINARY"), "binary to test; without one, cmd/quoin is built")
	flag.StringVar(&flags.other, "other", "", "a second binary, for clusters of two kinds of members; without one they are left out")
	flag.DurationVar(&flags.mixed, "mixedtime", 20*time.Second, "how long faults befall clusters of two kinds of members, all shapes together")
	flag.StringVar(&flags.network, "network", networkAuto, "auto, namespaces (needs root) or loopback")
	flag.StringVar(&flags.out, "out", os.TempDir(), "where failures leave logs and histories")
	flag.BoolVar(&flags.small, "small-disks", true, "run the tests that need small file systems, which only root can make; false leaves them out")
	flag.BoolVar(&flags.long, "long", false, "everything, at full size")
	flag.DurationVar(&flags.election, "election", 500*time.Millisecond, "election timeout of the members")
	flag.IntVar(&flags.resume, "resume", 0, "election timeouts within which writes must go on after a fault; 0: 4 with -long, otherwise 6")
	flag.IntVar(&flags.behind, "behind", 0, "entries that a follower misses; 0: 1000000 with -long, otherwise 20000")
	flag.IntVar(&flags.large, "large", 0, "megabytes that a new member gets; 0: 2048 with -long, otherwise 50")
	flag.Parse()
	flags.resume = choose(flags.resume, 4, 6)
	flags.behind = choose(flags.behind, 1_000_000, 20_000)
	flags.large = choose(flags.large, 2048, 50)
	if flags.network == networkAuto {
		flags.network = bestNetwork()
	}
	os.Exit(runAll(m))
}

// choose fills in what a flag leaves open.
func choose(given, long, short int) int {
	switch {
	case given != 0:
		return given
	case flags.long:
		return long
	}
	return short
}

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "quoin-cluster-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if program, err = prepare(dir); err == nil && flags.other != "" {
		other, err = filepath.Abs(flags.other)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// prepare builds the binary if none is given, and links to it.
func prepare(dir string) (string, error) {
	binary := flags.against
	if binary == "" {
		binary = filepath.Join(dir, "quoin")
		build := exec.Command("go", "build", "-o", binary, "github.com/quoin-kv/quoin/cmd/quoin")
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building quoin: %w: %s", err, out)
		}
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		return "", err
	}
	link := filepath.Join(dir, "etcd")
	return link, os.Symlink(binary, link)
}

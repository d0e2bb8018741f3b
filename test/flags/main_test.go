package flags

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// program is the binary under test: QUOIN_BINARY, under the name etcd, or what cmd/quoin builds.
var program string

// starts bounds the processes that start at once.
var starts = make(chan struct{}, 3)

// scenariosAtOnce is how many are under way: most of their time they wait.
const scenariosAtOnce = "12"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", scenariosAtOnce); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "quoin-flags-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if program = os.Getenv("QUOIN_BINARY"); program == "" {
		program = filepath.Join(dir, "etcd")
		if err := build(program); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func build(path string) error {
	cmd := exec.Command("go", "build", "-o", path, "github.com/quoin-kv/quoin/cmd/quoin")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building quoin: %w: %s", err, out)
	}
	return nil
}

package behaviour

import (
	"flag"
	"os"
	"testing"
)

// address is the server that TestTarget judges.
var address struct{ endpoint, http string }

func TestMain(m *testing.M) {
	flag.StringVar(&address.endpoint, "endpoint", "", "gRPC address of the server to judge, host:port")
	flag.StringVar(&address.http, "http", "", "base URL of the server's HTTP endpoints")
	flag.Parse()
	os.Exit(m.Run())
}

// TestTarget runs the suite against a server that is already running, without
// the cases that need a fresh one.
func TestTarget(t *testing.T) {
	if address.endpoint == "" {
		t.Skip("no -endpoint")
	}
	Run(t, Target{Endpoint: address.endpoint, HTTP: address.http})
}

func TestSuitesHaveEnoughCasesWithNamesOfTheirOwn(t *testing.T) {
	const least = 250
	seen := make(map[string]bool)
	for _, s := range suites() {
		for _, c := range s.cases {
			name := s.name + "/" + c.name
			if seen[name] {
				t.Errorf("case %s: got two, want one", name)
			}
			seen[name] = true
		}
	}
	if len(seen) < least {
		t.Fatalf("cases: got %d, want at least %d", len(seen), least)
	}
	t.Logf("%d cases", len(seen))
}

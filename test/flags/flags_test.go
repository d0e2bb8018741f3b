package flags

import (
	"slices"
	"strings"
	"testing"
)

// A scenario is a member with options whose effect can be seen together.
type scenario struct {
	name    string
	flags   string // those whose effect see looks at, separated by spaces
	options func(t *testing.T, dir string) options
	see     func(t *testing.T, m *member)
	// refuses: the process must end by itself, with this exit code and these words on stderr.
	refuses *refusal
	// play takes the place of all that, where a member is not enough.
	play func(t *testing.T, f form)
}

type refusal struct {
	code int
	text string
}

// fixed are options that do not depend on where the member is.
func fixed(o options) func(*testing.T, string) options {
	return func(*testing.T, string) options { return o }
}

func scenarios() []scenario {
	return slices.Concat(memberScenarios(), storageScenarios(), limitScenarios(), clusterScenarios(), discoveryScenarios(), clientTLSScenarios(), peerTLSScenarios(),
		securityScenarios(), userScenarios(), maintenanceScenarios(), logScenarios(), observeScenarios(), ownScenarios(), ignoredScenarios())
}

// TestEffects: each option has its effect, in each form.
func TestEffects(t *testing.T) {
	for _, s := range scenarios() {
		for _, f := range forms() {
			t.Run(s.name+"/"+f.String(), func(t *testing.T) {
				t.Parallel()
				s.run(t, f)
			})
		}
	}
}

func (s *scenario) run(t *testing.T, f form) {
	if s.play != nil {
		s.play(t, f)
		return
	}
	dir := t.TempDir()
	o := s.options(t, dir)
	for _, name := range strings.Fields(s.flags) {
		if _, ok := o[name]; !ok && base(dir)[name] == nil {
			t.Fatalf("--%s is not set", name)
		}
	}
	if s.refuses == nil {
		s.see(t, start(t, f, dir, o))
		return
	}
	starts <- struct{}{}
	defer func() { <-starts }()
	m := launch(t, f, dir, o)
	if code := m.ended(t); code != s.refuses.code || !strings.Contains(m.log.text(), s.refuses.text) {
		t.Errorf("exit code %d, want %d with %s", code, s.refuses.code, s.refuses.text)
	}
}

// TestComplete: every option of the documentation is in a scenario, and the other way round.
func TestComplete(t *testing.T) {
	seen := map[string]bool{"config-file": true} // in TestConfigFile, and in each scenario
	for _, s := range scenarios() {
		for _, name := range strings.Fields(s.flags) {
			seen[name] = true
			if _, ok := table(t)[name]; !ok {
				t.Errorf("%s: there is no option %s", s.name, name)
			}
		}
	}
	for name := range table(t) {
		if !seen[name] {
			t.Errorf("--%s is in no scenario", name)
		}
	}
}

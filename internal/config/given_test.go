package config

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestGivenKeepsSecrets(t *testing.T) {
	c, _, err := Parse([]string{"--name=a", "--discovery-user=u:hidden", "--discovery-password=hidden"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, v := range c.Given() {
		words = append(words, v.(string))
	}
	if got := strings.Join(words, " "); strings.Contains(got, "hidden") || !strings.HasPrefix(got, "name a ") || !strings.Contains(got, "discovery-user u") {
		t.Error(got)
	}
}

// TestEffective: the log has what holds in types of its own, without secrets and without what was given in vain.
func TestEffective(t *testing.T) {
	c, _, err := Parse(strings.Fields("--name=a --discovery-user=u:hidden --discovery-password=hidden --snapshot-catchup-entries=7 --v2-deprecation=gone --force"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("", c.Effective()...)
	got := out.String()
	for _, want := range []string{
		`"name":"a"`, `"snapshot-catchup-entries":7,`, `"v2-deprecation":"write-only"`, `"listen-client-urls":["http://localhost:2379"]`, `"pre-vote":true`,
		`"discovery-user":"u"`, `"discovery-password":"(not shown)"`, `"discovery-token":""`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	for _, unwanted := range []string{"hidden", `"force"`} {
		if strings.Contains(got, unwanted) {
			t.Errorf("%s in %s", unwanted, got)
		}
	}
}

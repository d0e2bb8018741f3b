package config

import (
	"strings"
	"testing"
)

// FuzzCommandLine parses any arguments and environment, one in each line: there is a configuration, whose values can be written and read
// again, or an error.
func FuzzCommandLine(f *testing.F) {
	for _, o := range Default().options() {
		f.Add("--"+o.Name+"=1", "")
		f.Add("--"+o.Name+"\n-1s,http://a:1", "ETCD_"+strings.ToUpper(strings.ReplaceAll(o.Name, "-", "_"))+"=true")
	}
	f.Add("--initial-cluster\na=http://a:1,b=unix://x\n--name=a\n--\nrest", "ETCD_DATA_DIR=x\nETCD_NAME=\n=\nETCD_")
	f.Fuzz(func(t *testing.T, args, environ string) {
		if strings.Contains(args, "config-file") || strings.Contains(environ, "CONFIG_FILE") {
			return // it would read a file of this machine
		}
		c, notices, err := Parse(strings.Split(args, "\n"), strings.Split(environ, "\n"))
		if err != nil {
			if c != nil {
				t.Errorf("a configuration and an error: %v", err)
			}
			return
		}
		for _, n := range notices {
			if len(n.Fields)%2 != 0 {
				t.Errorf("notice %q has a key without a value", n.Text)
			}
		}
	})
}

package interop

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// names is a name service for the domain cluster.test. Those who are to ask it are started with a list of name services of their own.
type names struct {
	list string // a file in the form of /etc/resolv.conf

	mu      sync.Mutex
	records map[string]dnsmessage.ResourceBody // by name, and type for addresses
}

// nameService starts one, for the duration of the test.
func nameService(t *testing.T) *names {
	t.Helper()
	const own = "127.53.0."
	n := &names{list: filepath.Join(t.TempDir(), "resolv.conf"), records: map[string]dnsmessage.ResourceBody{}}
	conn, err := net.ListenPacket("udp", own+"53:53")
	check(t, err)
	check(t, os.WriteFile(n.list, []byte("nameserver "+own+"53\n"), 0o600))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		packet := make([]byte, 512)
		for {
			size, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			if answer := n.answer(packet[:size]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-ended
	})
	return n
}

// set has the services of a member for clients and for members under its name, and returns at which name members find it.
func (n *names) set(name, client, peer string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for service, address := range map[string]string{"client": client, "server": peer} {
		at := netip.MustParseAddrPort(address)
		host := dnsmessage.MustNewName(service + "." + name + ".cluster.test.")
		n.records["_etcd-"+service+"-"+name+"._tcp.cluster.test."] = &dnsmessage.SRVResource{Priority: 1, Weight: 1, Port: at.Port(), Target: host}
		n.records[host.String()] = &dnsmessage.AResource{A: at.Addr().As4()}
	}
	return "server." + name + ".cluster.test"
}

// answer answers one question, with nil if it is none.
func (n *names) answer(packet []byte) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	var m dnsmessage.Message
	if m.Unpack(packet) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	body := n.records[strings.ToLower(q.Name.String())]
	switch _, service := body.(*dnsmessage.SRVResource); {
	case body == nil:
		m.RCode = dnsmessage.RCodeNameError
	case service == (q.Type == dnsmessage.TypeSRV) && (service || q.Type == dnsmessage.TypeA):
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}, Body: body}}
	}
	answer, err := m.Pack()
	if err != nil {
		return nil
	}
	return answer
}

// command prepares a program that asks this service for names.
func (n *names) command(ctx context.Context, words ...string) *exec.Cmd {
	const script = `mount --bind "$0" /etc/resolv.conf && exec "$@"`
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "sh", "-c", script, n.list}, words...)...)
	cmd.Env = append(os.Environ(), "GODEBUG=netdns=go")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// start runs such a program until the end of the test.
func (n *names) start(t *testing.T, words ...string) {
	t.Helper()
	cmd := n.command(t.Context(), words...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s", log.Bytes())
		}
	})
}

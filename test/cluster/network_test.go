package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A network is where members run and how they reach each other. Members are
// known by their index, from 1. Clients reach every member at all times.
type network interface {
	// join makes room for a member.
	join(t *testing.T, i int) addresses
	// leave takes the room away.
	leave(i int)
	// command prepares a process of the member.
	command(i int, binary string, args ...string) *exec.Cmd
	// identify tells that a member has been given an id.
	identify(i int, id uint64)
	// cut loses what the first member sends to the second, until heal.
	cut(t *testing.T, from, to int)
	// slow delays what the first member sends to the second, until heal.
	slow(t *testing.T, from, to int, delay time.Duration)
	// heal ends all cuts and delays.
	heal(t *testing.T)
	close()
}

// addresses are a member's, as host:port.
type addresses struct {
	// client is for clients, peer where it listens for peers, advertised where peers find it.
	client, peer, advertised string
}

// newNetwork makes the kind of network that was asked for.
func newNetwork(t *testing.T, kind string) network {
	t.Logf("network: %s", kind)
	var n network = newLoopback()
	if kind == networkNamespaces {
		n = newNamespaces(t)
	}
	return n
}

// The kinds of networks.
const (
	networkAuto       = "auto"
	networkNamespaces = "namespaces"
	networkLoopback   = "loopback"
)

// bestNetwork is the best kind that this process can make.
func bestNetwork() string {
	if mayNamespace() {
		return networkNamespaces
	}
	return networkLoopback
}

// mayNamespace says whether this process can make network namespaces.
func mayNamespace() bool {
	name := fmt.Sprintf("q%dprobe", os.Getpid())
	if exec.Command("ip", "netns", "add", name).Run() != nil {
		return false
	}
	return exec.Command("ip", "netns", "del", name).Run() == nil
}

// namespaces is a network in which each member has a network namespace, joined
// by a bridge. What is cut is lost as on a broken cable, acknowledgements included.
type namespaces struct {
	prefix string
	subnet [3]byte
	cuts   [][2]int
	rooms  map[int]bool
}

func newNamespaces(t *testing.T) *namespaces {
	const most = 8 // clusters of one process at a time
	pid := os.Getpid()
	n := &namespaces{rooms: map[int]bool{}}
	for k := range most {
		n.prefix = fmt.Sprintf("q%dx%d", pid, k)
		n.subnet = [3]byte{10, byte(128 + pid>>8&15*most + k), byte(pid)}
		if exec.Command("ip", "link", "add", n.bridge(), "type", "bridge").Run() == nil {
			break
		}
		if k == most-1 {
			t.Fatalf("cannot make the bridge %s", n.bridge())
		}
	}
	ip(t, "addr", "add", n.address(1).String()+"/24", "dev", n.bridge())
	ip(t, "link", "set", n.bridge(), "up")
	return n
}

// ip runs the ip command.
func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (n *namespaces) bridge() string       { return n.prefix + "b" }
func (n *namespaces) room(i int) string    { return fmt.Sprintf("%sn%d", n.prefix, i) }
func (n *namespaces) outside(i int) string { return fmt.Sprintf("%sv%d", n.prefix, i) }
func (n *namespaces) address(i int) net.IP {
	return net.IPv4(n.subnet[0], n.subnet[1], n.subnet[2], byte(i))
}
func (n *namespaces) member(i int) net.IP  { return n.address(10 + i) }
func (n *namespaces) identify(int, uint64) {}
func (n *namespaces) port(i, p int) string {
	return netip.AddrPortFrom(netip.MustParseAddr(n.member(i).String()), uint16(p)).String()
}

func (n *namespaces) join(t *testing.T, i int) addresses {
	room := n.room(i)
	n.rooms[i] = true
	ip(t, "netns", "add", room)
	ip(t, "link", "add", n.outside(i), "type", "veth", "peer", "name", "eth0", "netns", room)
	ip(t, "link", "set", n.outside(i), "master", n.bridge(), "up")
	ip(t, "-n", room, "addr", "add", n.member(i).String()+"/24", "dev", "eth0")
	ip(t, "-n", room, "link", "set", "eth0", "up")
	ip(t, "-n", room, "link", "set", "lo", "up")
	return addresses{client: n.port(i, 2379), peer: n.port(i, 2380), advertised: n.port(i, 2380)}
}

func (n *namespaces) leave(i int) {
	_ = exec.Command("ip", "netns", "del", n.room(i)).Run()
	_ = exec.Command("ip", "link", "del", n.outside(i)).Run()
	delete(n.rooms, i)
}

func (n *namespaces) command(i int, binary string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", n.room(i), binary}, args...)...)
}

func (n *namespaces) cut(t *testing.T, from, to int) {
	ip(t, "-n", n.room(from), "route", "replace", "blackhole", n.member(to).String()+"/32")
	n.cuts = append(n.cuts, [2]int{from, to})
}

func (n *namespaces) slow(t *testing.T, from, _ int, delay time.Duration) {
	t.Fatalf("member %d cannot be slowed down by %v: this kernel delays nothing; use the loopback network", from, delay)
}

func (n *namespaces) heal(t *testing.T) {
	for _, c := range n.cuts {
		if n.rooms[c[0]] {
			ip(t, "-n", n.room(c[0]), "route", "del", "blackhole", n.member(c[1]).String()+"/32")
		}
	}
	n.cuts = nil
}

func (n *namespaces) close() {
	for i := range n.rooms {
		n.leave(i)
	}
	_ = exec.Command("ip", "link", "del", n.bridge()).Run()
}

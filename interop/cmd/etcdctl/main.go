// Command etcdctl is etcd's own client program, built from its Go module at
// the version this module pins.
package main

import "go.etcd.io/etcd/etcdctl/v3/ctlv3"

func main() {
	ctlv3.MustStart()
}

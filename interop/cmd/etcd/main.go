// Command etcd is the real etcd server, built from its Go module at the
// version this module pins, so that the tests need nothing installed.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}

// The etcd server of version 3.6, whose modules do not go together with those of a later one in one program.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }

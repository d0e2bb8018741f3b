package policy

// A room is one package of the module and what it may import outside its tests.
type room struct {
	// path is the directory, relative to the module's root.
	path string
	// floor orders the rooms: an import goes to a lower floor.
	floor int
	// imports lists the rooms on lower floors that this room uses.
	imports []string
	// sideways lists the rooms on its own floor that this room uses.
	sideways []string
	// outside lists the modules that this room uses beyond the standard library.
	outside []string
}

// The modules that rooms use, named once.
const (
	modBbolt      = "go.etcd.io/bbolt"
	modClient     = "go.etcd.io/etcd/client/v3"
	modClientPkg  = "go.etcd.io/etcd/client/pkg/v3"
	modCobra      = "github.com/spf13/cobra"
	modEtcdAPI    = "go.etcd.io/etcd/api/v3"
	modGateway    = "github.com/grpc-ecosystem/grpc-gateway/v2"
	modGRPC       = "google.golang.org/grpc"
	modNet        = "golang.org/x/net"
	modPflag      = "github.com/spf13/pflag"
	modPrometheus = "github.com/prometheus/client_golang"
	modPromModel  = "github.com/prometheus/client_model"
	modProtobuf   = "google.golang.org/protobuf"
	modSys        = "golang.org/x/sys"
	modZap        = "go.uber.org/zap"
)

// The floors, lowest first. Code beside the house (tests and what they share)
// stands on the top floor: it may use everything and nothing may use it.
const (
	vocabulary = iota
	kernel
	disk
	fanOut
	replica
	meaning
	edge
	assembly
	beside
)

// house returns the table of rooms, by floor and name.
func house() []room {
	return []room{
		{path: "internal/interval", floor: vocabulary},
		{path: "internal/kverr", floor: vocabulary},
		{path: "internal/ordtree", floor: vocabulary},
		{path: "internal/request", floor: vocabulary, outside: []string{modProtobuf}},
		{path: "internal/schema", floor: vocabulary, outside: []string{modProtobuf}},

		{path: "internal/auth", floor: kernel},
		{path: "internal/lease", floor: kernel},
		{path: "internal/machine", floor: kernel},
		{path: "internal/membership", floor: kernel},
		{path: "internal/mvcc", floor: kernel},
		{path: "raft", floor: kernel},
		{path: "raft/confchange", floor: kernel},
		{path: "raft/progress", floor: kernel},
		{path: "raft/quorum", floor: kernel},
		{path: "raft/wire", floor: kernel, outside: []string{modProtobuf}},

		{path: "internal/backend", floor: disk, outside: []string{modBbolt}},
		{path: "internal/datadir", floor: disk},
		{path: "internal/vfs", floor: disk, outside: []string{modSys}},
		{path: "internal/wal", floor: disk},

		{path: "internal/transport", floor: fanOut},
		{path: "internal/watch", floor: fanOut},

		{path: "internal/node", floor: replica},
		{path: "internal/replica", floor: replica},

		{path: "internal/service", floor: meaning},

		{path: "internal/api/gateway", floor: edge},
		{path: "internal/api/ops", floor: edge},
		{path: "internal/api/v3", floor: edge},
		{path: "internal/ctl", floor: edge, outside: []string{modClient, modCobra, modEtcdAPI, modGRPC, modPflag, modZap}},

		{path: "internal/config", floor: assembly},
		{path: "embed", floor: assembly},
		{path: "cmd/quoin", floor: assembly},

		{path: "test/policy", floor: beside},
	}
}

// longFunctions lists the functions that may exceed maxFunctionLines, each with
// the reason why cutting it would not help its reader.
func longFunctions() map[string]string {
	return map[string]string{}
}

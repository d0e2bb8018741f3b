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
	modCobra      = "github.com/spf13/cobra"
	modEtcdAPI    = "go.etcd.io/etcd/api/v3"
	modGRPC       = "google.golang.org/grpc"
	modJWT        = "github.com/golang-jwt/jwt/v5"
	modGateway    = "github.com/grpc-ecosystem/grpc-gateway/v2"
	modPflag      = "github.com/spf13/pflag"
	modPorcupine  = "github.com/anishathalye/porcupine"
	modPrometheus = "github.com/prometheus/client_golang"
	modProtobuf   = "google.golang.org/protobuf"
	modSys        = "golang.org/x/sys"
	modCrypto     = "golang.org/x/crypto"
	modLumberjack = "gopkg.in/natefinch/lumberjack.v2"
	modNet        = "golang.org/x/net"
	modOtel       = "go.opentelemetry.io/otel"
	modOtelGRPC   = "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	modOtelExport = "go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	modOtelSDK    = "go.opentelemetry.io/otel/sdk"
	modSystemd    = "github.com/coreos/go-systemd/v22"
	modYAML       = "sigs.k8s.io/yaml"
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
		{
			path: "internal/request", floor: vocabulary,
			sideways: []string{"internal/kverr"},
			outside:  []string{modProtobuf},
		},
		{path: "internal/schema", floor: vocabulary, outside: []string{modProtobuf}},

		{path: "internal/auth", floor: kernel, imports: []string{"internal/interval", "internal/kverr", "internal/request", "internal/schema"}},
		{path: "internal/lease", floor: kernel, imports: []string{"internal/kverr", "internal/schema"}},
		{
			path: "internal/machine", floor: kernel,
			imports:  []string{"internal/kverr", "internal/request", "internal/schema"},
			sideways: []string{"internal/auth", "internal/lease", "internal/membership", "internal/mvcc", "raft/wire"},
		},
		{
			path: "internal/membership", floor: kernel,
			imports:  []string{"internal/kverr", "internal/schema"},
			sideways: []string{"raft/wire"},
		},
		{
			path: "internal/mvcc", floor: kernel,
			imports: []string{"internal/kverr", "internal/ordtree", "internal/schema"},
		},
		{
			path: "raft", floor: kernel,
			sideways: []string{"raft/confchange", "raft/progress", "raft/quorum", "raft/wire"},
		},
		{path: "raft/confchange", floor: kernel, sideways: []string{"raft/quorum", "raft/wire"}},
		{path: "raft/progress", floor: kernel},
		{path: "raft/quorum", floor: kernel},
		{path: "raft/wire", floor: kernel, outside: []string{modProtobuf}},

		{path: "internal/backend", floor: disk, imports: []string{"internal/kverr", "internal/schema"}, sideways: []string{"internal/faultpoint", "internal/vfs"}, outside: []string{modBbolt}},
		{path: "internal/datadir", floor: disk, imports: []string{"raft/wire"}, sideways: []string{"internal/faultpoint", "internal/vfs", "internal/wal"}},
		{path: "internal/faultpoint", floor: disk},
		{
			path: "internal/offline", floor: disk,
			imports:  []string{"internal/membership", "internal/mvcc", "internal/request", "internal/schema", "raft/wire"},
			sideways: []string{"internal/backend", "internal/datadir", "internal/vfs", "internal/wal"},
			outside:  []string{modBbolt},
		},
		{path: "internal/steps", floor: disk},
		{path: "internal/vfs", floor: disk, outside: []string{modSys}},
		{
			path: "internal/wal", floor: disk,
			imports:  []string{"raft/wire"},
			sideways: []string{"internal/faultpoint", "internal/vfs"},
			outside:  []string{modProtobuf},
		},

		{path: "internal/certs", floor: fanOut},
		{path: "internal/discover", floor: fanOut},
		{path: "internal/grpcwire", floor: fanOut, outside: []string{modGRPC, modNet, modProtobuf}},
		{path: "internal/token", floor: fanOut, outside: []string{modJWT}},
		{path: "internal/transport", floor: fanOut, imports: []string{"raft/wire"}},
		{
			path: "internal/watch", floor: fanOut,
			imports: []string{"internal/interval", "internal/kverr", "internal/mvcc", "internal/schema"},
			outside: []string{modProtobuf},
		},

		{
			path: "internal/node", floor: replica,
			imports:  []string{"internal/backend", "internal/faultpoint", "internal/kverr", "internal/machine", "internal/mvcc", "internal/schema", "internal/steps", "internal/wal", "raft", "raft/wire"},
			sideways: []string{"internal/replica"},
		},
		{
			path: "internal/replica", floor: replica,
			imports: []string{"internal/backend", "internal/machine", "internal/mvcc", "internal/schema", "internal/wal", "raft", "raft/progress", "raft/wire"},
		},

		{
			path: "internal/service", floor: meaning,
			imports: []string{"internal/auth", "internal/backend", "internal/faultpoint", "internal/interval", "internal/kverr", "internal/lease", "internal/machine", "internal/membership", "internal/mvcc", "internal/node", "internal/replica", "internal/request", "internal/schema", "internal/steps", "internal/token", "internal/watch", "raft/wire"},
			outside: []string{modCrypto},
		},

		{
			path: "internal/lock", floor: meaning,
			imports:  []string{"internal/kverr", "internal/request", "internal/schema", "internal/watch"},
			sideways: []string{"internal/service"},
		},

		{path: "internal/api/gateway", floor: edge, outside: []string{modEtcdAPI, modGRPC, modGateway, modNet, modProtobuf}},
		{path: "internal/api/ops", floor: edge, outside: []string{modGRPC, modNet, modOtel, modOtelExport, modOtelGRPC, modOtelSDK, modPrometheus}},
		{
			path: "internal/api/peer", floor: edge,
			imports: []string{"internal/kverr", "internal/membership", "internal/mvcc", "internal/request", "internal/schema"},
			outside: []string{modProtobuf},
		},
		{path: "internal/api/port", floor: edge, outside: []string{modNet, modSys}},
		{
			path: "internal/api/v2", floor: edge,
			imports: []string{"internal/kverr", "internal/schema", "internal/service", "internal/watch"},
			outside: []string{modEtcdAPI, modProtobuf},
		},
		{
			path: "internal/api/v3", floor: edge,
			imports: []string{"internal/faultpoint", "internal/grpcwire", "internal/kverr", "internal/lock", "internal/request", "internal/schema", "internal/service", "internal/steps", "internal/watch"},
			outside: []string{modEtcdAPI, modGRPC, modProtobuf},
		},
		{
			path: "internal/ctl", floor: edge,
			imports: []string{"internal/discover", "internal/vfs"},
			outside: []string{modClient, modCobra, modEtcdAPI, modGRPC, modPflag, modProtobuf, modZap},
		},
		{
			path: "internal/migrate", floor: edge,
			sideways: []string{"internal/ctl"},
			outside:  []string{modClient, modCobra, modEtcdAPI, modGRPC},
		},
		{
			path: "internal/rebuild", floor: edge,
			imports:  []string{"internal/backend", "internal/datadir", "internal/membership", "internal/replica", "internal/schema", "internal/vfs", "internal/wal", "raft/wire"},
			sideways: []string{"internal/ctl"},
			outside:  []string{modClient, modCobra, modEtcdAPI},
		},
		{
			path: "internal/utl", floor: edge,
			imports:  []string{"internal/backend", "internal/kverr", "internal/offline"},
			sideways: []string{"internal/ctl"},
			outside:  []string{modCobra, modEtcdAPI},
		},

		{
			path: "cmd/quoin", floor: assembly,
			imports:  []string{"internal/ctl", "internal/faultpoint", "internal/migrate", "internal/rebuild", "internal/utl"},
			sideways: []string{"embed", "internal/config", "internal/proxy"},
			outside:  []string{modCobra, modEtcdAPI, modGRPC, modSystemd},
		},
		{
			path: "embed", floor: assembly,
			imports:  []string{"internal/api/gateway", "internal/api/ops", "internal/api/peer", "internal/api/port", "internal/api/v2", "internal/api/v3", "internal/backend", "internal/certs", "internal/datadir", "internal/lease", "internal/machine", "internal/membership", "internal/mvcc", "internal/node", "internal/replica", "internal/schema", "internal/service", "internal/token", "internal/transport", "internal/vfs", "internal/wal", "raft", "raft/wire"},
			sideways: []string{"internal/config", "internal/join"},
			outside:  []string{modEtcdAPI, modGRPC, modPrometheus},
		},
		{path: "internal/config", floor: assembly, imports: []string{"internal/certs", "internal/token"}, outside: []string{modLumberjack, modSystemd, modYAML}},
		{
			path: "internal/join", floor: assembly,
			imports:  []string{"internal/membership", "internal/schema", "raft/wire"},
			sideways: []string{"internal/config"},
			outside:  []string{modClient, modEtcdAPI, modGRPC, modZap},
		},
		{
			path: "internal/proxy", floor: assembly,
			imports: []string{"internal/api/ops", "internal/api/port", "internal/certs", "internal/discover"},
			outside: []string{modCobra, modEtcdAPI, modGRPC, modPflag, modPrometheus, modProtobuf},
		},

		{
			// For tests only, here because the tests of the service and of the edges share it.
			path: "internal/service/servicetest", floor: beside,
			imports: []string{"internal/backend", "internal/kverr", "internal/machine", "internal/membership", "internal/mvcc", "internal/node", "internal/replica", "internal/schema", "internal/service", "internal/token", "internal/vfs", "internal/wal", "raft", "raft/wire"},
		},
		{path: "internal/certs/certstest", floor: beside}, // for tests only, like it
		{path: "examples/fencing", floor: beside, outside: []string{modClient}},
		{path: "internal/model", floor: beside, outside: []string{modPorcupine}},
		{path: "sim", floor: beside, sideways: []string{"sim/cluster", "sim/plan"}},
		{
			path: "sim/client", floor: beside,
			imports:  []string{"internal/request", "internal/schema"},
			sideways: []string{"internal/model"},
			outside:  []string{modProtobuf},
		},
		{
			path: "sim/cluster", floor: beside,
			imports:  []string{"internal/backend", "internal/kverr", "internal/lease", "internal/machine", "internal/membership", "internal/mvcc", "internal/node", "internal/replica", "internal/request", "internal/schema", "internal/service", "internal/steps", "internal/vfs", "internal/wal", "internal/watch", "raft", "raft/wire"},
			sideways: []string{"internal/model", "sim/client", "sim/engine", "sim/plan"},
		},
		{path: "sim/engine", floor: beside},
		{path: "sim/mutants", floor: beside},
		{path: "sim/plan", floor: beside, sideways: []string{"sim/engine"}},
		{path: "test/behaviour", floor: beside},
		{path: "test/cluster", floor: beside},
		{path: "test/deploy", floor: beside},
		{path: "test/flags", floor: beside},
		{path: "test/freeport", floor: beside}, // for tests only
		{path: "test/metrics", floor: beside},
		{path: "test/policy", floor: beside},
		{path: "test/tls", floor: beside},
	}
}

// longFunctions lists the functions that may exceed maxFunctionLines, each with
// the reason why cutting it would not help its reader.
func longFunctions() map[string]string {
	return map[string]string{}
}

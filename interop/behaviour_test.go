package interop

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/quoin-kv/quoin/interop/process"
	"github.com/quoin-kv/quoin/test/behaviour"
)

// TestBehaviour runs the behaviour suite on each server.
func TestBehaviour(t *testing.T) {
	t.Parallel()
	eachProgram(t, func(t *testing.T, program process.Program) { testBehaviour(t, program) })
}

// TestBehaviourOverGRPCGo runs it on Quoin with gRPC's own server side in the place of ours: both answer the same.
func TestBehaviourOverGRPCGo(t *testing.T) {
	t.Parallel()
	testBehaviour(t, process.Quoin(), "--grpc-server=grpc-go")
}

// testBehaviour runs the suite on servers that all have the flags always, besides those that a case asks for.
func testBehaviour(t *testing.T, program process.Program, always ...string) {
	start := func(t *testing.T, flags ...string) behaviour.Target {
		s := process.Start(t, process.Config{Program: program, Builder: builder, Volatile: true, Flags: slices.Concat(always, flags)})
		return behaviour.Target{Endpoint: s.Endpoint(), HTTP: s.URL(), V2: program.Name == process.Quoin().Name}
	}
	target := start(t)
	target.Fresh = start
	behaviour.Run(t, target)
}

// TestBehaviourThroughEveryMember runs the suite on a cluster of three, through the leader and through a follower. Cases that need a server
// of their own get a cluster of their own, through the same place in it. With -long it runs through the other follower and on all places of
// etcd as well, which prove the suite; one of these does so already.
func TestBehaviourThroughEveryMember(t *testing.T) {
	t.Parallel()
	eachProgram(t, func(t *testing.T, program process.Program) {
		places := []int{0, 1}
		switch {
		case flags.long:
			places = []int{0, 1, 2}
		case program.Name == process.Etcd().Name:
			places = []int{1}
		}
		for _, place := range places {
			start := func(t *testing.T, flags ...string) behaviour.Target {
				cfg := process.Config{Builder: builder, Volatile: true, Flags: flags}
				s := byLeader(t, process.StartCluster(t, cfg, program, program, program))[place]
				return behaviour.Target{Endpoint: s.Endpoint(), HTTP: s.URL(), Members: 3, Follower: place > 0, V2: program.Name == process.Quoin().Name}
			}
			t.Run([]string{"leader", "follower1", "follower2"}[place], func(t *testing.T) {
				t.Parallel()
				target := start(t)
				target.Fresh = start
				behaviour.Run(t, target)
			})
		}
	})
}

// restlessPause is the time between two moves of the leadership.
const restlessPause = 300 * time.Millisecond

// TestBehaviourUnderLeaderChanges runs the suite on a cluster whose leadership moves all the time: answers are the same, and calls are refused
// with nothing but what tells a client to try again.
func TestBehaviourUnderLeaderChanges(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T, flags ...string) behaviour.Target {
		cfg := process.Config{Builder: builder, Volatile: true, Flags: flags}
		quoin := process.Quoin()
		members := process.StartCluster(t, cfg, quoin, quoin, quoin)
		keepMoving(t, members)
		return behaviour.Target{Endpoint: members[0].Endpoint(), HTTP: members[0].URL(), Members: len(members), Restless: true}
	}
	target := start(t)
	target.Fresh = start
	behaviour.Run(t, target)
}

// keepMoving hands leadership from member to member until the end of the test.
func keepMoving(t *testing.T, members []*process.Server) {
	var clients []pb.MaintenanceClient
	var ids []uint64
	for _, s := range members {
		conn := s.Dial(t)
		t.Cleanup(func() { _ = conn.Close() })
		client := pb.NewMaintenanceClient(conn)
		status, err := client.Status(t.Context(), &pb.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		clients, ids = append(clients, client), append(ids, status.Header.MemberId)
	}
	var mover sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		mover.Wait()
	})
	mover.Go(func() {
		again := time.NewTicker(restlessPause)
		defer again.Stop()
		for next := 0; ctx.Err() == nil; next = (next + 1) % len(ids) {
			for _, client := range clients { // one of them leads
				_, _ = client.MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: ids[next]})
			}
			select {
			case <-again.C:
			case <-ctx.Done():
			}
		}
	})
}

// byLeader puts the member that leads first.
func byLeader(t *testing.T, members []*process.Server) []*process.Server {
	t.Helper()
	for i, s := range members {
		conn := s.Dial(t)
		status, err := pb.NewMaintenanceClient(conn).Status(t.Context(), &pb.StatusRequest{}, grpc.WaitForReady(true))
		_ = conn.Close()
		if err != nil {
			t.Fatal(err)
		}
		if status.Leader == status.Header.MemberId {
			members[0], members[i] = members[i], members[0]
			return members
		}
	}
	t.Fatal("no member leads")
	return nil
}

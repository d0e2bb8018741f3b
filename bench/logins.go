package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// loginPuts is how many puts are under way while others log in: enough that
// the server has always something to do, and few enough that their latency is
// its own.
const loginPuts = 16

// loginWorks show what logins cost those who have logged in: the same puts
// while nobody logs in, and while many do.
func loginWorks(n scale) []work {
	// A server may refuse what waits for too long: clients come again, so that does not end the work.
	puts := unary{path: pathPut, inFlight: loginPuts, body: randomPuts(n.keys, smallValue), patient: true}
	logins := asUser("logins", fmt.Sprintf("put, likewise, while %d logins are always under way", n.logins), 0, 0, n, puts)
	quiet := logins
	quiet.name, quiet.about = "logins-none", fmt.Sprintf("put of a user, %d under way, while nobody logs in", loginPuts)
	storm := unary{path: pathAuthenticate, connections: n.connections, inFlight: n.logins, body: always(theUser()), patient: true}
	logins.prepare = func(ctx context.Context, c *cluster) (load, error) {
		putting, err := quiet.prepare(ctx, c)
		return func(ctx context.Context, c *cluster, seed uint64, length time.Duration) (tally, error) {
			return beside(ctx, func(ctx context.Context) error {
				_, err := storm.run(ctx, c.addresses()[:1], seed, length+patience)
				return err
			}, func(ctx context.Context) (tally, error) { return putting(ctx, c, seed, length) })
		}, err
	}
	return []work{quiet, logins}
}

// theUser is how the user of the works logs in.
func theUser() *etcdserverpb.AuthenticateRequest {
	return &etcdserverpb.AuthenticateRequest{Name: "user", Password: "word"}
}

// beside runs a load while something else goes on, which ends with it.
func beside(ctx context.Context, other func(ctx context.Context) error, load func(ctx context.Context) (tally, error)) (tally, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- other(ctx) }()
	t, err := load(ctx)
	cancel()
	if otherErr := <-ended; err == nil && !errors.Is(otherErr, context.Canceled) {
		err = errors.Join(otherErr, errOver)
	}
	return t, err
}

// errOver says that a load was measured beside nothing for a part of its time.
var errOver = errors.New("what was to go on beside the load has ended")

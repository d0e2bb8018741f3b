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

// loginPatience bounds the time that all logins take together.
const loginPatience = 10 * time.Minute

// loginWorks show what logins cost those who have logged in: the same puts
// while nobody logs in, and while many do.
func loginWorks(n scale) []work {
	// A server may refuse what waits for too long: clients come again, so that does not end the work.
	puts := unary{path: pathPut, inFlight: loginPuts, body: randomPuts(n.keys, smallValue), patient: true}
	logins := asUser("logins", fmt.Sprintf("put, likewise, while %d clients log in", n.logins), 0, 0, n, puts)
	quiet := logins
	quiet.name, quiet.about = "logins-none", fmt.Sprintf("put of a user, %d under way, while nobody logs in", loginPuts)
	storm := unary{path: pathAuthenticate, connections: n.connections, inFlight: n.logins, limit: int64(n.logins), body: always(theUser()), patient: true}
	logins.prepare = func(ctx context.Context, c *cluster) (load, error) {
		putting, err := quiet.prepare(ctx, c)
		return func(ctx context.Context, c *cluster, seed uint64, _ time.Duration) (tally, error) {
			return during(ctx, func(ctx context.Context) error {
				_, err := storm.run(ctx, c.addresses()[:1], seed, loginPatience)
				return err
			}, func(ctx context.Context) (tally, error) { return putting(ctx, c, seed, loginPatience) })
		}, err
	}
	return []work{quiet, logins}
}

// theUser is how the user of the works logs in.
func theUser() *etcdserverpb.AuthenticateRequest {
	return &etcdserverpb.AuthenticateRequest{Name: "user", Password: "word"}
}

// during runs a load until something else has ended, and returns its tally.
func during(ctx context.Context, other func(ctx context.Context) error, load func(ctx context.Context) (tally, error)) (tally, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- other(ctx)
	}()
	t, err := load(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil // as it should
	}
	cancel()
	if otherErr := <-ended; otherErr != nil && err == nil {
		err = otherErr
	}
	return t, err
}

// Command fencing shows how to use a lock so that a holder who does not know that its time is over does no harm: everything it writes carries
// the revision at which it got its place in the queue, and whoever is written to refuses what carries an older one than it has seen.
//
//	fencing -endpoint localhost:2379 -name jobs
//
// Start it several times at once, stop one with SIGSTOP while it holds the lock, and let it go on a minute later.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func main() {
	endpoint := flag.String("endpoint", "localhost:2379", "address of a member")
	name := flag.String("name", "jobs", "name of the lock")
	flag.Parse()
	if err := run(context.Background(), *endpoint, *name, new(Device)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run takes the lock and writes once to a key of the cluster and once to something outside of it.
func run(ctx context.Context, endpoint, name string, device *Device) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := concurrency.NewSession(client, concurrency.WithTTL(10)) // keeps the lease alive
	if err != nil {
		return err
	}
	defer session.Close()
	lock, err := Acquire(ctx, session, name)
	if err != nil {
		return err
	}
	if err := lock.Put(ctx, name+"-done", "by "+lock.Key); err != nil {
		return err
	}
	if err := device.Write(lock.Revision, "hello"); err != nil {
		return err
	}
	fmt.Println("wrote with fencing revision", lock.Revision)
	return nil
}

// ErrFenced refuses a write of who does not hold the lock any more.
var ErrFenced = errors.New("the lock has another holder by now")

// Lock is a lock that was acquired. Whether it is still held nobody can know by looking: use Put, or pass Revision on.
type Lock struct {
	client   *clientv3.Client
	Key      string
	Revision int64 // at which Key was created; that of each later holder is greater
}

// Acquire waits for a lock.
func Acquire(ctx context.Context, s *concurrency.Session, name string) (*Lock, error) {
	mutex := concurrency.NewMutex(s, name)
	if err := mutex.Lock(ctx); err != nil {
		return nil, err
	}
	own, err := s.Client().Get(ctx, mutex.Key())
	if err != nil {
		return nil, err
	}
	if len(own.Kvs) == 0 {
		return nil, ErrFenced
	}
	return &Lock{s.Client(), mutex.Key(), own.Kvs[0].CreateRevision}, nil
}

// Put writes a key of the same cluster if the lock is held at that moment: the condition and the write are one transaction.
func (l *Lock) Put(ctx context.Context, key, value string) error {
	held := clientv3.Compare(clientv3.CreateRevision(l.Key), "=", l.Revision)
	reply, err := l.client.Txn(ctx).If(held).Then(clientv3.OpPut(key, value)).Commit()
	if err == nil && !reply.Succeeded {
		return ErrFenced
	}
	return err
}

// Device is something outside of the cluster that holders write to: a disk, a table, a machine. It has to remember one number.
type Device struct {
	mu      sync.Mutex
	newest  int64
	content []string
}

// Write accepts what comes from the newest holder that was heard of, or from a newer one.
func (d *Device) Write(revision int64, line string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if revision < d.newest {
		return ErrFenced
	}
	d.newest = revision
	d.content = append(d.content, line)
	return nil
}

package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/quoin-kv/quoin/embed"
	"github.com/quoin-kv/quoin/internal/config"
)

func endpoint(t *testing.T) string {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.DataDir, cfg.UnsafeNoFsync = t.TempDir(), true
	for _, urls := range []*config.URLs{&cfg.ListenClientURLs, &cfg.ListenPeerURLs} {
		if err := urls.Set("http://127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	m, err := embed.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	<-m.Ready()
	return m.ClientAddrs()[0].String()
}

// TestFencing: a holder whose lease has ended believes to hold the lock, and can write nowhere.
func TestFencing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	address, device := endpoint(t), new(Device)
	if err := run(ctx, address, "jobs", device); err != nil {
		t.Fatal(err)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{address}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	hold := func() (*Lock, *concurrency.Session) {
		t.Helper()
		session, err := concurrency.NewSession(client)
		if err != nil {
			t.Fatal(err)
		}
		lock, err := Acquire(ctx, session, "jobs")
		if err != nil {
			t.Fatal(err)
		}
		return lock, session
	}
	old, session := hold()
	if err := errors.Join(old.Put(ctx, "x", "old"), device.Write(old.Revision, "old")); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Revoke(ctx, session.Lease()); err != nil {
		t.Fatal(err)
	}
	next, _ := hold()
	if next.Revision <= old.Revision {
		t.Errorf("revision %d after %d", next.Revision, old.Revision)
	}
	if err := errors.Join(next.Put(ctx, "x", "next"), device.Write(next.Revision, "next")); err != nil {
		t.Fatal(err)
	}
	if err := old.Put(ctx, "x", "late"); !errors.Is(err, ErrFenced) {
		t.Errorf("a late write to the cluster: %v", err)
	}
	if err := device.Write(old.Revision, "late"); !errors.Is(err, ErrFenced) {
		t.Errorf("a late write to the device: %v", err)
	}
}

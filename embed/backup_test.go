package embed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/quoin-kv/quoin/internal/schema"
)

// TestSnapshotUnderLoad: while two accounts are filled from each other, every snapshot shows them as one transaction left them, with
// everything that was acknowledged before it was asked for; it comes in full pieces, and its checksum is right.
func TestSnapshotUnderLoad(t *testing.T) {
	m := start(t, testConfig(t, t.TempDir()))
	c := clientOf(t, m)
	const total = 1000
	for i := range 2000 {
		put(t, c, fmt.Sprint("filler", i), strings.Repeat("x", 200))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = c.Txn(ctx).Then(clientv3.OpPut("a", fmt.Sprint(i%total)), clientv3.OpPut("b", fmt.Sprint(total-i%total))).Commit()
		}
	})
	for i := range 10 {
		mark := fmt.Sprint("mark", i)
		put(t, c, mark, "1")
		values := contents(t, receiveSnapshot(t, c))
		var a, b int
		fmt.Sscan(values["a"], &a)
		fmt.Sscan(values["b"], &b)
		if values[mark] != "1" || values["a"] != "" && a+b != total {
			t.Errorf("snapshot %d: a is %d, b is %d, %s is %q", i, a, b, mark, values[mark])
		}
	}
}

// receiveSnapshot checks the form of a snapshot and returns the file.
func receiveSnapshot(t *testing.T, c *clientv3.Client) []byte {
	t.Helper()
	stream, err := etcdserverpb.NewMaintenanceClient(c.ActiveConnection()).Snapshot(t.Context(), &etcdserverpb.SnapshotRequest{})
	if err != nil {
		t.Fatal(err)
	}
	const piece = 32 << 10
	var file []byte
	var remaining uint64
	for first := true; ; first = false {
		r, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if !first && remaining == 0 {
			sum := sha256.Sum256(file)
			if !bytes.Equal(r.Blob, sum[:]) || r.RemainingBytes != 0 {
				t.Errorf("checksum %x with %d bytes to come, want %x", r.Blob, r.RemainingBytes, sum)
			}
			break
		}
		if !first && r.RemainingBytes != remaining-uint64(len(r.Blob)) || len(r.Blob) != piece && r.RemainingBytes > 0 || r.Version == "" {
			t.Fatalf("a piece of %d bytes, %d to come after %d, version %q", len(r.Blob), r.RemainingBytes, remaining, r.Version)
		}
		remaining, file = r.RemainingBytes, append(file, r.Blob...)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("something comes after the checksum: %v", err)
	}
	return file
}

// contents is the newest value of each key in a database file.
func contents(t *testing.T, file []byte) map[string]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	values := map[string]string{}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(schema.Key.Name())).ForEach(func(_, v []byte) error {
			var kv schema.KeyValue
			err := kv.Unmarshal(v)
			values[string(kv.Key)] = string(kv.Value)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// TestLaterVersionsAreRefused: data that a later server has marked is not touched.
func TestLaterVersionsAreRefused(t *testing.T) {
	for _, c := range []struct {
		bucket             schema.Bucket
		key, version, want string
	}{
		{schema.Meta, schema.MetaStorageVersion, "3.8.0", `version "3.8.0" is not supported`},
		{schema.Cluster, schema.ClusterVersionKey, "3.8.0", "invalid downgrade; server version is lower than determined cluster version"},
	} {
		dir := t.TempDir()
		m := start(t, testConfig(t, dir))
		stop(t, m)
		db, err := bbolt.Open(filepath.Join(dir, "member", "snap", "db"), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(c.bucket.Name())).Put([]byte(c.key), []byte(c.version))
		})
		if err = errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		again, err := Start(t.Context(), testConfig(t, dir), slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.key, err, c.want)
		}
		if again != nil {
			stop(t, again)
		}
	}
}

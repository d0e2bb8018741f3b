package embed

import (
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// fileSize is the size of a member's database file, in bytes.
func fileSize(t *testing.T, m *Member) int64 {
	t.Helper()
	st, err := clientOf(t, m).Status(t.Context(), m.ClientAddrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	return st.DbSize
}

// makeFree leaves a file of some megabytes of which nearly all is free.
func makeFree(t *testing.T, m *Member) {
	t.Helper()
	client := clientOf(t, m)
	value := strings.Repeat("v", 64<<10)
	for i := range 64 {
		put(t, client, fmt.Sprint("bulk", i), value)
	}
	if fileSize(t, m) == 0 {
		t.Fatal("no size")
	}
	until(t, func() error { // it is in the file before it is deleted
		if size := fileSize(t, m); size < 4<<20 {
			return fmt.Errorf("the file has %d bytes only", size)
		}
		return nil
	})
	deleted, err := client.Delete(t.Context(), "bulk", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(t.Context(), deleted.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

// TestBootstrapDefrag: a start rewrites the file if that frees what the option says.
func TestBootstrapDefrag(t *testing.T) {
	dir := t.TempDir()
	m := start(t, testConfig(t, dir))
	makeFree(t, m)
	before := fileSize(t, m)
	stop(t, m)
	for _, c := range []struct {
		megabytes uint
		shrinks   bool
	}{{0, false}, {100, false}, {2, true}} {
		cfg := testConfig(t, dir)
		cfg.BootstrapDefragMegabytes = c.megabytes
		m := start(t, cfg)
		if got := fileSize(t, m); got < before/2 != c.shrinks {
			t.Errorf("with %d MB: %d bytes became %d", c.megabytes, before, got)
		}
		put(t, clientOf(t, m), "a", "1")
		stop(t, m)
	}
}

// TestServiceReturnsByItself fills a member to its quota: once history is gone writes are accepted again, with nobody clearing the alarm or
// defragmenting.
func TestServiceReturnsByItself(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.QuotaBytes = 4 << 20
	m := start(t, cfg)
	client := clientOf(t, m)
	value := strings.Repeat("v", 64<<10)
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		_, err = client.Put(t.Context(), fmt.Sprint("k", n), value)
	}
	if err == nil || !strings.Contains(err.Error(), "database space exceeded") {
		t.Fatalf("%d puts ended with %v", n, err)
	}
	deleted, err := client.Delete(t.Context(), "k", clientv3.WithPrefix())
	if err != nil || deleted.Deleted != int64(n-1) {
		t.Fatalf("deleted %v of %d, %v", deleted, n-1, err)
	}
	if _, err := client.Compact(t.Context(), deleted.Header.Revision); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	until(t, func() error {
		_, err := client.Put(t.Context(), "again", "1")
		return err
	})
	if took := time.Since(began); took < 4*time.Second {
		t.Errorf("writes were accepted after %v, while use might still go up and down", took)
	}
}

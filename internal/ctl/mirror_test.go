package ctl

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestMirror copies what a fake has to another, and then its changes, deletions too.
func TestMirror(t *testing.T) {
	const (
		all     = `PutRequest {"key":"cS9h","value":"MQ=="}` + "\n" + `PutRequest {"key":"cS9i","value":"dHdvCmxpbmVz"}`
		changes = `TxnRequest {"success":[{"requestPut":{"key":"cS9h","value":"MQ=="}}]}` + "\n" + `TxnRequest {"success":[{"requestDeleteRange":{"key":"cS9i"}}]}`
	)
	for _, c := range []struct {
		name, args, source, dest string
	}{
		{
			"all", "--dest-prefix q/",
			`RangeRequest {"key":"AA==","rangeEnd":"AA==","limit":"128"}` + "\n" + `WatchCreateRequest {"key":"AA==","rangeEnd":"AA==","startRevision":"8"}`,
			all + "\n" + changes,
		},
		{"changes", "--rev 5 --dest-prefix q/", `WatchCreateRequest {"key":"AA==","rangeEnd":"AA==","startRevision":"5"}`, changes},
		{
			"no prefix", "--rev 5 --prefix a --no-dest-prefix", `WatchCreateRequest {"key":"YQ==","rangeEnd":"Yg==","startRevision":"5"}`,
			`TxnRequest {"success":[{"requestPut":{"value":"MQ=="}}]}` + "\n" + `TxnRequest {"success":[{"requestDeleteRange":{"key":"Yg=="}}]}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			source, dest := startFake(t), startFake(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var errs bytes.Buffer
			code := make(chan int)
			go func() {
				args := append([]string{"make-mirror", dest.address, "--endpoints", source.address}, strings.Fields(c.args)...)
				code <- execute(ctx, strings.NewReader(""), io.Discard, &errs, args...)
			}()
			want := strings.Split(c.dest, "\n")
			got := dest.await(t, len(want))
			if !slices.Equal(got, want) {
				t.Errorf("made\n%s\nwant\n%s", strings.Join(got, "\n"), c.dest)
			}
			if asked := strings.Join(source.take(), "\n"); asked != c.source {
				t.Errorf("asked\n%s\nwant\n%s", asked, c.source)
			}
			cancel()
			if exit := <-code; exit != ExitFailure || errs.String() != "Error: interrupted\n" {
				t.Errorf("exit code %d, errors %q", exit, errs.String())
			}
		})
	}
}

// await returns the requests when there are n.
func (f *fake) await(t *testing.T, n int) []string {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		f.mu.Lock()
		enough := len(f.mu.requests) >= n
		f.mu.Unlock()
		if enough || time.Now().After(deadline) {
			return f.take()
		}
		runtime.Gosched()
	}
}

func eventsAt(revisions ...int64) (events []*clientv3.Event) {
	for _, r := range revisions {
		events = append(events, &clientv3.Event{Kv: &mvccpb.KeyValue{ModRevision: r}})
	}
	return events
}

// TestMirrorDivides: the changes of a revision are one transaction, unless they are too many.
func TestMirrorDivides(t *testing.T) {
	for most, want := range map[uint]string{0: "1 1 1 1", 1: "1 1 1 1", 2: "2 1 1", 128: "3 1"} {
		var sizes []string
		events := eventsAt(5, 5, 5, 6)
		for len(events) > 0 {
			n := together(events, most)
			sizes = append(sizes, string(rune('0'+n)))
			events = events[n:]
		}
		if got := strings.Join(sizes, " "); got != want {
			t.Errorf("at most %d: %s, want %s", most, got, want)
		}
	}
}

func TestReportCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*mirrorReport+time.Second)
		defer cancel()
		var n atomic.Int64
		n.Store(7)
		var out bytes.Buffer
		reportCount(ctx, &out, &n)
		if out.String() != "7\n7\n" {
			t.Errorf("%q", out.String())
		}
	})
}

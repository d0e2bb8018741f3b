package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/interop/process"
	"github.com/quoin-kv/quoin/interop/workload"
	"github.com/quoin-kv/quoin/test/freeport"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	jobPrefix    = "src/"
	jobWorkers   = 16
	requestLimit = 1572864
	receiveLimit = requestLimit + 524288
	pageSize     = 500
	jobTimeout   = 15 * time.Minute
	etcdFiles    = 500 // that a real etcd gets, which proves the test
)

// TestMainJob does with a server what people use one for, on real input: the
// source tree of the Go toolchain. It loads, follows, lists, changes, compacts,
// survives SIGKILL, and hands its snapshot to etcd's own tools.
func TestMainJob(t *testing.T) {
	t.Parallel()
	eachProgram(t, func(t *testing.T, program process.Program) {
		j := newJob(t, program)
		files := j.files()
		j.watch()
		j.step("load, killed half-way", func() { j.load(files) })
		j.step("list", j.list)
		j.step("change, killed half-way", j.change)
		j.step("compact", j.compact)
		j.step("snapshot", j.snapshot)
	})
}

// job is one run of the main job. want holds what every acknowledged write left.
type job struct {
	t      *testing.T
	ctx    context.Context
	server *process.Server
	client *clientv3.Client
	mirror *workload.Mirror

	// running is held for reading by every attempt to write, and for writing
	// while the server is down and until it has been checked.
	running sync.RWMutex

	mu struct {
		sync.Mutex
		refused  int
		unknown  map[string]bool // keys with an attempt of unknown outcome
		want     map[string]workload.Digest
		revision map[string]int64 // of the acknowledged write
	}
}

func newJob(t *testing.T, program process.Program) *job {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), jobTimeout)
	t.Cleanup(cancel)
	j := &job{t: t, ctx: ctx, server: process.Start(t, process.Config{Program: program, Builder: builder})}
	j.mu.want = make(map[string]workload.Digest)
	j.mu.revision = make(map[string]int64)
	j.mu.unknown = make(map[string]bool)
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{j.server.Endpoint()}, DialTimeout: 10 * time.Second, Logger: zap.NewNop(),
		MaxCallSendMsgSize: 64 << 20, BackoffWaitBetween: 5 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	j.client = client
	return j
}

func (j *job) step(name string, run func()) {
	start := time.Now()
	run()
	j.t.Logf("%s: %s", name, time.Since(start).Round(time.Millisecond))
}

func (j *job) files() []workload.File {
	j.t.Helper()
	root, err := exec.CommandContext(j.ctx, "go", "env", "GOROOT").Output()
	j.ok(err)
	most := flags.files
	if j.server.Program().Name == process.Etcd().Name && most == 0 && !flags.long {
		most = etcdFiles
	}
	files, err := workload.Files(filepath.Join(strings.TrimSpace(string(root)), "src"), most)
	j.ok(err)
	return files
}

func (j *job) ok(err error) {
	j.t.Helper()
	if err != nil {
		j.t.Fatal(err)
	}
}

func (j *job) watch() {
	j.t.Helper()
	resp, err := j.client.Get(j.ctx, jobPrefix)
	j.ok(err)
	j.mirror = workload.StartMirror(j.ctx, j.client, jobPrefix, resp.Header.Revision+1)
}

// write is one change of a key; a nil value deletes it.
type write struct {
	key   string
	value func() ([]byte, error)
}

// work does all writes with several workers. Half-way the server is killed
// while they are under way and started again; what was acknowledged by then
// must be there, and the workers repeat what was not.
func (j *job) work(writes []write) {
	j.t.Helper()
	queue := make(chan write)
	half := make(chan struct{})
	failed := make(chan error, jobWorkers)
	var taken atomic.Int64
	var workers sync.WaitGroup
	for range jobWorkers {
		workers.Go(func() {
			for w := range queue {
				if err := j.write(w); err != nil {
					failed <- err
					return
				}
				if taken.Add(1) == int64(len(writes)/2) {
					close(half)
				}
			}
		})
	}
	go j.feed(queue, writes)
	select {
	case <-half:
		j.crash()
	case err := <-failed:
		j.t.Fatal(err)
	}
	workers.Wait()
	select {
	case err := <-failed:
		j.t.Fatal(err)
	default:
	}
}

func (j *job) feed(queue chan<- write, writes []write) {
	defer close(queue)
	for _, w := range writes {
		select {
		case queue <- w:
		case <-j.ctx.Done():
			return
		}
	}
}

// write does one write and repeats it while its outcome is unknown. A file
// above the request limit must be refused with the right error.
func (j *job) write(w write) error {
	var value []byte
	if w.value != nil {
		var err error
		if value, err = w.value(); err != nil {
			return err
		}
	}
	for {
		decided, err := j.try(w, value)
		if decided || err != nil {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-j.ctx.Done():
			return fmt.Errorf("write %s: %w", w.key, j.ctx.Err())
		}
	}
}

// try attempts a write once and records its outcome; it says whether the
// outcome is known.
func (j *job) try(w write, value []byte) (decided bool, err error) {
	j.running.RLock()
	defer j.running.RUnlock()
	revision, err := j.attempt(w, value)
	switch {
	case err == nil:
		return true, j.accepted(w, value, revision)
	case isRefusal(err):
		return true, j.refusal(w, value, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.unknown[w.key] = true
	return false, nil
}

func (j *job) attempt(w write, value []byte) (int64, error) {
	ctx, cancel := context.WithTimeout(j.ctx, 30*time.Second)
	defer cancel()
	if w.value == nil {
		resp, err := j.client.Delete(ctx, w.key)
		if err != nil {
			return 0, err
		}
		return resp.Header.Revision, nil
	}
	resp, err := j.client.Put(ctx, w.key, string(value))
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

// isRefusal says whether the server has decided against the write; after any
// other error it may or may not have been done.
func isRefusal(err error) bool {
	code := codeOf(err)
	return code == codes.InvalidArgument || code == codes.ResourceExhausted
}

func codeOf(err error) codes.Code {
	var known rpctypes.EtcdError
	if errors.As(err, &known) {
		return known.Code()
	}
	return status.Code(err)
}

func (j *job) accepted(w write, value []byte, revision int64) error {
	if len(value) >= requestLimit {
		return fmt.Errorf("write %s: %d bytes were accepted, want a refusal", w.key, len(value))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.revision[w.key] = revision
	delete(j.mu.unknown, w.key)
	if w.value == nil {
		delete(j.mu.want, w.key)
		return nil
	}
	j.mu.want[w.key] = workload.DigestOf(value)
	return nil
}

func (j *job) refusal(w write, value []byte, err error) error {
	text := status.Convert(err).Message()
	var known rpctypes.EtcdError
	if errors.As(err, &known) {
		text = known.Error()
	}
	want := "etcdserver: request is too large"
	if len(value) >= receiveLimit {
		want = "grpc: received message larger than max"
	}
	if len(value) < requestLimit-1024 || !strings.HasPrefix(text, want) {
		return fmt.Errorf("write %s: %d bytes were refused with %q, want %q", w.key, len(value), text, want)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.refused++
	return nil
}

// crash kills the server, starts it again, and checks what was acknowledged
// while the workers wait.
func (j *job) crash() {
	j.t.Helper()
	j.server.Kill()
	j.running.Lock()
	defer j.running.Unlock()
	start := time.Now()
	j.server.Restart()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.t.Logf("restart after SIGKILL with %d keys and %d unknown outcomes: %s", len(j.mu.want), len(j.mu.unknown), time.Since(start).Round(time.Millisecond))
	found := j.listAll(0)
	for key, revision := range j.mu.revision {
		if j.mu.unknown[key] {
			continue
		}
		want := record{}
		if digest, lives := j.mu.want[key]; lives {
			want = record{revision, digest}
		}
		if got := found.records[key]; got != want {
			j.t.Fatalf("after SIGKILL: %s: got %+v, want %+v", key, got, want)
		}
	}
	for key := range found.records {
		if _, written := j.mu.revision[key]; !written && !j.mu.unknown[key] {
			j.t.Fatalf("after SIGKILL: %s is there, but nobody wrote it", key)
		}
	}
}

// listing is what a list of the prefix showed.
type listing struct {
	revision int64
	records  map[string]record
}

type record struct {
	revision int64
	digest   workload.Digest
}

func (l *listing) add(kvs []*mvccpb.KeyValue) {
	for _, kv := range kvs {
		l.records[string(kv.Key)] = record{kv.ModRevision, workload.DigestOf(kv.Value)}
	}
}

func (l *listing) digests() map[string]workload.Digest {
	all := make(map[string]workload.Digest, len(l.records))
	for key, r := range l.records {
		all[key] = r.digest
	}
	return all
}

// listAll lists the prefix in one answer at a revision, 0 for the latest.
func (j *job) listAll(revision int64) *listing {
	j.t.Helper()
	resp, err := j.client.Get(j.ctx, jobPrefix, clientv3.WithPrefix(), clientv3.WithRev(revision))
	j.ok(err)
	l := &listing{revision: resp.Header.Revision, records: make(map[string]record)}
	l.add(resp.Kvs)
	if resp.More || resp.Count != int64(len(l.records)) {
		j.t.Fatalf("list: got count %d and more %t, want %d keys", resp.Count, resp.More, len(l.records))
	}
	return l
}

// listPages lists the prefix page by page, all pages at the revision of the
// first. Between the pages other is called.
func (j *job) listPages(other func(page int)) *listing {
	j.t.Helper()
	l := &listing{records: make(map[string]record)}
	from := jobPrefix
	for page := 0; ; page++ {
		resp, err := j.client.Get(j.ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(jobPrefix)),
			clientv3.WithLimit(pageSize), clientv3.WithRev(l.revision))
		j.ok(err)
		if l.revision == 0 {
			l.revision = resp.Header.Revision
		}
		l.add(resp.Kvs)
		if want := resp.Count - int64(len(resp.Kvs)); resp.More != (want > 0) {
			j.t.Fatalf("page %d: got more %t, want %d keys behind it", page, resp.More, want)
		}
		if !resp.More {
			return l
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
		other(page)
	}
}

func (j *job) load(files []workload.File) {
	j.t.Helper()
	writes := make([]write, len(files))
	for i, f := range files {
		writes[i] = write{key: jobPrefix + f.Key, value: f.Read}
	}
	j.work(writes)
	j.t.Logf("%d files loaded, %d refused", len(j.mu.want), j.mu.refused)
	j.same("latest", j.listAll(0).digests(), j.mu.want)
	j.followed()
}

// same compares a listing with what is wanted.
func (j *job) same(what string, got, want map[string]workload.Digest) {
	j.t.Helper()
	if maps.Equal(got, want) {
		return
	}
	for key, digest := range want {
		if found, ok := got[key]; !ok || found != digest {
			j.t.Fatalf("%s: %s is missing or has another value; got %d keys, want %d", what, key, len(got), len(want))
		}
	}
	j.t.Fatalf("%s: got %d keys, want %d", what, len(got), len(want))
}

// followed waits until the watcher has caught up and compares its copy.
func (j *job) followed() int64 {
	j.t.Helper()
	l := j.listAll(0)
	copied, events, err := j.mirror.Reach(j.ctx, l.revision)
	j.ok(err)
	j.t.Logf("the watcher is at revision %d after %d events", l.revision, events)
	j.same("watcher", copied, l.digests())
	return l.revision
}

// list reads the prefix in pages while keys are added between the pages, which
// the pages, pinned to a revision, must not show.
func (j *job) list() {
	j.t.Helper()
	before := maps.Clone(j.mu.want)
	pages := j.listPages(func(page int) {
		j.ok(j.write(write{key: fmt.Sprintf("%s~added/%d", jobPrefix, page), value: func() ([]byte, error) { return []byte("added"), nil }}))
	})
	j.same("pages", pages.digests(), before)
	j.same("whole at the pages' revision", j.listAll(pages.revision).digests(), before)
	j.same("latest", j.listAll(0).digests(), j.mu.want)
}

// change updates every tenth key and deletes every seventh.
func (j *job) change() {
	j.t.Helper()
	var writes []write
	for i, key := range slices.Sorted(maps.Keys(j.mu.want)) {
		switch {
		case i%10 == 0:
			content := fmt.Sprintf("changed %d\n%s", i, strings.Repeat("x", i%5000))
			writes = append(writes, write{key: key, value: func() ([]byte, error) { return []byte(content), nil }})
		case i%7 == 0:
			writes = append(writes, write{key: key})
		}
	}
	j.work(writes)
	j.same("latest", j.listAll(0).digests(), j.mu.want)
	j.followed()
}

func (j *job) compact() {
	j.t.Helper()
	revision := j.followed()
	_, err := j.client.Compact(j.ctx, revision, clientv3.WithCompactPhysical())
	j.ok(err)
	_, err = j.client.Get(j.ctx, jobPrefix, clientv3.WithRev(revision-1))
	if !errors.Is(err, rpctypes.ErrCompacted) {
		j.t.Fatalf("read below the compacted revision: got %v, want %v", err, rpctypes.ErrCompacted)
	}
	j.same("at the compacted revision", j.listAll(revision).digests(), j.mu.want)
	j.ok(j.write(write{key: jobPrefix + "~after", value: func() ([]byte, error) { return []byte("compaction"), nil }}))
	j.followed()
}

// snapshot saves a snapshot with etcdctl, has etcdutl check and restore it, and
// starts a real etcd on the restored directory: its hash must be the server's.
func (j *job) snapshot() {
	j.t.Helper()
	dir := j.t.TempDir()
	file, restored := filepath.Join(dir, "snapshot.db"), filepath.Join(dir, "restored")
	want := j.hash(j.client)
	builder.Run(j.t, process.Etcdctl(), "--endpoints", j.server.Endpoint(), "--command-timeout", "120s", "snapshot", "save", file)
	j.checkStatus(file)
	peer := freeport.Address(j.t)
	builder.Run(j.t, process.Etcdutl(), "snapshot", "restore", file, "--data-dir", restored, "--name", "m1",
		"--initial-cluster", "m1=http://"+peer, "--initial-advertise-peer-urls", "http://"+peer)
	etcd := process.Start(j.t, process.Config{Program: process.Etcd(), Builder: builder, DataDir: restored, Peer: peer})
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd.Endpoint()}, Logger: zap.NewNop()})
	j.ok(err)
	defer client.Close()
	if got := j.hash(client); got != want {
		j.t.Fatalf("hash of the restored store: got %+v, want %+v", got, want)
	}
}

func (j *job) checkStatus(file string) {
	j.t.Helper()
	var shown struct {
		Revision int64 `json:"revision"`
		TotalKey int64 `json:"totalKey"`
		Version  string
	}
	out := builder.Run(j.t, process.Etcdutl(), "snapshot", "status", file, "-w", "json")
	j.ok(json.Unmarshal([]byte(out), &shown))
	if revision := j.listAll(0).revision; shown.Revision != revision || shown.Version != "3.7.0" {
		j.t.Fatalf("snapshot status: got %s, want revision %d and version 3.7.0", out, revision)
	}
}

// hashKV is what HashKV says about a store.
type hashKV struct {
	hash                uint32
	compacted, revision int64
}

func (j *job) hash(client *clientv3.Client) hashKV {
	j.t.Helper()
	resp, err := client.HashKV(j.ctx, client.Endpoints()[0], 0)
	j.ok(err)
	return hashKV{resp.Hash, resp.CompactRevision, (*pb.HashKVResponse)(resp).HashRevision}
}

package watch

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata/*.txt")

// TestScripts runs the scripts in testdata. A script is a sequence of blocks: commands, a line of dashes, the output expected.
//
//	hub ring=N bytes=N batch=N batchbytes=N fragment=N watchers=N   start anew
//	put k v [put k v | del k]...     one revision; not published after "hold"
//	hold / release                   collect revisions / publish them as one batch
//	install N                        N revisions at once that the hub is not told about, as after a snapshot
//	compact N
//	create key=K end=E start=N id=N refusal=T noput nodelete prevkv fragment progress
//	cancel ID / progress / tick / close
//	next [N]                         take all (or N) responses
//	stats
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	sc := newScript(map[string]string{})
	for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		commands, _, found := strings.Cut(block+"\n", "----\n")
		if !found {
			fmt.Fprintf(&got, "%s\n\n", block)
			continue
		}
		fmt.Fprintf(&got, "%s----\n", commands)
		for line := range strings.Lines(commands) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				got.WriteString(sc.run(t, line))
				sc.hub.check()
			}
		}
		got.WriteString("\n")
	}
	if sc.stream.Close(); sc.store.views != 0 {
		t.Errorf("%d views not released", sc.store.views)
	}
	result := strings.TrimSpace(got.String()) + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(result), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if result != string(text) {
		t.Errorf("%s: output differs (run with -update and compare):\n%s", file, result)
	}
}

type script struct {
	store  *fakeStore
	hub    *Hub
	stream *Stream
	ticks  chan time.Time
	held   bool
	batch  []change // ends of revisions have an empty key
}

func newScript(opts map[string]string) *script {
	sc := &script{store: newFakeStore(), ticks: make(chan time.Time, 1)}
	n := func(name string) int {
		v, _ := strconv.Atoi(opts[name])
		return v
	}
	sc.hub = New(Config{
		History: sc.store, Rev: 1, RingRevisions: n("ring"), RingBytes: n("bytes"),
		BatchRevisions: n("batch"), BatchBytes: n("batchbytes"), WatchersPerStreamMax: n("watchers"),
	})
	sc.stream = sc.hub.NewStream(StreamConfig{Ticks: sc.ticks, FragmentBytes: n("fragment")})
	return sc
}

// run runs one command and returns its output.
func (sc *script) run(t *testing.T, line string) string {
	words := strings.Fields(line)
	opts := options(words[1:])
	switch words[0] {
	case "hub":
		sc.stream.Close()
		*sc = *newScript(opts)
	case "put", "del":
		sc.write(words)
	case "hold":
		sc.held = true
	case "release":
		sc.release()
	case "install":
		n, _ := strconv.Atoi(words[1])
		for i := range n {
			sc.store.apply(change{fmt.Sprintf("i%d", i), []byte("x")})
		}
		sc.hub.Publish(sc.store.revision(), nil)
	case "compact":
		n, _ := strconv.Atoi(words[1])
		sc.store.compact(int64(n))
	case "create":
		must(t, sc.stream.Create(t.Context(), createOptions(opts)))
	case "cancel":
		n, _ := strconv.Atoi(words[1])
		must(t, sc.stream.Cancel(t.Context(), int64(n)))
	case "progress":
		sc.stream.Progress()
	case "tick":
		sc.ticks <- time.Time{}
	case "close":
		sc.stream.Close()
	case "next":
		n := 1 << 30
		if len(words) > 1 {
			n, _ = strconv.Atoi(words[1])
		}
		return sc.next(n)
	case "stats":
		return fmt.Sprintf("%+v\n", sc.hub.Stats())
	default:
		t.Fatalf("unknown command %q", line)
	}
	return ""
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func options(words []string) map[string]string {
	opts := map[string]string{}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		opts[name] = value
	}
	return opts
}

func createOptions(opts map[string]string) CreateRequest {
	n := func(name string) int64 {
		v, _ := strconv.ParseInt(opts[name], 10, 64)
		return v
	}
	has := func(name string) bool {
		_, ok := opts[name]
		return ok
	}
	end := strings.ReplaceAll(opts["end"], "open", "\x00")
	return CreateRequest{
		Key: []byte(opts["key"]), RangeEnd: []byte(end), StartRevision: n("start"), WatchID: n("id"),
		Refusal: func() string { return opts["refusal"] }, NoPut: has("noput"), NoDelete: has("nodelete"), PrevKV: has("prevkv"),
		Fragment: has("fragment"), ProgressNotify: has("progress"),
	}
}

// write makes one revision of a line of puts and deletes.
func (sc *script) write(words []string) {
	for len(words) > 0 {
		if words[0] == "del" {
			sc.batch = append(sc.batch, change{words[1], nil})
			words = words[2:]
			continue
		}
		sc.batch = append(sc.batch, change{words[1], []byte(repeat(words[2]))})
		words = words[3:]
	}
	sc.batch = append(sc.batch, change{})
	if !sc.held {
		sc.release()
	}
}

// repeat turns x*100 into a hundred x.
func repeat(word string) string {
	text, times, found := strings.Cut(word, "*")
	if !found {
		return word
	}
	n, _ := strconv.Atoi(times)
	return strings.Repeat(text, n)
}

func (sc *script) release() {
	first := len(sc.store.log)
	start := 0
	for i, c := range sc.batch {
		if c.key == "" {
			sc.store.apply(sc.batch[start:i]...)
			start = i + 1
		}
	}
	sc.held, sc.batch = false, nil
	sc.hub.Publish(sc.store.revision(), sc.store.log[first:])
}

// next takes up to n responses that are ready.
func (sc *script) next(n int) string {
	var out strings.Builder
	for n > 0 {
		r, done, err := sc.stream.step()
		if err != nil {
			return out.String() + "error: " + err.Error() + "\n"
		}
		if done == idle {
			break
		}
		if done == responded {
			out.WriteString(describe(r))
			n--
		}
	}
	return out.String()
}

// describe decodes what a client would receive.
func describe(r Response) string {
	var m etcdserverpb.WatchResponse
	if err := proto.Unmarshal(AppendResponse(nil, Header{}, r), &m); err != nil {
		return "undecodable: " + err.Error() + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "id=%d rev=%d", m.WatchId, m.Header.Revision)
	if m.Created {
		b.WriteString(" created")
	}
	if m.Canceled {
		b.WriteString(" canceled")
	}
	if m.CompactRevision != 0 {
		fmt.Fprintf(&b, " compacted=%d", m.CompactRevision)
	}
	if m.CancelReason != "" {
		fmt.Fprintf(&b, " reason=%q", m.CancelReason)
	}
	if m.Fragment {
		b.WriteString(" fragment")
	}
	for _, ev := range m.Events {
		fmt.Fprintf(&b, " | %s %s", ev.Type, ev.Kv.Key)
		if len(ev.Kv.Value) > 0 {
			fmt.Fprintf(&b, "=%s", abbreviate(ev.Kv.Value))
		}
		fmt.Fprintf(&b, " @%d", ev.Kv.ModRevision)
		if ev.PrevKv != nil {
			fmt.Fprintf(&b, " was %s@%d", abbreviate(ev.PrevKv.Value), ev.PrevKv.ModRevision)
		}
	}
	return b.String() + "\n"
}

func abbreviate(v []byte) string {
	if len(v) > 12 {
		return fmt.Sprintf("%c*%d", v[0], len(v))
	}
	return string(v)
}

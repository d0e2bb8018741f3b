package machine_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/schema"
)

var update = flag.Bool("update", false, "write what the scripts print into testdata")

// TestScripts runs the scripts of testdata. A line that begins with "> " is a command; what it prints follows it. A command is an
// InternalRaftRequest in text form, or one of: restart, view, hash REV, steps, conf add|remove ID URL, bucket NAME.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newScript(t).run(string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if got != string(want) {
				t.Errorf("%s prints\n%s\nwant\n%s", file, got, want)
			}
		})
	}
}

// script is a machine on a disk in memory.
type script struct {
	t       *testing.T
	disk    *backend.MemoryDisk
	backend *backend.Backend
	machine *machine.Machine
	index   uint64
	out     strings.Builder
}

func newScript(t *testing.T) *script {
	s := &script{t: t, disk: backend.NewMemoryDisk()}
	s.open()
	t.Cleanup(func() { s.check(s.backend.Close()) })
	return s
}

func (s *script) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *script) open() {
	var err error
	s.backend, err = backend.OpenMemory(backend.Config{}, s.disk)
	s.check(err)
	s.machine, err = machine.Restore(machine.Config{ClusterID: 0xc, MemberID: 0xa, MinLeaseTTL: 2, MaxLearners: 1},
		s.backend, s.backend, func() mvcc.Reader { return s.backend.Reader() })
	s.check(err)
}

// run executes the commands of text and returns it with what they print now.
func (s *script) run(text string) string {
	for line := range strings.Lines(text) {
		command, isCommand := strings.CutPrefix(line, "> ")
		switch {
		case isCommand:
			s.out.WriteString(line)
			s.command(strings.TrimSpace(command))
		case strings.HasPrefix(line, "#"):
			s.out.WriteString(line)
		}
	}
	return s.out.String()
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *script) command(line string) {
	name, rest, _ := strings.Cut(line, " ")
	switch name {
	case "restart":
		s.restart()
	case "view":
		s.view()
	case "hash":
		s.hash(rest)
	case "steps":
		s.steps()
	case "conf":
		s.conf(strings.Fields(rest))
	case "bucket":
		s.bucket(rest)
	default:
		s.apply(line)
	}
}

// apply applies a request and prints its reply or error, its events, and what else it did.
func (s *script) apply(text string) {
	var r pb.InternalRaftRequest
	s.check(prototext.Unmarshal([]byte(text), &r))
	if r.Header == nil {
		r.Header = &pb.RequestHeader{}
	}
	r.Header.ID = 7
	data, err := proto.Marshal(&r)
	s.check(err)
	out := s.machine.Apply(machine.Command{Index: s.index + 1, Term: 1, Data: data, Wanted: func(id uint64) bool { return id == 7 }})
	if out.Err != nil {
		s.printf("error: %v", out.Err)
	} else {
		s.printf("%s", s.json(responseOf(&r), out.Reply))
	}
	for _, e := range out.Events {
		s.printf("event %d/%d delete=%v key=%s replaces %d/%d", e.Rev.Main, e.Rev.Sub, e.Delete, e.Key, e.Prev.Main, e.Prev.Sub)
	}
	for _, l := range out.Leases {
		s.printf("lease %+v", l)
	}
	for _, one := range out.Sessions {
		s.printf("session %+v", one)
	}
	if out.Users != nil {
		s.printf("users at %d, in force: %t", out.Users.Revision(), out.Users.Enabled())
	}
	s.commit()
}

func (s *script) commit() {
	s.index++
	s.backend.Commit(schema.Applied{Index: s.index, Term: 1})
}

// responseOf is an empty response of the kind that answers r.
func responseOf(r *pb.InternalRaftRequest) proto.Message {
	switch {
	case r.Put != nil:
		return new(pb.PutResponse)
	case r.DeleteRange != nil:
		return new(pb.DeleteRangeResponse)
	case r.Txn != nil:
		return new(pb.TxnResponse)
	case r.LeaseGrant != nil:
		return new(pb.LeaseGrantResponse)
	case r.Alarm != nil:
		return new(pb.AlarmResponse)
	case r.AuthStatus != nil:
		return new(pb.AuthStatusResponse)
	case r.Authenticate != nil:
		return new(pb.AuthenticateResponse)
	case r.AuthUserGet != nil:
		return new(pb.AuthUserGetResponse)
	case r.AuthUserList != nil:
		return new(pb.AuthUserListResponse)
	case r.AuthRoleList != nil:
		return new(pb.AuthRoleListResponse)
	case r.AuthRoleGet != nil:
		return new(pb.AuthRoleGetResponse)
	}
	return new(pb.CompactionResponse) // a header alone
}

// json prints a message in one form: protobuf's own changes from build to build.
func (s *script) json(m proto.Message, raw []byte) string {
	s.check(proto.Unmarshal(raw, m))
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	s.check(err)
	var compact bytes.Buffer
	s.check(json.Compact(&compact, b))
	return compact.String()
}

// restart brings everything to disk, crashes, and opens again.
func (s *script) restart() {
	_, err := s.backend.Flush(s.index)
	s.check(err)
	crashed := s.disk.Crash()
	s.check(s.backend.Close())
	s.disk = crashed
	s.open()
	s.printf("revision %d", s.machine.Rev())
}

// view prints keys, leases, alarms and members.
func (s *script) view() {
	v := s.machine.View(s.backend.Reader())
	defer v.Release()
	all, err := v.Range(mvcc.Query{Key: []byte{0}, End: []byte{0}})
	s.check(err)
	s.printf("revision %d, compacted %d, %d keys", v.Rev(), v.CompactRev(), all.Count)
	for _, record := range all.Records {
		var kv schema.KeyValue
		s.check(kv.Unmarshal(record))
		s.printf("  %s=%s create %d mod %d version %d lease %d", kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease)
	}
	for _, l := range s.machine.Leases().Leases() {
		s.printf("  lease %d ttl %d remaining %d keys %s", l.ID, l.TTL, l.RemainingTTL, s.machine.Leases().Keys(l.ID))
	}
	for _, a := range s.machine.Alarms() {
		s.printf("  alarm %+v", a)
	}
	for _, m := range s.machine.Members().Members() {
		s.printf("  member %+v", m)
	}
}

func (s *script) hash(rev string) {
	var at int64
	_, err := fmt.Sscan(rev, &at)
	s.check(err)
	v := s.machine.View(s.backend.Reader())
	defer v.Release()
	h, err := v.HashKV(at)
	if err != nil {
		s.printf("error: %v", err)
		return
	}
	s.printf("%+v", h)
}

// steps finishes the compaction one record at a time.
func (s *script) steps() {
	n := 0
	for more := true; more; n++ {
		var err error
		more, err = s.machine.CompactStep(1)
		s.check(err)
		s.commit()
	}
	s.printf("done in %d steps", n)
}

func (s *script) conf(args []string) {
	var id uint64
	_, err := fmt.Sscanf(args[1], "%x", &id)
	s.check(err)
	cc := membership.RemoveChange(0, id)
	if args[0] == "add" {
		cc = membership.AddChange(0, schema.Member{ID: id, PeerURLs: args[2:]})
	}
	err = s.machine.ApplyConfChange(cc)
	s.printf("%+v %v", s.machine.ConfState(), errText(err))
	s.commit()
}

func errText(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}

// bucket prints a bucket of the file.
func (s *script) bucket(name string) {
	for b := range schema.NumBuckets {
		if b.Name() != name {
			continue
		}
		s.check(s.backend.ForEach(b, func(key, value []byte) error {
			s.printf("  %q %q", key, value)
			return nil
		}))
	}
}

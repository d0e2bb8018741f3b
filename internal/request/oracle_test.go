package request_test

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/membershippb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/quoin-kv/quoin/internal/request"
)

// kind pairs one of our messages with the generated one that judges it.
type kind struct {
	name   string
	ours   func() request.Request
	theirs func() proto.Message
}

func pair[T any, M proto.Message](theirs M) kind {
	var ours any = new(T)
	return kind{
		name:   string(theirs.ProtoReflect().Descriptor().Name()),
		ours:   func() request.Request { var v any = new(T); return v.(request.Request) },
		theirs: func() proto.Message { return theirs.ProtoReflect().New().Interface() },
	}.checked(ours)
}

// checked fails early if T is not a request.
func (k kind) checked(v any) kind {
	_ = v.(request.Request)
	return k
}

func kinds() []kind {
	return []kind{
		pair[request.Range](&pb.RangeRequest{}),
		pair[request.Put](&pb.PutRequest{}),
		pair[request.DeleteRange](&pb.DeleteRangeRequest{}),
		pair[request.Txn](&pb.TxnRequest{}),
		pair[request.Op](&pb.RequestOp{}),
		pair[request.Compare](&pb.Compare{}),
		pair[request.Compaction](&pb.CompactionRequest{}),
		pair[request.LeaseGrant](&pb.LeaseGrantRequest{}),
		pair[request.LeaseRevoke](&pb.LeaseRevokeRequest{}),
		pair[request.LeaseKeepAlive](&pb.LeaseKeepAliveRequest{}),
		pair[request.LeaseTimeToLive](&pb.LeaseTimeToLiveRequest{}),
		pair[request.LeaseCheckpoint](&pb.LeaseCheckpointRequest{}),
		pair[request.Alarm](&pb.AlarmRequest{}),
		pair[request.ClusterVersionSet](&membershippb.ClusterVersionSetRequest{}),
		pair[request.MemberAttrSet](&membershippb.ClusterMemberAttrSetRequest{}),
		pair[request.DowngradeInfoSet](&membershippb.DowngradeInfoSetRequest{}),
		pair[request.DowngradeVersionTest](&pb.DowngradeVersionTestRequest{}),
		pair[request.AuthEnable](&pb.AuthEnableRequest{}),
		pair[request.AuthDisable](&pb.AuthDisableRequest{}),
		pair[request.AuthStatus](&pb.AuthStatusRequest{}),
		pair[request.AuthUserList](&pb.AuthUserListRequest{}),
		pair[request.AuthRoleList](&pb.AuthRoleListRequest{}),
		pair[request.Authenticate](&pb.InternalAuthenticateRequest{}),
		pair[request.AuthUserAdd](&pb.AuthUserAddRequest{}),
		pair[request.AuthUserDelete](&pb.AuthUserDeleteRequest{}),
		pair[request.AuthUserGet](&pb.AuthUserGetRequest{}),
		pair[request.AuthUserChangePassword](&pb.AuthUserChangePasswordRequest{}),
		pair[request.AuthUserGrantRole](&pb.AuthUserGrantRoleRequest{}),
		pair[request.AuthUserRevokeRole](&pb.AuthUserRevokeRoleRequest{}),
		pair[request.AuthRoleAdd](&pb.AuthRoleAddRequest{}),
		pair[request.AuthRoleDelete](&pb.AuthRoleDeleteRequest{}),
		pair[request.AuthRoleGet](&pb.AuthRoleGetRequest{}),
		pair[request.AuthRoleGrantPermission](&pb.AuthRoleGrantPermissionRequest{}),
		pair[request.AuthRoleRevokePermission](&pb.AuthRoleRevokePermissionRequest{}),
	}
}

// canonical is the generated code's deterministic encoding.
func canonical(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	return b
}

// judge decodes b with both decoders and compares what they made of it.
func (k kind) judge(t testing.TB, b []byte) {
	t.Helper()
	theirs := k.theirs()
	theirErr := proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, theirs)
	ours := k.ours()
	ourErr := ours.Unmarshal(b)
	if tooDeep(ourErr) {
		return
	}
	if (theirErr == nil) != (ourErr == nil) {
		t.Fatalf("%s %x: we say %v, the generated code says %v", k.name, b, ourErr, theirErr)
	}
	if theirErr == nil {
		k.compare(t, ours, theirs)
	}
}

func (k kind) compare(t testing.TB, ours request.Request, theirs proto.Message) {
	t.Helper()
	want := canonical(t, theirs)
	got := ours.Append(nil)
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: encoded\n%swant\n%s", k.name, hex.Dump(got), hex.Dump(want))
	}
	if ours.Size() != len(want) {
		t.Fatalf("%s: size %d, want %d", k.name, ours.Size(), len(want))
	}
	if got := ours.Append([]byte("before")); !bytes.Equal(got, append([]byte("before"), want...)) {
		t.Fatalf("%s: appending changes what was there: %x", k.name, got)
	}
}

// source draws random messages.
type source struct{ *rand.Rand }

// newSource prints the seed, with which the test can be repeated.
func newSource(t testing.TB, seed uint64) source {
	t.Logf("seed %d", seed)
	return source{rand.New(rand.NewPCG(seed, 0))}
}

// fill sets about half of the fields of m.
func (s source) fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if s.IntN(2) == 0 {
			continue
		}
		switch {
		case fd.IsList():
			list := m.Mutable(fd).List()
			for range s.IntN(4) {
				s.element(fd, list, depth)
			}
		case fd.Kind() == protoreflect.MessageKind:
			if depth > 0 {
				s.fill(m.Mutable(fd).Message(), depth-1)
			}
		default:
			m.Set(fd, s.scalar(fd))
		}
	}
}

func (s source) element(fd protoreflect.FieldDescriptor, list protoreflect.List, depth int) {
	if fd.Kind() != protoreflect.MessageKind {
		list.Append(s.scalar(fd))
		return
	}
	e := list.AppendMutable().Message()
	if depth > 0 {
		s.fill(e, depth-1)
	}
}

func (s source) scalar(fd protoreflect.FieldDescriptor) protoreflect.Value {
	n := s.Uint64() >> s.IntN(64)
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(n%2 == 0)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(n))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(n)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(int32(n % 7)))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(hex.EncodeToString(s.bytes()))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(s.bytes())
	}
	panic("no generator for " + fd.Kind().String())
}

func (s source) bytes() []byte {
	b := make([]byte, s.IntN(200)>>s.IntN(8))
	for i := range b {
		b[i] = byte(s.Uint32())
	}
	return b
}

// mutate damages b, or lengthens it with something that a decoder has to skip
// or merge.
func (s source) mutate(b, other []byte) []byte {
	b = bytes.Clone(b)
	switch s.IntN(6) {
	case 0:
		return append(b, other...)
	case 1:
		return b[:s.IntN(len(b)+1)]
	case 2:
		return append(b, 0xba, 0x3e, 0x02, 'x', 'y') // unknown field 999
	case 3:
		return append(b, 0x0b, 0x10, 0x01, 0x0c) // field 1 as a group
	}
	for range 1 + s.IntN(3) {
		if len(b) > 0 {
			b[s.IntN(len(b))] = byte(s.Uint32())
		}
	}
	return b
}

func (s source) message(k kind) []byte {
	m := k.theirs()
	s.fill(m.ProtoReflect(), 6)
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

func TestCodecsAgreeWithGeneratedCode(t *testing.T) {
	s := newSource(t, 1)
	for _, k := range kinds() {
		for range 300 {
			b := s.message(k)
			k.judge(t, b)
			k.judge(t, s.mutate(b, s.message(k)))
		}
	}
}

func TestUnmarshalMerges(t *testing.T) {
	s := newSource(t, 2)
	for _, k := range kinds() {
		for range 50 {
			first, second := s.message(k), s.message(k)
			ours, theirs := k.ours(), k.theirs()
			for _, b := range [][]byte{first, second} {
				if err := ours.Unmarshal(b); err != nil {
					t.Fatal(err)
				}
				if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(b, theirs); err != nil {
					t.Fatal(err)
				}
			}
			k.compare(t, ours, theirs)
		}
	}
}

func FuzzCodecs(f *testing.F) {
	s := newSource(f, 3)
	all := kinds()
	for i, k := range all {
		for range 3 {
			f.Add(uint8(i), s.message(k))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		k := all[int(which)%len(all)]
		k.judge(t, b)
	})
}

// tooDeep reports whether we refused a message that the generated code, which
// has another bound for nesting, may accept.
func tooDeep(err error) bool {
	return err != nil && strings.Contains(err.Error(), "transactions are nested too deep")
}

package workload

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// Op is one request. Stream asks for RangeStream instead of Range.
type Op struct {
	Request proto.Message
	Stream  bool
}

// String is the request as one line of text.
func (o Op) String() string {
	name := o.Request.ProtoReflect().Descriptor().Name()
	if o.Stream {
		name = "RangeStreamRequest"
	}
	return fmt.Sprintf("%s{%s}", name, prototext.MarshalOptions{}.Format(o.Request))
}

// Outcome is what a server answered: a response, or a code and a text.
type Outcome struct {
	Response proto.Message
	Code     codes.Code
	Text     string
}

// String is the outcome as one line of text.
func (o Outcome) String() string {
	if o.Code != codes.OK {
		return fmt.Sprintf("%s %q", o.Code, o.Text)
	}
	return prototext.MarshalOptions{}.Format(o.Response)
}

// Equal says whether two outcomes are the same.
func (o Outcome) Equal(other Outcome) bool {
	if o.Code != other.Code || o.Text != other.Text {
		return false
	}
	return o.Code != codes.OK || proto.Equal(o.Response, other.Response)
}

// headed is a response with a header; every response that the client returns is one.
type headed interface {
	proto.Message
	GetHeader() *pb.ResponseHeader
}

// Revision is the store revision that the outcome's header shows, 0 if it has none.
func (o Outcome) Revision() int64 {
	if r, ok := o.Response.(headed); ok && r.GetHeader() != nil {
		return r.GetHeader().Revision
	}
	return 0
}

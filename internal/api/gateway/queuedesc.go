package gateway

import (
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// The full names of messages that the services Lock and Election share with others.
const (
	headerMessage = ".etcdserverpb.ResponseHeader"
	recordMessage = ".mvccpb.KeyValue"
)

// QueueServices describes the services Lock and Election, whose messages have no generated code here.
func QueueServices() ([]protoreflect.ServiceDescriptor, error) {
	var out []protoreflect.ServiceDescriptor
	for _, file := range []*descriptorpb.FileDescriptorProto{lockFile(), electionFile()} {
		desc, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
		if err != nil {
			return nil, fmt.Errorf("describing %s: %w", file.GetName(), err)
		}
		out = append(out, desc.Services().Get(0))
	}
	return out, nil
}

func lockFile() *descriptorpb.FileDescriptorProto {
	f := newFile("v3lock.proto", "v3lockpb", "Lock")
	f.message("LockRequest", "name bytes", "lease int64")
	f.message("LockResponse", "header "+headerMessage, "key bytes")
	f.message("UnlockRequest", "key bytes")
	f.message("UnlockResponse", "header "+headerMessage)
	f.method("Lock", "LockRequest", "LockResponse")
	f.method("Unlock", "UnlockRequest", "UnlockResponse")
	return f.FileDescriptorProto
}

func electionFile() *descriptorpb.FileDescriptorProto {
	const leader = "leader .v3electionpb.LeaderKey"
	f := newFile("v3election.proto", "v3electionpb", "Election")
	f.message("CampaignRequest", "name bytes", "lease int64", "value bytes")
	f.message("CampaignResponse", "header "+headerMessage, leader)
	f.message("LeaderKey", "name bytes", "key bytes", "rev int64", "lease int64")
	f.message("LeaderRequest", "name bytes")
	f.message("LeaderResponse", "header "+headerMessage, "kv "+recordMessage)
	f.message("ResignRequest", leader)
	f.message("ResignResponse", "header "+headerMessage)
	f.message("ProclaimRequest", leader, "value bytes")
	f.message("ProclaimResponse", "header "+headerMessage)
	f.method("Campaign", "CampaignRequest", "CampaignResponse")
	f.method("Proclaim", "ProclaimRequest", "ProclaimResponse")
	f.method("Leader", "LeaderRequest", "LeaderResponse")
	f.method("Observe", "LeaderRequest", "LeaderResponse").ServerStreaming = proto.Bool(true)
	f.method("Resign", "ResignRequest", "ResignResponse")
	return f.FileDescriptorProto
}

// file is the description of a proto3 file with one service, while it is written.
type file struct {
	*descriptorpb.FileDescriptorProto
}

func newFile(name, pkg, service string) file {
	return file{&descriptorpb.FileDescriptorProto{
		Name: proto.String(name), Package: proto.String(pkg), Syntax: proto.String("proto3"),
		Dependency: []string{pb.File_rpc_proto.Path(), mvccpb.File_kv_proto.Path()},
		Service:    []*descriptorpb.ServiceDescriptorProto{{Name: proto.String(service)}},
	}}
}

// message adds one whose fields, each a name and a type, have the numbers from 1 on.
func (f file) message(name string, fields ...string) {
	m := &descriptorpb.DescriptorProto{Name: proto.String(name)}
	for i, text := range fields {
		name, kind, _ := strings.Cut(text, " ")
		field := &descriptorpb.FieldDescriptorProto{
			Name: proto.String(name), Number: proto.Int32(int32(i + 1)), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
		switch kind {
		case "bytes":
			field.Type = descriptorpb.FieldDescriptorProto_TYPE_BYTES.Enum()
		case "int64":
			field.Type = descriptorpb.FieldDescriptorProto_TYPE_INT64.Enum()
		default:
			field.Type, field.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(kind)
		}
		m.Field = append(m.Field, field)
	}
	f.MessageType = append(f.MessageType, m)
}

func (f file) method(name, in, out string) *descriptorpb.MethodDescriptorProto {
	m := &descriptorpb.MethodDescriptorProto{
		Name: proto.String(name), InputType: proto.String("." + f.GetPackage() + "." + in), OutputType: proto.String("." + f.GetPackage() + "." + out),
	}
	f.Service[0].Method = append(f.Service[0].Method, m)
	return m
}

package gateway

import (
	"encoding/json"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/version"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// descriptionPath is where the OpenAPI description of the gateway is found.
const descriptionPath = prefix + "openapi.json"

// operation is a method and the paths under which it is called.
type operation struct {
	method protoreflect.MethodDescriptor
	paths  []string
}

// operations lists everything that the gateway serves.
func operations() (list []operation, err error) {
	services := pb.File_rpc_proto.Services()
	for i := range services.Len() {
		for _, m := range methods(services.Get(i)) {
			if paths := boundPaths(m); len(paths) > 0 {
				list = append(list, operation{m, paths})
			}
		}
	}
	queues, err := QueueServices()
	for _, s := range queues {
		for _, m := range methods(s) {
			list = append(list, operation{m, []string{queuePath(m)}})
		}
	}
	return list, err
}

func methods(s protoreflect.ServiceDescriptor) (list []protoreflect.MethodDescriptor) {
	for i := range s.Methods().Len() {
		list = append(list, s.Methods().Get(i))
	}
	return list
}

// boundPaths reads the HTTP paths that the description of a method names.
func boundPaths(m protoreflect.MethodDescriptor) (paths []string) {
	m.Options().ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.FullName() == "google.api.http" {
			paths = rulePaths(v.Message())
		}
		return true
	})
	return paths
}

func rulePaths(rule protoreflect.Message) (paths []string) {
	fields := rule.Descriptor().Fields()
	if path := rule.Get(fields.ByName("post")).String(); path != "" {
		paths = append(paths, path)
	}
	more := rule.Get(fields.ByName("additional_bindings")).List()
	for i := range more.Len() {
		paths = append(paths, rulePaths(more.Get(i).Message())...)
	}
	return paths
}

// object is a JSON object.
type object = map[string]any

// describe returns the OpenAPI description of the gateway.
func describe() ([]byte, error) {
	list, err := operations()
	if err != nil {
		return nil, err
	}
	s, paths := schemas{}, object{}
	s["Error"] = object{"type": "object", "properties": object{"code": object{"type": "integer"}, "message": object{"type": "string"}}}
	for _, op := range list {
		for i, path := range op.paths {
			paths[path] = object{"post": s.operation(op.method, i)}
		}
	}
	return json.Marshal(object{
		"openapi": "3.0.3",
		"info": object{
			"title": "Quoin JSON gateway", "version": version.Version,
			"description": "The v3 API as HTTP POSTs. Bytes are base64 and 64-bit numbers strings, unless a request asks for readable JSON " +
				"with the header Quoin-JSON: readable or the query parameter readable=1.",
		},
		"paths": paths,
		"components": object{
			"schemas":         s,
			"securitySchemes": object{"token": object{"type": "apiKey", "in": "header", "name": "Authorization"}},
		},
		"security": []object{{}, {"token": []string{}}},
	})
}

// schemas are the messages that were met, by name.
type schemas object

// operation describes a method at the i-th of its paths.
func (s schemas) operation(m protoreflect.MethodDescriptor, i int) object {
	service := string(m.Parent().Name())
	answer, what := s.message(m.Output()), "The answer."
	if m.IsStreamingServer() {
		what = "A stream: one object on each line."
		answer = object{"type": "object", "properties": object{"result": answer, "error": ref("Error")}}
	}
	id := service + "_" + string(m.Name())
	if i > 0 {
		id += "_2"
	}
	out := object{
		"operationId": id, "tags": []string{service},
		"parameters": []object{
			{"name": "Quoin-JSON", "in": "header", "schema": object{"type": "string", "enum": []string{readableValue}}},
			{"name": readableParameter, "in": "query", "schema": object{"type": "string", "enum": []string{"1"}}},
		},
		"requestBody": object{"content": content(s.message(m.Input()))},
		"responses": object{
			"200":     object{"description": what, "content": content(answer)},
			"default": object{"description": "Refused or failed.", "content": content(ref("Error"))},
		},
	}
	if m.IsStreamingClient() {
		out["description"] = "The body may have several messages, one after the other."
	}
	return out
}

func content(schema object) object { return object{"application/json": object{"schema": schema}} }

func ref(name string) object { return object{"$ref": "#/components/schemas/" + name} }

// message describes a message, and those in it, once.
func (s schemas) message(m protoreflect.MessageDescriptor) object {
	name := string(m.FullName())
	if _, known := s[name]; !known {
		properties := object{}
		s[name] = object{"type": "object", "properties": properties}
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			properties[string(f.Name())] = s.field(f)
		}
	}
	return ref(name)
}

func (s schemas) field(f protoreflect.FieldDescriptor) object {
	schema := s.value(f)
	if f.IsList() {
		return object{"type": "array", "items": schema}
	}
	return schema
}

func (s schemas) value(f protoreflect.FieldDescriptor) object {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return s.message(f.Message())
	case protoreflect.EnumKind:
		return object{"type": "string", "enum": enumNames(f.Enum())}
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.BytesKind:
		return object{"type": "string", "format": "byte"}
	case protoreflect.Int64Kind, protoreflect.Uint64Kind:
		return object{"type": "string", "format": f.Kind().String()}
	case protoreflect.Int32Kind, protoreflect.Uint32Kind:
		return object{"type": "integer", "format": f.Kind().String()}
	}
	return object{"type": "string"}
}

func enumNames(e protoreflect.EnumDescriptor) (names []string) {
	for i := range e.Values().Len() {
		names = append(names, string(e.Values().Get(i).Name()))
	}
	slices.Sort(names)
	return names
}

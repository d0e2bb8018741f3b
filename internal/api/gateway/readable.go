package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// How a request asks for readable JSON: a header or a query parameter.
const (
	readableHeader    = "Quoin-Json" // as package http writes it
	readableValue     = "readable"
	readableParameter = "readable"
)

// wantsReadable reports whether a request is written, and wants to be answered, in readable JSON.
func wantsReadable(r *http.Request) bool {
	return r.Header.Get(readableHeader) == readableValue || r.URL.Query().Get(readableParameter) == "1"
}

// readableJSON is a form of messages for people and shell scripts: bytes are the text that they are, or an object {"base64": "..."} if they
// are none; numbers are numbers and enums names. Fields with default values are left out. In requests, what the other form accepts is
// accepted, too, except for bytes.
type readableJSON struct{ *boundedJSON }

// Marshal returns the readable form of a message, or of an object with one message in it, as streams have them.
func (j *readableJSON) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case proto.Message:
		return appendMessage(nil, v.ProtoReflect()), nil
	case map[string]any:
		for name, inner := range v {
			if m, ok := inner.(proto.Message); ok && len(v) == 1 {
				return appendWrapped(name, m), nil
			}
		}
	case map[string]proto.Message:
		for name, inner := range v {
			if len(v) == 1 {
				return appendWrapped(name, inner), nil
			}
		}
	}
	return j.boundedJSON.Marshal(v)
}

func appendWrapped(name string, m proto.Message) []byte {
	b := append(appendText(append([]byte{}, '{'), name), ':')
	return append(appendMessage(b, m.ProtoReflect()), '}')
}

// appendMessage appends the fields of m that are set, in the order of their declaration.
func appendMessage(b []byte, m protoreflect.Message) []byte {
	b = append(b, '{')
	begin := len(b)
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		if len(b) > begin {
			b = append(b, ',')
		}
		b = append(appendText(b, string(f.Name())), ':')
		b = appendField(b, f, m.Get(f))
	}
	return append(b, '}')
}

func appendField(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	if !f.IsList() {
		return appendValue(b, f, v)
	}
	b = append(b, '[')
	list := v.List()
	for i := range list.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendValue(b, f, list.Get(i))
	}
	return append(b, ']')
}

func appendValue(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return appendMessage(b, v.Message())
	case protoreflect.BytesKind:
		return appendBytes(b, v.Bytes())
	case protoreflect.StringKind:
		return appendText(b, v.String())
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool())
	case protoreflect.EnumKind:
		if known := f.Enum().Values().ByNumber(v.Enum()); known != nil {
			return appendText(b, string(known.Name()))
		}
		return strconv.AppendInt(b, int64(v.Enum()), 10)
	}
	return fmt.Append(b, v.Interface()) // a number
}

// appendBytes appends text as a string, and what is no text as an object that says so.
func appendBytes(b, v []byte) []byte {
	if utf8.Valid(v) {
		return appendText(b, string(v))
	}
	b = append(b, `{"base64":"`...)
	return append(base64.StdEncoding.AppendEncode(b, v), `"}`...)
}

// appendText appends a string. Angle brackets and ampersands stay what they are: the answer is not put into a page.
func appendText(b []byte, s string) []byte {
	out := bytes.NewBuffer(b)
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // strings always can be
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// Unmarshal reads a message in readable form.
func (j *readableJSON) Unmarshal(data []byte, v any) error {
	if m, ok := v.(proto.Message); ok {
		plain, err := plainMessage(data, m.ProtoReflect().Descriptor(), 0)
		if err != nil {
			return err
		}
		data = plain
	}
	return j.boundedJSON.Unmarshal(data, v)
}

// NewDecoder is that of boundedJSON, for the readable form.
func (j *readableJSON) NewDecoder(r io.Reader) runtime.Decoder { return j.decoder(r, j.Unmarshal) }

// maxDepth is how deep messages may be nested, which only transactions can.
const maxDepth = 1000

// plainMessage turns the readable form of a message into the other one. What is wrong beyond that is left to who reads it.
func plainMessage(data []byte, m protoreflect.MessageDescriptor, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("messages are nested more than %d deep", maxDepth)
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) != nil || object == nil {
		return data, nil
	}
	for name, raw := range object {
		f := m.Fields().ByJSONName(name)
		if f == nil {
			f = m.Fields().ByTextName(name)
		}
		if f == nil {
			continue
		}
		plain, err := plainField(raw, f, depth)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		object[name] = plain
	}
	return json.Marshal(object)
}

func plainField(raw []byte, f protoreflect.FieldDescriptor, depth int) ([]byte, error) {
	if !f.IsList() {
		return plainValue(raw, f, depth)
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || list == nil {
		return raw, nil
	}
	for i := range list {
		plain, err := plainValue(list[i], f, depth)
		if err != nil {
			return nil, err
		}
		list[i] = plain
	}
	return json.Marshal(list)
}

func plainValue(raw []byte, f protoreflect.FieldDescriptor, depth int) ([]byte, error) {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return plainMessage(raw, f.Message(), depth+1)
	case protoreflect.BytesKind:
		return plainBytes(raw)
	}
	return raw, nil
}

func plainBytes(raw []byte) ([]byte, error) {
	var text *string
	if json.Unmarshal(raw, &text) == nil {
		if text == nil {
			return raw, nil
		}
		return json.Marshal([]byte(*text))
	}
	var object struct {
		Base64 *string `json:"base64"`
	}
	if json.Unmarshal(raw, &object) != nil || object.Base64 == nil {
		return nil, fmt.Errorf(`want a string or an object {"base64": "..."}, have %.100s`, raw)
	}
	return json.Marshal(object.Base64)
}

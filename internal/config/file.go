package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// applyFile sets what a configuration file says. Unknown keys are told of and else ignored.
func (c *Config) applyFile(table []*Option, content []byte) ([]Notice, error) {
	asJSON, err := yaml.YAMLToJSON(content)
	if err != nil {
		return nil, fmt.Errorf("error converting YAML to JSON: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(asJSON))
	d.UseNumber()
	var root map[string]any
	if err := d.Decode(&root); err != nil {
		return nil, fmt.Errorf("error unmarshaling JSON: while decoding JSON: %w", err)
	}
	r := fileReader{options: map[string]*Option{}}
	for _, o := range table {
		if o.Key != "" {
			r.options[o.Key] = o
		}
	}
	if err := r.read("", root); err != nil {
		return nil, err
	}
	for _, name := range r.given {
		c.set[name] = true
	}
	return r.notices, nil
}

// fileReader walks through the maps of a configuration file.
type fileReader struct {
	options map[string]*Option // by key
	notices []Notice
	given   []string // names of the options that were set
}

func (r *fileReader) read(prefix string, object map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		value := object[name]
		if value == nil { // as good as absent
			continue
		}
		if err := r.readOne(prefix+name, value); err != nil {
			return err
		}
	}
	return nil
}

func (r *fileReader) readOne(key string, value any) error {
	if o, ok := r.options[key]; ok {
		r.given = append(r.given, o.Name)
		return o.setFromFile(value)
	}
	if !r.isMap(key) {
		r.notices = append(r.notices, Notice{slog.LevelWarn, "unknown key in the configuration file", []any{"key", key}})
		return nil
	}
	object, ok := value.(map[string]any)
	if !ok {
		return mistyped(key, value, "object")
	}
	return r.read(key+".", object)
}

// isMap tells whether there are options inside a map of that key.
func (r *fileReader) isMap(key string) bool {
	for k := range r.options {
		if strings.HasPrefix(k, key+".") {
			return true
		}
	}
	return false
}

// setFromFile sets the option to what a file says.
func (o *Option) setFromFile(value any) error {
	kind := typeOf(o.Value)
	s, ok := textOf(value, kind)
	if !ok {
		return mistyped(o.Key, value, kind)
	}
	if w, ok := o.Value.(*word); ok { // checked later, with other words than on the command line
		*w.field = s
		return nil
	}
	err := o.Value.Set(s)
	switch {
	case err == nil:
		return nil
	case kind == typeList:
		return fmt.Errorf("unexpected error setting up %s: %w", o.Name, err)
	case kind == typeString: // feature gates say all that there is to say
		return err
	}
	return mistyped(o.Key, value, kind)
}

// Types of options in a file, as its errors name them.
const (
	typeBool     = "bool"
	typeString   = "string"
	typeDuration = "time.Duration"
	typeList     = "[]string"
)

// typeOf names the type of an option.
func typeOf(v flag.Value) string {
	switch v.(type) {
	case scalar[bool]:
		return typeBool
	case scalar[time.Duration]:
		return typeDuration
	case scalar[int]:
		return "int"
	case scalar[int64]:
		return "int64"
	case scalar[uint]:
		return "uint"
	case scalar[uint64]:
		return "uint64"
	case *URLs, *Words, originList:
		return typeList
	}
	return typeString
}

// textOf writes a value of a file as it would be written on the command line. A list may be an array, or a text with commas; a duration may be
// a number, of nanoseconds, or a text with a unit.
func textOf(value any, kind string) (string, bool) {
	switch v := value.(type) {
	case bool:
		return strconv.FormatBool(v), kind == typeBool
	case string:
		return v, kind == typeString || kind == typeDuration || kind == typeList
	case json.Number:
		if kind == typeDuration {
			return v.String() + "ns", true
		}
		return v.String(), kind != typeBool && kind != typeString && kind != typeList
	case []any:
		return joined(v), kind == typeList && allTexts(v)
	}
	return "", false
}

func allTexts(list []any) bool {
	return !slices.ContainsFunc(list, func(v any) bool {
		_, ok := v.(string)
		return !ok
	})
}

func joined(list []any) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, ",")
}

// mistyped says that a key holds something else than it should.
func mistyped(key string, value any, kind string) error {
	return fmt.Errorf("error unmarshaling JSON: while decoding JSON: json: cannot unmarshal %s into %s of type %s", kindOf(value), key, kind)
}

func kindOf(value any) string {
	switch v := value.(type) {
	case bool:
		return "bool"
	case string:
		return "string"
	case json.Number:
		return "number " + v.String()
	case []any:
		return "array"
	}
	return "object"
}

package model

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bytes are a key or a value. In JSON they are plain text where that is
// possible, and base64 with a mark before it otherwise.
type Bytes string

// binaryMark stands before bytes that JSON cannot hold as text.
const binaryMark = "base64:"

// MarshalText gives the bytes their form in JSON.
func (b Bytes) MarshalText() ([]byte, error) {
	s := string(b)
	if utf8.ValidString(s) && !strings.HasPrefix(s, binaryMark) {
		return []byte(s), nil
	}
	return []byte(binaryMark + base64.StdEncoding.EncodeToString([]byte(s))), nil
}

// UnmarshalText reads what MarshalText wrote.
func (b *Bytes) UnmarshalText(text []byte) error {
	coded, binary := strings.CutPrefix(string(text), binaryMark)
	if !binary {
		*b = Bytes(text)
		return nil
	}
	raw, err := base64.StdEncoding.DecodeString(coded)
	if err != nil {
		return fmt.Errorf("model: bytes marked as base64: %w", err)
	}
	*b = Bytes(raw)
	return nil
}

// The names of kinds, targets and relations in JSON and in messages, at the
// index of their value.
func kindNames() []string {
	return []string{"", "put", "delete", "range", "txn", "compact", "grant", "revoke", "expire"}
}

func targetNames() []string {
	return []string{"", "version", "create", "mod", "value", "lease"}
}

func relationNames() []string {
	return []string{"", "=", "!=", "<", ">"}
}

func nameOf(names []string, i int) string {
	if i <= 0 || i >= len(names) {
		return fmt.Sprintf("unknown(%d)", i)
	}
	return names[i]
}

func marshalName(what string, names []string, i int) ([]byte, error) {
	if i <= 0 || i >= len(names) {
		return nil, fmt.Errorf("model: %s %d has no name", what, i)
	}
	return []byte(names[i]), nil
}

func unmarshalName(what string, names []string, text []byte) (int, error) {
	i := slices.Index(names, string(text))
	if i <= 0 {
		return 0, fmt.Errorf("model: %q is no %s", text, what)
	}
	return i, nil
}

func (k Kind) String() string { return nameOf(kindNames(), int(k)) }

// MarshalText gives the kind its name.
func (k Kind) MarshalText() ([]byte, error) { return marshalName("kind", kindNames(), int(k)) }

// UnmarshalText reads a kind's name.
func (k *Kind) UnmarshalText(text []byte) error {
	i, err := unmarshalName("kind", kindNames(), text)
	*k = Kind(i)
	return err
}

func (t Target) String() string { return nameOf(targetNames(), int(t)) }

// MarshalText gives the target its name.
func (t Target) MarshalText() ([]byte, error) { return marshalName("target", targetNames(), int(t)) }

// UnmarshalText reads a target's name.
func (t *Target) UnmarshalText(text []byte) error {
	i, err := unmarshalName("target", targetNames(), text)
	*t = Target(i)
	return err
}

func (r Relation) String() string { return nameOf(relationNames(), int(r)) }

// MarshalText gives the relation its sign.
func (r Relation) MarshalText() ([]byte, error) {
	return marshalName("relation", relationNames(), int(r))
}

// UnmarshalText reads a relation's sign.
func (r *Relation) UnmarshalText(text []byte) error {
	i, err := unmarshalName("relation", relationNames(), text)
	*r = Relation(i)
	return err
}

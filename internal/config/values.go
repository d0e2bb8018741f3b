package config

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// URLs is a comma-separated list of listen or advertise addresses.
type URLs []url.URL

// String joins the list with commas.
func (u *URLs) String() string { return strings.Join(u.Strings(), ",") }

// Strings returns each address as text, in the order given.
func (u *URLs) Strings() []string {
	out := make([]string, len(*u))
	for i := range *u {
		out[i] = (*u)[i].String()
	}
	return out
}

// Set parses a comma-separated list; the list is kept sorted, as the derivation of member ids needs it. The empty text changes nothing.
func (u *URLs) Set(s string) error {
	if s == "" {
		return nil
	}
	var out URLs
	for part := range strings.SplitSeq(s, ",") {
		one, err := parseURL(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		out = append(out, *one)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].String() < out[j].String() })
	*u = out
	return nil
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "http", "https":
		if _, port, err := net.SplitHostPort(u.Host); err != nil || port == "" {
			return nil, fmt.Errorf(`URL address does not have the form "host:port": %s`, s)
		}
		if u.Path != "" {
			return nil, fmt.Errorf("URL must not contain a path: %s", s)
		}
	case "unix", "unixs":
		if u.Host+u.Path == "" {
			return nil, fmt.Errorf("URL does not name a socket file: %s", s)
		}
	default:
		return nil, fmt.Errorf("URL scheme must be http, https, unix, or unixs: %s", s)
	}
	return u, nil
}

// checkBindable refuses a host that is a name, for one binds to addresses.
func checkBindable(u *url.URL) error {
	host := u.Hostname()
	if u.Scheme == "unix" || u.Scheme == "unixs" || host == "" || host == "localhost" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return fmt.Errorf("expected IP in URL for binding (%s)", u)
	}
	return nil
}

func mustURLs(s string) URLs {
	var u URLs
	if err := u.Set(s); err != nil {
		panic(fmt.Sprintf("config: built-in default %q: %v", s, err))
	}
	return u
}

// Words is a comma-separated list.
type Words []string

// String joins the list with commas.
func (w *Words) String() string { return strings.Join(*w, ",") }

// Set splits s at its commas; the empty text is the empty list.
func (w *Words) Set(s string) error {
	*w = nil
	if s != "" {
		*w = strings.Split(s, ",")
	}
	return nil
}

// scalar is an option of one plain value.
type scalar[T any] struct {
	field *T
	parse func(string) (T, error)
}

func (v scalar[T]) String() string {
	if v.field == nil {
		return ""
	}
	return fmt.Sprint(*v.field)
}

func (v scalar[T]) Set(s string) error {
	parsed, err := v.parse(s)
	if err != nil {
		return plain(err)
	}
	*v.field = parsed
	return nil
}

// IsBoolFlag lets a boolean stand without a value, as the flag package asks.
func (v scalar[T]) IsBoolFlag() bool {
	_, ok := any(v.field).(*bool)
	return ok
}

// plain says what is wrong with a number in the words of the flag package, which names the value itself.
func plain(err error) error {
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return errors.New("parse error")
	case errors.Is(err, strconv.ErrRange):
		return errors.New("value out of range")
	}
	return err
}

func text(p *string) flag.Value {
	return scalar[string]{p, func(s string) (string, error) { return s, nil }}
}

func boolean(p *bool) flag.Value { return scalar[bool]{p, strconv.ParseBool} }

func integer(p *int) flag.Value {
	return scalar[int]{p, func(s string) (int, error) {
		n, err := strconv.ParseInt(s, 0, strconv.IntSize)
		return int(n), err
	}}
}

// span is a duration, which is never negative.
func span(p *time.Duration) flag.Value {
	return scalar[time.Duration]{p, func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		switch {
		case err != nil:
			return 0, errors.New("parse error")
		case d < 0:
			return 0, errors.New("must not be negative")
		}
		return d, nil
	}}
}

func signed64(p *int64) flag.Value {
	return scalar[int64]{p, func(s string) (int64, error) { return strconv.ParseInt(s, 0, 64) }}
}

func unsigned64(p *uint64) flag.Value {
	return scalar[uint64]{p, func(s string) (uint64, error) { return strconv.ParseUint(s, 0, 64) }}
}

// unsigned is a number of at most 32 bits.
func unsigned(p *uint) flag.Value {
	return scalar[uint]{p, func(s string) (uint, error) {
		n, err := strconv.ParseUint(s, 0, 32)
		return uint(n), err
	}}
}

// word is an option that takes one of a few words.
type word struct {
	field   *string
	allowed []string
}

func choice(p *string, allowed ...string) flag.Value { return &word{p, allowed} }

func (w *word) String() string {
	if w.field == nil {
		return ""
	}
	return *w.field
}

func (w *word) Set(s string) error {
	if !slices.Contains(w.allowed, s) {
		return fmt.Errorf("invalid value %q, want one of %s", s, strings.Join(w.allowed, ", "))
	}
	*w.field = s
	return nil
}

// anything is an option that means nothing any more: with or without a value, whatever that is.
func anything(p *string) flag.Value { return swallowed{text(p)} }

type swallowed struct{ flag.Value }

// IsBoolFlag lets the option stand without a value.
func (swallowed) IsBoolFlag() bool { return true }

// originList is a list of origins of web pages: scheme, host and perhaps port. "*" stands for all.
type originList struct{ *Words }

func origins(w *Words) flag.Value { return originList{w} }

// Set reads a comma-separated list; the empty text stands for all.
func (o originList) Set(s string) error {
	if s == "" {
		s = "*"
	}
	for origin := range strings.SplitSeq(s, ",") {
		if origin == "*" {
			continue
		}
		u, err := url.Parse(origin)
		switch {
		case err != nil:
			return err
		case u.Scheme != "http" && u.Scheme != "https":
			return fmt.Errorf("URL scheme must be http, https, unix, or unixs: %s", origin)
		case u.Host == "":
			return fmt.Errorf(`URL address does not have the form "host:port": %s`, origin)
		case u.Path != "":
			return fmt.Errorf("URL must not contain a path: %s", origin)
		}
	}
	return o.Words.Set(s)
}

//go:build faultpoints

package faultpoint

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// errUnknown is what asking for a point that does not exist gives.
var errUnknown = errors.New("no such fault point")

// board is what the points are set to.
type board struct {
	mu    sync.Mutex
	chain map[Name][]term // empty for one that is not set
	text  map[Name]string // as it was set
}

func newBoard() *board {
	b := &board{chain: map[Name][]term{}, text: map[Name]string{}}
	for _, name := range Names() {
		b.chain[name], b.text[name] = nil, ""
	}
	return b
}

// hit does what the first term of the point that applies says. ok tells that the step is to return early.
func (b *board) hit(name Name) (value string, ok bool) {
	t := b.next(name)
	if t == nil {
		return "", false
	}
	switch t.action {
	case actPanic:
		panic("faultpoint panic: " + string(name) + " " + t.value)
	case actSleep:
		time.Sleep(t.pause)
	case actReturn:
		return t.value, true
	}
	return "", false
}

// next is the term that applies now, nil if there is none.
func (b *board) next(name Name) *term {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.chain[name] {
		t := &b.chain[name][i]
		if t.left == 0 || t.percent < 100 && rand.Float64()*100 >= t.percent {
			continue
		}
		t.left--
		now := *t
		return &now
	}
	return nil
}

func (b *board) set(name Name, text string) error {
	chain, err := parse(text)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.chain[name]; !ok {
		return fmt.Errorf("%w: %s", errUnknown, name)
	}
	b.chain[name], b.text[name] = chain, text
	return nil
}

// setAll sets "name=terms;name=terms".
func (b *board) setAll(text string) error {
	for one := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(one) == "" {
			continue
		}
		name, terms, _ := strings.Cut(one, "=")
		if err := b.set(Name(strings.TrimSpace(name)), terms); err != nil {
			return fmt.Errorf("%s: %w", one, err)
		}
	}
	return nil
}

// list is all points with what they are set to, one a line.
func (b *board) list() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(b.text)) {
		fmt.Fprintf(&out, "%s=%s\n", name, b.text[name])
	}
	return out.String()
}

// get is what a point is set to.
func (b *board) get(name Name) (text string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	text, ok = b.text[name]
	return text, ok
}

// maxTerms bounds what a point may be set to, in bytes.
const maxTerms = 64 << 10

// ServeHTTP lets a test see and set the points.
func (b *board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := Name(strings.TrimPrefix(r.URL.Path, "/"))
	text, known := b.get(name)
	switch {
	case name == "" && r.Method == http.MethodGet:
		_, _ = io.WriteString(w, b.list())
	case !known:
		http.Error(w, errUnknown.Error(), http.StatusNotFound)
	case r.Method == http.MethodGet:
		_, _ = io.WriteString(w, text+"\n")
	case r.Method == http.MethodPut:
		b.put(w, r, name)
	case r.Method == http.MethodDelete:
		answer(w, b.set(name, ""))
	default:
		w.Header().Set("Allow", "GET, PUT, DELETE")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

func (b *board) put(w http.ResponseWriter, r *http.Request, name Name) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTerms))
	if err == nil {
		err = b.set(name, string(body))
	}
	answer(w, err)
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

//go:build faultpoints

package faultpoint

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTerms(t *testing.T) {
	for _, c := range []struct {
		text string
		hits string // what ten hits do: p(anic), r(eturn), s(leep), . nothing
	}{
		{``, `..........`},
		{`off`, `..........`},
		{`panic`, `pppppppppp`},
		{`return("x")`, `rrrrrrrrrr`},
		{`return(true)`, `rrrrrrrrrr`},
		{`sleep("10s")`, `ssssssssss`},
		{`sleep(100)`, `ssssssssss`},
		{`3*sleep(100)`, `sss.......`},
		{`2*off->1*panic`, `..p.......`},
		{`0%panic`, `..........`},
		{`100%1*return("")->sleep(5)`, `rsssssssss`},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBoard()
			if err := b.set(BeforeCommit, c.text); err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for range 10 {
				got.WriteByte(tenth(b))
			}
			if got.String() != c.hits {
				t.Errorf("%s: %s, expected %s", c.text, got.String(), c.hits)
			}
		})
	}
}

// tenth hits the point once and says what it did.
func tenth(b *board) (what byte) {
	defer func() {
		if recover() != nil {
			what = 'p'
		}
	}()
	start := time.Now()
	_, ok := b.hit(BeforeCommit)
	switch {
	case ok:
		return 'r'
	case time.Since(start) > 0:
		return 's'
	}
	return '.'
}

func TestBadTerms(t *testing.T) {
	b := newBoard()
	for _, text := range []string{`stop`, `sleep`, `sleep(-1)`, `sleep("x")`, `return("x"`, `x%panic`, `101%panic`, `-1*panic`, `->`, `NaN%panic`} {
		if err := b.set(BeforeCommit, text); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
	if err := b.setAll("beforeCommit=panic;nowhere=panic"); err == nil {
		t.Error("an unknown point was accepted")
	}
}

func TestHTTP(t *testing.T) {
	b := newBoard()
	if err := b.setAll(`raftBeforeSave=sleep(1); afterCommit=return("x")`); err != nil {
		t.Fatal(err)
	}
	call := func(method, path, body string) (int, string) {
		w := httptest.NewRecorder()
		b.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w.Code, w.Body.String()
	}
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodPut, "/beforeCommit", "panic", 204},
		{http.MethodPut, "/beforeCommit", "nonsense", 400},
		{http.MethodPut, "/nowhere", "panic", 404},
		{http.MethodGet, "/beforeCommit", "", 200},
		{http.MethodDelete, "/raftBeforeSave", "", 204},
		{http.MethodPost, "/beforeCommit", "", 405},
	} {
		if status, body := call(c.method, c.path, c.body); status != c.status {
			t.Errorf("%s %s %q: %d %q, expected %d", c.method, c.path, c.body, status, body, c.status)
		}
	}
	status, list := call(http.MethodGet, "/", "")
	if status != 200 || len(strings.Split(strings.TrimSpace(list), "\n")) != len(Names()) {
		t.Fatalf("GET /: %d\n%s", status, list)
	}
	for _, line := range []string{"beforeCommit=panic\n", "afterCommit=return(\"x\")\n", "raftBeforeSave=\n"} {
		if !strings.Contains(list, line) {
			t.Errorf("the list lacks %q:\n%s", line, list)
		}
	}
}

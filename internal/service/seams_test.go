package service_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/internal/service"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
	"github.com/quoin-kv/quoin/internal/watch"
)

// TestNothingGoesAroundTheClock: outside the clock itself the package starts no goroutine, waits for no channel and asks nobody else for the
// time. A simulation relies on that.
func TestNothingGoesAroundTheClock(t *testing.T) {
	files, err := filepath.Glob("*.go")
	check(t, err)
	fset := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || name == "seams.go" {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, 0)
		check(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if what := aroundTheClock(n); what != "" {
				t.Errorf("%s: %s", fset.Position(n.Pos()), what)
			}
			return true
		})
	}
}

// aroundTheClock says what is wrong with a node, empty if nothing is.
func aroundTheClock(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "go statement"
	case *ast.SelectStmt:
		for _, c := range n.Body.List {
			if c.(*ast.CommClause).Comm == nil {
				return "" // it has a default
			}
		}
		return "select that blocks"
	case *ast.UnaryExpr:
		if x, ok := n.X.(*ast.SelectorExpr); n.Op == token.ARROW && (!ok || x.Sel.Name != "bound") { // closed by Bind, before anything else
			return "receive"
		}
	case *ast.SelectorExpr:
		pkg, ok := n.X.(*ast.Ident)
		if !ok {
			return ""
		}
		switch call := pkg.Name + "." + n.Sel.Name; call {
		case "time.Now", "time.Since", "time.Until", "time.After", "time.AfterFunc", "time.NewTimer", "time.NewTicker", "time.Tick", "time.Sleep",
			"context.WithTimeout", "context.WithDeadline", "context.AfterFunc", "sync.WaitGroup", "sync.NewCond", "sync.Cond":
			return call
		}
	}
	return ""
}

func TestSystemClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock service.SystemClock
		begin := clock.Now()
		check(t, clock.Wait(t.Context(), nil, time.Second))
		if took := clock.Now().Sub(begin); took != time.Second {
			t.Errorf("waited %v for a second", took)
		}
		wake := make(chan struct{})
		clock.Go(func() { close(wake) })
		check(t, clock.Wait(t.Context(), wake, -1))
		check(t, clock.Wait(t.Context(), wake, time.Hour))
		ctx, cancel := clock.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := clock.Wait(ctx, nil, -1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waited until %v", err)
		}
		if took := clock.Now().Sub(begin); took != 2*time.Second {
			t.Errorf("all that took %v", took)
		}
	})
}

// TestProgressOfManyStreams: each stream has its own pace, whenever it was opened and whoever is closed meanwhile.
func TestProgressOfManyStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jitter := int64(0)
		m := start(t, func(o *servicetest.Options) {
			o.Service.ProgressInterval = 10 * time.Second
			o.Service.Random = func(int64) int64 { return jitter }
		})
		open := func() *service.WatchStream {
			w := m.Watch()
			check(t, w.Create(t.Context(), watch.CreateRequest{Key: []byte("k"), ProgressNotify: true}))
			next(t, w)
			return w
		}
		begin := time.Now()
		jitter = int64(900 * time.Millisecond)
		late := open()
		defer late.Close()
		jitter = 0
		gone := open()
		early := open()
		defer early.Close()
		after(5 * time.Second)
		second := open()
		defer second.Close()
		gone.Close()
		for _, want := range []struct {
			w  *service.WatchStream
			at time.Duration
		}{{early, 10 * time.Second}, {late, 10900 * time.Millisecond}, {second, 15 * time.Second}, {early, 20 * time.Second}, {late, 21800 * time.Millisecond}} {
			next(t, want.w)
			if at := time.Since(begin); at != want.at {
				t.Errorf("progress after %v, want %v", at, want.at)
			}
		}
	})
}

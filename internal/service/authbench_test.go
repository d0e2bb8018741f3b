package service_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

// BenchmarkAuth measures what it costs to know who calls: the commonest calls without authentication, with a simple token and with a signed
// one, as a user with a hundred permissions.
func BenchmarkAuth(b *testing.B) {
	for _, one := range []struct {
		name   string
		guard  bool
		change func(*servicetest.Options)
	}{{"off", false, func(*servicetest.Options) {}}, {"simple", true, func(*servicetest.Options) {}}, {"signed", true, signed(b)}} {
		m := start(b, one.change)
		ctx := b.Context()
		if one.guard {
			ctx = benchUser(b, m)
		}
		for name, call := range map[string]method{"put": m.Put, "get": m.Range} {
			raw := (&request.Range{Key: []byte("/050/k")}).Append(nil)
			if name == "put" {
				raw = (&request.Put{Key: []byte("/050/k"), Value: []byte("v")}).Append(nil)
			}
			b.Run(name+"/"+one.name, func(b *testing.B) { benchCalls(b, ctx, call, raw) })
		}
		m.Stop(b)
	}
}

func benchCalls(b *testing.B, ctx context.Context, call method, raw []byte) {
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := call(ctx, raw); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// benchUser turns authentication on and logs in who has a hundred permissions.
func benchUser(b *testing.B, m *servicetest.Member) context.Context {
	b.Helper()
	nobody := b.Context()
	auth(b, m, nobody, request.FieldAuthUserAdd, &request.AuthUserAdd{Name: "root", Password: everybodysPassword})
	auth(b, m, nobody, request.FieldAuthUserGrantRole, &request.AuthUserGrantRole{User: "root", Role: "root"})
	addUser(b, m, nobody, "ada", "/000/", "/0000")
	for i := range 100 {
		permit(b, m, nobody, "ada", fmt.Sprintf("/%03d/", i), fmt.Sprintf("/%03d0", i))
	}
	auth(b, m, nobody, request.FieldAuthEnable, &request.AuthEnable{})
	return as(b, logIn(b, m, "ada"))
}

// BenchmarkPresent measures that part alone: to find out who calls.
func BenchmarkPresent(b *testing.B) {
	for name, change := range map[string]func(*servicetest.Options){"simple": func(*servicetest.Options) {}, "signed": signed(b)} {
		m := start(b, change)
		ctx := benchUser(b, m)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := m.Present(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
		m.Stop(b)
	}
}

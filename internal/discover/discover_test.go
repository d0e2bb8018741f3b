package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
)

// records answers for a domain.
type records map[string][]*net.SRV

func (r records) LookupSRV(_ context.Context, service, _, name string) (string, []*net.SRV, error) {
	if list := r[service+" "+name]; list != nil {
		return "", list, nil
	}
	return "", nil, errors.New("no such host")
}

func TestFind(t *testing.T) {
	dns := records{
		"etcd-client-ssl d": {{Target: "s.", Port: 1, Priority: 2}}, "etcd-client d": {{Target: "p.", Port: 2}},
		"etcd-client-x d": {{Target: "x", Port: 3}},
	}
	for _, tc := range []struct {
		c    Clients
		want string
	}{
		{Clients{Domain: "d"}, "[{s:1 2 true}] <nil>"},
		{Clients{Domain: "d", Insecure: true}, "[{s:1 2 true} {p:2 0 false}] <nil>"},
		{Clients{Domain: "d", Name: "x", Insecure: true}, "[{x:3 0 false}] <nil>"},
		{Clients{Domain: "d", Name: "x"}, "[] no endpoint of d was found by SRV records\nno such host"},
		{Clients{Domain: "e", Insecure: true}, "[] dns lookup errors: no such host and no such host"},
	} {
		tc.c.Resolver = dns
		list, err := tc.c.Find(t.Context())
		if got := fmt.Sprint(list, " ", err); got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.c, got, tc.want)
		}
	}
}

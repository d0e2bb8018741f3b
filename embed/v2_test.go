package embed

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"testing"

	v3 "github.com/quoin-kv/quoin/internal/api/v3"
	"github.com/quoin-kv/quoin/internal/service"
)

// TestCallAs: a request of the v2 API shows its token, or else its certificate.
func TestCallAs(t *testing.T) {
	certificate := &x509.Certificate{Subject: pkix.Name{CommonName: "alice"}}
	secure := &http.Request{TLS: &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{certificate}}}}
	for _, c := range []struct {
		request *http.Request
		token   string
		want    service.Credentials
	}{
		{&http.Request{}, "", service.Credentials{}},
		{&http.Request{}, "secret", service.Credentials{Token: "secret"}},
		{secure, "", service.Credentials{CommonName: "alice"}},
		{secure, "secret", service.Credentials{Token: "secret"}},
	} {
		if got := v3.Credentials(callAs(t.Context(), c.request, c.token)); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

package behaviour

import (
	"encoding/json"
	"net/http"

	"go.etcd.io/etcd/api/v3/authpb"
)

// authHTTPCases are about users who come through the gateway.
func authHTTPCases() []testCase {
	return []testCase{
		{name: "a login and where its token may stand", run: guarded(authThroughGateway)},
		{name: "nobody and a bad token", run: guarded(func(w *world) {
			body := w.json(`{'key':'$a'}`)
			w.equal("nobody", w.call(http.MethodPost, "/v3/kv/range", body).status, http.StatusBadRequest)
			w.equal("bad token", w.call(http.MethodPost, "/v3/kv/range", body, "Authorization", "bad").status, http.StatusUnauthorized)
			w.equal("bad login", w.post("/v3/auth/authenticate", `{'name':'root','password':'wrong'}`).status, http.StatusBadRequest)
			w.equal("health", w.call(http.MethodGet, "/health", "").status, http.StatusOK)
			w.equal("metrics", w.call(http.MethodGet, "/metrics", "").status, http.StatusOK)
			w.equal("version", w.call(http.MethodGet, "/version", "").status, http.StatusOK)
		})},
		{name: "the rights of the user count", run: guarded(func(w *world) {
			w.addRole("ada", permission{authpb.READ, "a", ""})
			w.addUser("ada", "ada")
			token := w.tokenOf("ada")
			ask := func(path, body string) int {
				return w.call(http.MethodPost, path, w.json(body), "Authorization", token).status
			}
			w.equal("own key", ask("/v3/kv/range", `{'key':'$a'}`), http.StatusOK)
			w.equal("another key", ask("/v3/kv/range", `{'key':'$b'}`), http.StatusForbidden)
			w.equal("write", ask("/v3/kv/put", `{'key':'$a'}`), http.StatusForbidden)
			w.equal("list of users", ask("/v3/auth/user/list", `{}`), http.StatusForbidden)
			w.equal("snapshot", ask("/v3/maintenance/snapshot", `{}`), http.StatusForbidden)
		})},
	}
}

// tokenOf logs a user in through the gateway.
func (w *world) tokenOf(name string) string {
	w.Helper()
	a := w.post("/v3/auth/authenticate", `{'name':'`+name+`','password':'`+password+`'}`)
	w.equal("status of a login", a.status, http.StatusOK)
	var reply struct{ Token string }
	w.ok(json.Unmarshal([]byte(a.body), &reply))
	return reply.Token
}

func authThroughGateway(w *world) {
	token := w.tokenOf("root")
	body := w.json(`{'key':'$a'}`)
	for _, one := range []struct {
		header, value string
		status        int
	}{
		{"Authorization", token, http.StatusOK},
		{"Authorization", "Bearer " + token, http.StatusOK},
		{"Grpc-Metadata-Token", token, http.StatusOK},
		{"Grpc-Metadata-Authorization", token, http.StatusOK},
		{"Token", token, http.StatusBadRequest},
		{"Authorization", "Basic " + token, http.StatusUnauthorized},
	} {
		w.equal(one.header+" "+one.value[:6], w.call(http.MethodPost, "/v3/kv/range", body, one.header, one.value).status, one.status)
	}
}

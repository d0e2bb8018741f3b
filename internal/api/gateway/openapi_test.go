package gateway_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// description is what the tests look at of the OpenAPI description.
type description struct {
	OpenAPI string
	Paths   map[string]struct {
		Post struct {
			OperationID string
			RequestBody struct {
				Content map[string]struct{ Schema map[string]any }
			}
		}
	}
	Components struct {
		Schemas map[string]struct {
			Type       string
			Properties map[string]any
		}
	}
}

// TestDescription: the description is served, every path in it is a route, every route is in it, and references lead somewhere.
func TestDescription(t *testing.T) {
	base := member(t)
	status, header, body := call(t, "GET", base+"/v3/openapi.json", "")
	if status != http.StatusOK || header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s", status, header)
	}
	var d description
	if err := json.Unmarshal([]byte(body), &d); err != nil || !strings.HasPrefix(d.OpenAPI, "3.0.") {
		t.Fatalf("%s: %v", d.OpenAPI, err)
	}
	seen := map[string]bool{}
	for path, item := range d.Paths {
		if status, _, body := call(t, "GET", base+path, ""); status != http.StatusNotImplemented {
			t.Errorf("%s is no route: %d %s", path, status, body)
		}
		if seen[item.Post.OperationID] {
			t.Errorf("two operations are called %s", item.Post.OperationID)
		}
		seen[item.Post.OperationID] = true
	}
	// All routes that there are, as operators know them.
	routes := strings.Fields(`kv/range kv/put kv/deleterange kv/txn kv/compaction watch lease/grant lease/revoke kv/lease/revoke lease/keepalive
		lease/timetolive kv/lease/timetolive lease/leases kv/lease/leases cluster/member/add cluster/member/remove cluster/member/update
		cluster/member/list cluster/member/promote maintenance/alarm maintenance/status maintenance/defragment maintenance/hash maintenance/hashkv
		maintenance/snapshot maintenance/transfer-leadership maintenance/downgrade auth/enable auth/disable auth/status auth/authenticate
		auth/user/add auth/user/get auth/user/list auth/user/delete auth/user/changepw auth/user/grant auth/user/revoke auth/role/add auth/role/get
		auth/role/list auth/role/delete auth/role/grant auth/role/revoke lock/lock lock/unlock election/campaign election/proclaim election/leader
		election/observe election/resign`)
	for path := range d.Paths {
		if !slices.Contains(routes, strings.TrimPrefix(path, "/v3/")) {
			t.Errorf("%s is not known", path)
		}
	}
	if len(d.Paths) != len(routes) {
		t.Errorf("%d paths, want %d", len(d.Paths), len(routes))
	}
	for ref := range strings.SplitSeq(body, `"$ref":"#/components/schemas/`) {
		name, _, _ := strings.Cut(ref, `"`)
		if _, ok := d.Components.Schemas[name]; !ok && name != "{" {
			t.Errorf("no schema %q", name)
		}
	}
}

// TestDescribedAnswers: what is answered has no field that the description does not know.
func TestDescribedAnswers(t *testing.T) {
	base := member(t)
	var d description
	_, _, body := call(t, "GET", base+"/v3/openapi.json", "")
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ path, body, schema string }{
		{"kv/put", `{"key":"YQ=="}`, "etcdserverpb.PutResponse"},
		{"kv/range", `{"key":"YQ=="}`, "etcdserverpb.RangeResponse"},
		{"maintenance/status", `{}`, "etcdserverpb.StatusResponse"},
		{"cluster/member/list", `{}`, "etcdserverpb.MemberListResponse"},
		{"lock/lock", `{"name":"YQ=="}`, "v3lockpb.LockResponse"},
		{"election/campaign", `{"name":"Yg=="}`, "v3electionpb.CampaignResponse"},
		{"kv/nothing", `{}`, "Error"},
	} {
		_, _, body := call(t, "POST", base+"/v3/"+tc.path, tc.body)
		var answer map[string]any
		if err := json.Unmarshal([]byte(body), &answer); err != nil || len(answer) == 0 {
			t.Errorf("%s: %s %v", tc.path, body, err)
		}
		for name := range answer {
			if _, ok := d.Components.Schemas[tc.schema].Properties[name]; !ok {
				t.Errorf("%s has no field %s", tc.schema, name)
			}
		}
	}
}

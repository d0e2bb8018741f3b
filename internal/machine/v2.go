package machine

import (
	"encoding/json"
	"strings"

	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// Where etcd 3.5 and before kept what members say of themselves and the version of the cluster, in the key space of the old API.
const (
	v2Members    = "/0/members/"
	v2Attributes = "/attributes"
	v2Version    = "/0/version"
)

// LastV2 is the index of the last entry with a request of the old API, 0 if there is none.
func LastV2(entries []wire.Entry) (index uint64) {
	for i := range entries {
		if _, old := request.ParseV2(entries[i].Data); old && entries[i].Type == wire.EntryNormal {
			index = entries[i].Index
		}
	}
	return index
}

// applyV2 applies a request of the old API that a member of etcd 3.5 logged. What it says of members and of the version of the cluster counts; keys of
// users are not part of the state.
func (m *Machine) applyV2(cmd Command, r *request.V2) Outcome {
	a := &apply{Machine: m, index: cmd.Index, term: cmd.Term}
	a.out.ID, a.out.Kind, a.out.Events = r.ID, "V2", cmd.Events
	if r.Method != "PUT" {
		return a.out
	}
	if r.Path == v2Version {
		a.setClusterVersion(r.Value)
		return a.out
	}
	name, isMember := strings.CutPrefix(r.Path, v2Members)
	name, isAttributes := strings.CutSuffix(name, v2Attributes)
	if !isMember || !isAttributes {
		return a.out
	}
	var attrs struct {
		Name       string   `json:"name"`
		ClientURLs []string `json:"clientURLs"`
	}
	id, err := schema.ParseMemberKey([]byte(name))
	if err == nil {
		err = json.Unmarshal([]byte(r.Value), &attrs)
	}
	if err == nil {
		a.setAttributes(&request.MemberAttrSet{MemberID: id, Attributes: &request.MemberAttributes{Name: attrs.Name, ClientURLs: attrs.ClientURLs}})
	}
	return a.out
}

package membership

import (
	"encoding/json"
	"fmt"

	"github.com/quoin-kv/quoin/internal/schema"
)

// treeNode is a directory or file of the key tree that etcd's members kept the membership in before the storage file had it.
type treeNode struct {
	Path          string
	CreatedIndex  uint64
	ModifiedIndex uint64
	ExpireTime    string
	Value         string
	Children      map[string]*treeNode // nil for a file
}

const noExpiry = "0001-01-01T00:00:00Z"

func directory(path string, children map[string]*treeNode) *treeNode {
	return &treeNode{Path: path, ExpireTime: noExpiry, Children: children}
}

func file(path, value string) *treeNode {
	return &treeNode{Path: path, ExpireTime: noExpiry, Value: value}
}

// eventHistory is the empty past of such a tree. Its places are written out, since a reader takes them as they are.
type eventHistory struct {
	Queue struct {
		Events                      []*struct{}
		Size, Front, Back, Capacity int
	}
	StartIndex, LastIndex uint64
}

// historyPlaces is how many events etcd's tree remembers.
const historyPlaces = 1000

// StoreJSON returns the membership as the JSON text that etcd's members expect as the data of a snapshot message and in .snap files: a key
// tree with the members' attributes, the removed members and the cluster version.
func (c *Cluster) StoreJSON() []byte {
	members := map[string]*treeNode{}
	for _, m := range c.Members() {
		members[FormatID(m.ID)] = memberNode(&m)
	}
	top := map[string]*treeNode{"members": directory("/0/members", members)}
	if ids := c.Removed(); len(ids) > 0 {
		removed := map[string]*treeNode{}
		for _, id := range ids {
			removed[FormatID(id)] = file("/0/removed_members/"+FormatID(id), "removed")
		}
		top["removed_members"] = directory("/0/removed_members", removed)
	}
	if v := c.Version(); v != "" {
		top["version"] = file("/0/version", v)
	}
	history := eventHistory{}
	history.Queue.Events, history.Queue.Capacity = make([]*struct{}, historyPlaces), historyPlaces
	return mustJSON(map[string]any{
		"Root":         directory("/", map[string]*treeNode{"0": directory("/0", top), "1": directory("/1", map[string]*treeNode{})}),
		"WatcherHub":   map[string]any{"EventHistory": history},
		"CurrentIndex": 0, "CurrentVersion": 2, "Stats": map[string]int{},
	})
}

func memberNode(m *schema.Member) *treeNode {
	path := "/0/members/" + FormatID(m.ID)
	children := map[string]*treeNode{
		"raftAttributes": file(path+"/raftAttributes", string(mustJSON(struct {
			PeerURLs  []string `json:"peerURLs"`
			IsLearner bool     `json:"isLearner,omitempty"`
		}{m.PeerURLs, m.IsLearner}))),
	}
	if m.Name != "" || len(m.ClientURLs) > 0 {
		children["attributes"] = file(path+"/attributes", string(mustJSON(struct {
			Name       string   `json:"name,omitempty"`
			ClientURLs []string `json:"clientURLs,omitempty"`
		}{m.Name, m.ClientURLs})))
	}
	return directory(path, children)
}

// mustJSON encodes what can always be encoded.
func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("membership: %T cannot be encoded: %v", v, err))
	}
	return text
}

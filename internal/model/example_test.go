package model_test

import (
	"fmt"
	"time"

	"github.com/quoin-kv/quoin/internal/model"
)

// A client reads an old value after another's write had been acknowledged.
func ExampleHistory_Check() {
	h := model.History{Ops: []model.Op{
		{
			Client: 1, Request: model.Request{Kind: model.Put, Key: "k", Value: "old"},
			Response: model.Response{Revision: 2}, Call: 10, Return: 20,
		},
		{
			Client: 1, Request: model.Request{Kind: model.Put, Key: "k", Value: "new"},
			Response: model.Response{Revision: 3}, Call: 30, Return: 40,
		},
		{
			Client: 2, Request: model.Request{Kind: model.Range, Key: "k"},
			Response: model.Response{Revision: 2, Count: 1, KVs: []model.KV{{Key: "k", Value: "old", Create: 2, Mod: 2, Version: 1}}},
			Call:     50, Return: 60,
		},
	}}
	fmt.Println(h.Check(time.Second))
	// Output:
	// model: linearizable: client 1 put "k"="new" -> revision 3, [30, 40]
	// returned before the call of
	// client 2 range "k" -> revision 2, 1 keys: "k"="old" (create 2, mod 2, version 1), [50, 60]
	// which is behind it
}

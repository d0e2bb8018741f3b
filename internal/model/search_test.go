package model

import (
	"testing"
	"time"
)

// TestRevocationLeftForLater: a revocation whose key a watcher saw go is not mistaken for the end of the lease by itself while something that
// returned before its call is still to be placed. From there on nothing would fit, and with leases that were perhaps granted there would be very
// many ways to find that out.
func TestRevocationLeftForLater(t *testing.T) {
	h := &History{Ops: []Op{
		{Request: Request{Kind: Grant, Lease: 1}, Response: Response{Revision: 1}, Call: 1, Return: 2},
		{Request: Request{Kind: Put, Key: "l", Lease: 1}, Response: Response{Revision: 2}, Call: 3, Return: 4},
		{Request: Request{Kind: Put, Key: "k"}, Response: Response{Revision: 3}, Call: 5, Return: 6},
		{Request: Request{Kind: Compact, AtRevision: 3}, Call: 7, Unknown: true},
		{Request: Request{Kind: Range, Key: "l", AtRevision: 2}, Response: Response{Failure: FailureCompacted}, Call: 8, Return: 10},
		{Request: Request{Kind: Revoke, Lease: 1}, Response: Response{Revision: 4}, Call: 11, Return: 12},
		{Request: Request{Kind: Put, Key: "k"}, Response: Response{Revision: 5}, Call: 13, Return: 14},
	}}
	for lease := range int64(40) {
		h.Ops = append(h.Ops, Op{Request: Request{Kind: Grant, Lease: 100 + lease}, Call: 1, Unknown: true})
	}
	h.Watches = []WatchLog{{Key: "l", Start: 3, Until: 4, Responses: []WatchResponse{
		{Time: 20, Revision: 4, Events: []Event{{Delete: true, KV: KV{Key: "l", Mod: 4}}}},
	}}}
	if err := h.Check(5 * time.Second); err != nil {
		t.Fatal(err)
	}
}

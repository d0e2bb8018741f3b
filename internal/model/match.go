package model

import (
	"fmt"
	"slices"
)

// mismatch says in what an answer differs from the specification's, or nothing.
func mismatch(r Request, want, got Response) string {
	if want.Failure != got.Failure {
		return fmt.Sprintf("%s instead of %s", describeFailure(got.Failure), describeFailure(want.Failure))
	}
	if want.Failure != FailureNone {
		return ""
	}
	switch r.Kind {
	case Grant, Revoke, Expire, Compact:
		// The header is filled in after the fact.
		if got.Revision != 0 && got.Revision < want.Revision {
			return fmt.Sprintf("revision %d, below %d", got.Revision, want.Revision)
		}
		return ""
	}
	return mismatchKV(r, want, got)
}

func mismatchKV(r Request, want, got Response) string {
	switch {
	case want.Revision != got.Revision:
		return fmt.Sprintf("revision %d instead of %d", got.Revision, want.Revision)
	case want.Succeeded != got.Succeeded:
		return fmt.Sprintf("succeeded %v instead of %v", got.Succeeded, want.Succeeded)
	case want.Count != got.Count:
		return fmt.Sprintf("count %d instead of %d", got.Count, want.Count)
	case want.More != got.More:
		return fmt.Sprintf("more %v instead of %v", got.More, want.More)
	case !slices.Equal(want.KVs, got.KVs):
		return mismatchKVs(want.KVs, got.KVs)
	case len(want.Responses) != len(got.Responses):
		return fmt.Sprintf("%d inner answers instead of %d", len(got.Responses), len(want.Responses))
	}
	return mismatchInner(r, want, got)
}

func mismatchInner(r Request, want, got Response) string {
	branch := r.Else
	if want.Succeeded {
		branch = r.Then
	}
	for i := range want.Responses {
		if m := mismatch(branch[i], want.Responses[i], got.Responses[i]); m != "" {
			return fmt.Sprintf("inner operation %d: %s", i, m)
		}
	}
	return ""
}

func mismatchKVs(want, got []KV) string {
	for i := range want {
		if i >= len(got) {
			return fmt.Sprintf("%d keys instead of %d, the first missing is %s", len(got), len(want), describeKV(want[i]))
		}
		if want[i] != got[i] {
			return fmt.Sprintf("%s instead of %s", describeKV(got[i]), describeKV(want[i]))
		}
	}
	return fmt.Sprintf("%d keys instead of %d, the first too many is %s", len(got), len(want), describeKV(got[len(want)]))
}

// changes says whether an answer tells of at least one write.
func changes(r Request, got Response) bool {
	if got.Failure != FailureNone {
		return false
	}
	switch r.Kind {
	case Put:
		return true
	case Delete:
		return got.Count > 0
	case Txn:
		branch := r.Else
		if got.Succeeded {
			branch = r.Then
		}
		for i := range min(len(branch), len(got.Responses)) {
			if changes(branch[i], got.Responses[i]) {
				return true
			}
		}
	}
	return false
}

// mayChange says whether a request can have an effect at all.
func mayChange(r Request) bool {
	switch r.Kind {
	case Range:
		return false
	case Txn:
		return slices.ContainsFunc(r.Then, mayChange) || slices.ContainsFunc(r.Else, mayChange)
	}
	return true
}

// isSerializable says whether a request is answered by the member alone: a
// serializable range, or a transaction of nothing else.
func isSerializable(r Request) bool {
	if r.Kind == Range {
		return r.Serializable
	}
	if r.Kind != Txn {
		return false
	}
	alone := func(step Request) bool { return step.Kind != Range || !step.Serializable }
	return !slices.ContainsFunc(r.Then, alone) && !slices.ContainsFunc(r.Else, alone)
}

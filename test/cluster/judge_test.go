package cluster

import (
	"slices"
	"testing"

	"github.com/quoin-kv/quoin/internal/model"
)

// TestLossIsNoticed records a real history, which is right, and then takes away
// or changes one thing at a time: what the judge does not notice there it would
// not notice in the other tests.
func TestLossIsNoticed(t *testing.T) {
	c := newCluster(t, networkLoopback, 1, false)
	w := newWorkload(t, c)
	w.through(c.members[0])
	w.warm(t, c)
	goesOn(t, c, w, nil)
	w.finish(t, c)
	h := w.recorder.mu.history
	put := slices.IndexFunc(h.Ops, func(op model.Op) bool { return acknowledgedPut(&op) && op.Lease == 0 })
	read := slices.IndexFunc(h.Ops, func(op model.Op) bool {
		return op.Kind == model.Range && !op.Serializable && !op.CountOnly && len(op.KVs) > 0
	})
	if put < 0 || read < 0 || len(h.Watches) != 1 || len(h.Watches[0].Responses) < 3 {
		t.Fatalf("too little was recorded: put %d, read %d, %d watchers", put, read, len(h.Watches))
	}
	damages := map[string]func(h *model.History){
		"an acknowledged write lost": func(h *model.History) { h.Ops = slices.Delete(slices.Clone(h.Ops), put, put+1) },
		"a value read that nobody wrote": func(h *model.History) {
			h.Ops = slices.Clone(h.Ops)
			h.Ops[read].KVs = slices.Clone(h.Ops[read].KVs)
			h.Ops[read].KVs[0].Value = "nobody's"
		},
		"an event lost": func(h *model.History) {
			log := h.Watches[0]
			first := slices.IndexFunc(log.Responses, func(r model.WatchResponse) bool { return len(r.Events) > 0 })
			log.Responses = slices.Delete(slices.Clone(log.Responses), first, first+1)
			h.Watches = []model.WatchLog{log}
		},
	}
	for name, damage := range damages {
		damaged := h
		damage(&damaged)
		if err := damaged.Check(patience); err == nil {
			t.Errorf("not noticed: %s", name)
		}
	}
}

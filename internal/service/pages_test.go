package service

import (
	"testing"

	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/schema"
)

// nowhere is storage that keeps nothing: the index alone is looked at.
type nowhere struct{}

func (nowhere) Append(schema.Rev, bool, []byte)   {}
func (nowhere) DeleteRecord(schema.Rev, bool)     {}
func (nowhere) Put(schema.Bucket, []byte, []byte) {}
func (nowhere) Delete(schema.Bucket, []byte)      {}
func (nowhere) Record(schema.Rev) ([]byte, error) { return nil, nil }

func (nowhere) Records(out [][]byte, _ []schema.Rev) ([][]byte, error) { return out, nil }

func (nowhere) Sizes(out []int, _ []schema.Rev) ([]int, error)                    { return out, nil }
func (nowhere) Scan(_, _ schema.Rev, _ func(schema.Rev, bool, []byte) bool) error { return nil }
func (nowhere) Retain()                                                           {}
func (nowhere) Release()                                                          {}

// history is views of a store at the revisions 2, 3, ....
func views(t *testing.T, n int) map[int64]*mvcc.View {
	t.Helper()
	store, err := mvcc.Restore(nowhere{}, nowhere{}, mvcc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[int64]*mvcc.View{}
	for range n {
		tx := store.Begin()
		tx.Put([]byte("k"), nil, 0)
		tx.End()
		out[store.Rev()] = store.View(nowhere{})
	}
	return out
}

func TestPages(t *testing.T) {
	at := views(t, pagesMax+10)
	newest := at[int64(len(at))+1]
	var p pages
	p.init()
	known := func(revision int64) bool {
		return p.query(mvcc.Query{Revision: revision}, newest).Root != nil
	}
	p.remember(mvcc.Query{}, at[2], false)
	p.remember(mvcc.Query{Revision: 2}, at[3], true)
	if known(2) || known(3) {
		t.Error("remembers what was complete, or was not read at the latest revision")
	}
	p.remember(mvcc.Query{}, at[2], true)
	p.remember(mvcc.Query{Revision: 3}, at[3], true)
	p.remember(mvcc.Query{Revision: -1}, newest, true)
	if !known(2) || !known(3) || known(4) {
		t.Error("does not remember what has more to come")
	}
	if known(newest.Rev()) || known(0) {
		t.Error("gives a root for the latest revision, which needs none")
	}
	p.forget(newest.Rev(), 3)
	if known(2) || !known(3) {
		t.Error("keeps what is below the compacted revision, or not what is at it")
	}
	for rev := int64(4); rev < newest.Rev(); rev++ {
		p.remember(mvcc.Query{}, at[rev], true)
		if rev > 3 && !known(3) && rev < pagesMax {
			t.Fatalf("forgot what is in use when %d came", rev)
		}
	}
	if known(4) || !known(newest.Rev()-1) {
		t.Errorf("does not forget what is not used for longest, at most %d", pagesMax)
	}
	p.forget(newest.Rev()-1+pagesBehindMax, -1)
	if known(newest.Rev()-2) || !known(newest.Rev()-1) {
		t.Errorf("keeps what is more than %d revisions behind", pagesBehindMax)
	}
}

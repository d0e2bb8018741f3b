package mvcc

import "github.com/quoin-kv/quoin/internal/schema"

// OneByOne makes the methods of a Reader that read many records of its Record,
// for readers that have no quicker way. Errors are those of the function.
type OneByOne func(rev schema.Rev) ([]byte, error)

// Records appends the records of puts to out, in the order of revs.
func (record OneByOne) Records(out [][]byte, revs []schema.Rev) ([][]byte, error) {
	for _, rev := range revs {
		r, err := record(rev)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Sizes appends the lengths in bytes of the records of puts to out, in the
// order of revs.
func (record OneByOne) Sizes(out []int, revs []schema.Rev) ([]int, error) {
	for _, rev := range revs {
		r, err := record(rev)
		if err != nil {
			return nil, err
		}
		out = append(out, len(r))
	}
	return out, nil
}

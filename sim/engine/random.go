package engine

import "math/rand/v2"

// Random returns the numbers that a seed holds for one concern, and for one of several who have that concern. Concerns are independent: using
// more of one changes nothing in the others.
func Random(seed uint64, concern string, which int) *rand.Rand {
	h := uint64(fnvOffset)
	for i := range len(concern) {
		h = (h ^ uint64(concern[i])) * fnvPrime
	}
	return rand.New(rand.NewPCG(seed, h^uint64(which)*0x9e3779b97f4a7c15))
}

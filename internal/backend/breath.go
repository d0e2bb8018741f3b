package backend

import "time"

// Work for which nobody waits is done in slices of breathAfter records, each well below a millisecond.
const (
	breathAfter = 128
	breathTime  = 20 * time.Microsecond
)

// breathe lets others go first before the i-th of many records, at the end of a slice. They are those who can run, and where there is one
// processor only, also those whose requests are still in the kernel: nobody looks there while anyone can run, so giving up the turn is not
// enough.
func breathe(i int) {
	if i > 0 && i%breathAfter == 0 {
		time.Sleep(breathTime)
	}
}

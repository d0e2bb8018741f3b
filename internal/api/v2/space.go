package v2

import (
	"path"
	"strconv"
	"strings"
	"time"
)

// space maps paths to keys. Prefix ends with a slash.
type space struct{ prefix string }

// file is the key of a path as a file.
func (s space) file(p string) string { return s.prefix + p[1:] }

// dir is the key of a path's marker, with which everything inside begins.
func (s space) dir(p string) string {
	if p == "/" {
		return s.prefix
	}
	return s.file(p) + "/"
}

// end is the first key behind all that begin with a marker's.
func end(dir string) string { return dir[:len(dir)-1] + string(rune(dir[len(dir)-1]+1)) }

// note is the key that deletions of what has a lease write; no path has it.
func (s space) note() string { return s.prefix + "/deleted" }

// path is the path of a key, and whether it is a marker's; not ok if it is no clean path's.
func (s space) path(key string) (p string, dir, ok bool) {
	rest, ok := strings.CutPrefix(key, s.prefix)
	if !ok || rest == "" {
		return "", false, false
	}
	rest, dir = strings.CutSuffix(rest, "/")
	p = "/" + rest
	return p, dir, path.Clean(p) == p && p != "/"
}

// elements are the paths from the first element down to p itself; none for the root.
func elements(p string) (list []string) {
	for i := 1; i < len(p); i++ {
		if p[i] == '/' {
			list = append(list, p[:i])
		}
	}
	if p != "/" {
		list = append(list, p)
	}
	return list
}

// below reports whether p lies strictly inside the directory top.
func below(p, top string) bool {
	return p != top && (top == "/" || strings.HasPrefix(p, top+"/"))
}

// hiddenBelow reports whether an element of p below the directory top, or top itself, begins with an underscore.
func hiddenBelow(p, top string) bool {
	return strings.Contains(strings.TrimPrefix(p, strings.TrimSuffix(top, "/")), "/_")
}

// marker is the value of a directory's key.
type marker string

const (
	implied   marker = ""            // made for what was written inside
	asked     marker = "dir"         // made because somebody asked for it
	timed     marker = "dir ttl"     // the same, with a time to live of its own: its lease is not that of a directory above
	refreshed marker = "dir refresh" // the same, and the last thing that happened was a refresh
)

// ownsLease reports whether the marker's lease is the directory's own.
func (m marker) ownsLease() bool { return m == timed || m == refreshed }

// leaseID is the id of a lease made here, 0 for none. From the highest bit down: a zero, 15 bits that tell such a lease from any other, whether
// it is a directory's, whether a refresh made it, 33 bits of the second at which it ends, 13 random bits.
type leaseID int64

const (
	leaseTag     = 0x5632 // of 15 bits
	tagShift     = 48
	dirBit       = 1 << 47
	refreshBit   = 1 << 46
	secondShift  = 13
	secondBits   = 33
	randomLeases = 1 << secondShift
)

// newLeaseID makes an id; random has 13 bits.
func newLeaseID(ends time.Time, dir, refresh bool, random int64) leaseID {
	id := int64(leaseTag)<<tagShift | (ends.Unix()&(1<<secondBits-1))<<secondShift | random&(randomLeases-1)
	if dir {
		id |= dirBit
	}
	if refresh {
		id |= refreshBit
	}
	return leaseID(id)
}

// ours reports whether the lease was made here.
func (l leaseID) ours() bool { return l>>tagShift == leaseTag }

func (l leaseID) ofDir() bool   { return l.ours() && l&dirBit != 0 }
func (l leaseID) refresh() bool { return l.ours() && l&refreshBit != 0 }

// ends is when a lease that was made here is over.
func (l leaseID) ends() time.Time { return time.Unix(int64(l)>>secondShift&(1<<secondBits-1), 0).UTC() }

// inOrder is the name of a child that a POST makes.
func inOrder(index int64) string {
	digits := strconv.FormatInt(index, 10)
	return strings.Repeat("0", max(0, 20-len(digits))) + digits
}

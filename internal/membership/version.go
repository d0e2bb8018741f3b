package membership

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is a version as far as members compare it.
type Version struct{ Major, Minor int }

// ParseVersion reads "3.7" or "3.7.0"; what follows the minor number does not
// count. The error wraps [ErrMalformed].
func ParseVersion(text string) (Version, error) {
	major, rest, ok := strings.Cut(text, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, err1 := strconv.ParseUint(major, 10, 31)
	b, err2 := strconv.ParseUint(minor, 10, 31)
	if !ok || err1 != nil || err2 != nil {
		return Version{}, fmt.Errorf("membership: version %q: %w", text, ErrMalformed)
	}
	return Version{int(a), int(b)}, nil
}

// String returns the form in which a cluster version is decided: "3.7.0".
func (v Version) String() string { return fmt.Sprintf("%d.%d.0", v.Major, v.Minor) }

// Less reports whether v is below o.
func (v Version) Less(o Version) bool {
	return v.Major < o.Major || v.Major == o.Major && v.Minor < o.Minor
}

// Below is the version one minor number below v.
func (v Version) Below() Version { return Version{v.Major, v.Minor - 1} }

// oldest is the version that a cluster begins with if a member's is unknown.
func oldest() Version { return Version{3, 0} }

// NextVersion returns the cluster version that the leader should propose, given
// the versions of all members, nil for one that does not answer. It reports
// false if the version is to stay. An undecided version becomes the members'
// minimum, a decided one follows the minimum up, and down only to the target
// of a downgrade, one minor number at a time.
func (c *Cluster) NextVersion(members []*Version) (Version, bool) {
	least, known := minimum(members)
	current, err := ParseVersion(c.version)
	switch {
	case err != nil && known:
		return least, true
	case err != nil:
		return oldest(), true
	case !known:
		return Version{}, false
	case c.downgrade.Enabled:
		return c.nextDown(current, least)
	}
	return least, current.Less(least)
}

func (c *Cluster) nextDown(current, least Version) (Version, bool) {
	target, err := ParseVersion(c.downgrade.TargetVersion)
	if err != nil || current == target {
		return Version{}, false
	}
	return target, target == current.Below() && target == least.Below()
}

// minimum returns the least of versions, and false if there is none or one is
// unknown.
func minimum(versions []*Version) (Version, bool) {
	if len(versions) == 0 {
		return Version{}, false
	}
	var least *Version
	for _, v := range versions {
		if v == nil {
			return Version{}, false
		}
		if least == nil || v.Less(*least) {
			least = v
		}
	}
	return *least, true
}

package transport

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// version is a member's version: major, minor, patch. What follows a hyphen or a plus sign is not compared.
type version [3]uint64

// minVersion is the oldest version of a member that may talk to us, as a header.
const minVersion = "3.0.0"

// minStreams is the oldest version whose streams are those of this package.
const minStreams = "2.1.0"

// silentVersion is the version of a member that does not say its version.
const silentVersion = "2.0.0"

// atLeast reports whether the version that a header holds is min or later. What cannot be read is not.
func atLeast(header, min string) bool {
	v, err := parseVersion(cmp.Or(header, silentVersion))
	if err != nil {
		return false
	}
	m, err := parseVersion(min)
	return err == nil && !v.less(m)
}

func parseVersion(s string) (v version, err error) {
	s, _, _ = strings.Cut(s, "+")
	s, _, _ = strings.Cut(s, "-")
	parts := strings.Split(s, ".")
	if len(parts) != len(v) {
		return v, fmt.Errorf("version %q has not three numbers", s)
	}
	for i, p := range parts {
		if v[i], err = strconv.ParseUint(p, 10, 32); err != nil {
			return v, fmt.Errorf("version %q: %w", s, err)
		}
	}
	return v, nil
}

func (v version) less(o version) bool {
	return cmp.Or(cmp.Compare(v[0], o[0]), cmp.Compare(v[1], o[1]), cmp.Compare(v[2], o[2])) < 0
}

package port

import (
	"errors"

	"golang.org/x/sys/unix"
)

// isResourceError reports whether the process or machine ran out of something that may come back.
func isResourceError(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

package offline

import (
	"context"
	"errors"
	"os"

	"github.com/quoin-kv/quoin/internal/backend"
	"github.com/quoin-kv/quoin/internal/datadir"
)

// Sizes are those of a database file in bytes.
type Sizes struct{ Before, After int64 }

// Defragment rewrites the database file of a data directory without its free pages.
func Defragment(ctx context.Context, dataDir string, progress Progress) (s Sizes, err error) {
	path := datadir.NewPaths(dataDir, "").DB
	if _, err := os.Stat(path); err != nil {
		return s, err
	}
	b, err := backend.Open(backend.Config{Path: path, LockTimeout: lockTimeout})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	s.Before = b.Sizes().FileBytes
	err = b.Defragment(ctx, progress)
	s.After = b.Sizes().FileBytes
	return s, err
}

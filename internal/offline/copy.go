package offline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
)

// sectorBytes divides the size of every database file; a snapshot is that and its hash.
const sectorBytes = 512

// copyBytes is how much is read at a time.
const copyBytes = 1 << 20

// ErrNoHash is the answer to a snapshot without its hash.
var ErrNoHash = errors.New("snapshot missing hash but --skip-hash-check=false")

// copyOptions say what copySnapshot does.
type copyOptions struct {
	from, to string
	skipHash bool // believe a file without a hash, or with a wrong one
	progress Progress
}

// copySnapshot copies the database file inside a snapshot, without the hash behind it, which it checks on the way.
func copySnapshot(ctx context.Context, o copyOptions) (err error) {
	in, err := os.Open(o.from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	size, hashed := info.Size(), info.Size()%sectorBytes == sha256.Size
	if hashed {
		size -= sha256.Size
	} else if !o.skipHash {
		return ErrNoHash
	}
	out, err := os.OpenFile(o.to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	sum := sha256.New()
	if err := copyN(ctx, io.MultiWriter(out, sum), in, size, o.progress); err != nil {
		return fmt.Errorf("copy %s: %w", o.from, err)
	}
	if hashed && !o.skipHash {
		if err := checkHash(in, sum.Sum(nil)); err != nil {
			return err
		}
	}
	return out.Sync()
}

// checkHash compares the hash that comes next with what was found.
func checkHash(in io.Reader, found []byte) error {
	stored := make([]byte, sha256.Size)
	if _, err := io.ReadFull(in, stored); err != nil {
		return err
	}
	if !bytes.Equal(stored, found) {
		return fmt.Errorf("expected sha256 %v, got %v", stored, found)
	}
	return nil
}

func copyN(ctx context.Context, out io.Writer, in io.Reader, size int64, progress Progress) error {
	progress.tell(0, size)
	for done := int64(0); done < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(out, in, min(copyBytes, size-done))
		if err != nil {
			return err
		}
		done += n
		progress.tell(done, size)
	}
	return nil
}

package ctl

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/quoin-kv/quoin/internal/vfs"
)

func (g *globals) snapshotCommand() *cobra.Command {
	var progress bool
	save := &cobra.Command{
		Use: "save <filename>", Short: "Store a snapshot of one member in a file",
		Long: "Store a snapshot of one member in a file: the database as of one moment, and its SHA-256, which is checked. The file gets its name\n" +
			"when it is complete and on the disk; what was received before a failure is removed. There is no time limit unless\n" +
			"--command-timeout is given.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fail(ExitBadArguments, "snapshot save expects one argument <filename>")
			}
			return g.save(cmd, args[0], NewProgress(cmd.ErrOrStderr(), progress))
		},
	}
	save.Flags().BoolVar(&progress, "progress", false, "show how far it is also if the error stream is no terminal")
	return family("snapshot <subcommand>", "Store and judge snapshots", save)
}

// save stores a snapshot of the one endpoint in a file.
func (g *globals) save(cmd *cobra.Command, file string, progress *Progress) error {
	if n := len(g.connection.endpoints); n != 1 {
		return fail(ExitBadArguments, "snapshot must be requested to one selected node, not multiple %v", g.connection.endpoints)
	}
	client, err := g.dial(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(cmd.Context())
	if g.given("command-timeout") {
		ctx, cancel = context.WithTimeout(cmd.Context(), g.commandTimeout)
	}
	defer cancel()
	version, err := saveTo(ctx, client, file, progress)
	progress.End()
	if err != nil {
		return fail(ExitInterrupted, "%s", describe(err))
	}
	text := fmt.Sprintf("Snapshot saved at %s\n", file)
	if version != "" {
		text += fmt.Sprintf("Server version %s\n", version)
	}
	if _, err := io.WriteString(cmd.OutOrStdout(), text); err != nil {
		return fail(ExitIO, "%w", err)
	}
	return nil
}

// saveTo receives into a file of another name, and gives it its own when it is whole and durable.
func saveTo(ctx context.Context, client *clientv3.Client, file string, progress *Progress) (version string, err error) {
	part := file + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", fmt.Errorf("could not open %s (%w)", part, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(part))
		}
	}()
	snapshot, err := OpenSnapshot(ctx, client, progress)
	if err == nil {
		version, err = snapshot.save(f)
		snapshot.Close()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	if err := os.Rename(part, file); err != nil {
		return "", fmt.Errorf("could not rename %s to %s (%w)", part, file, err)
	}
	return version, vfs.OS{}.SyncDir(filepath.Dir(file))
}

// errCutShort is what a snapshot is that ends without its checksum.
var errCutShort = errors.New("the snapshot ended before it was complete: ask again")

// A Snapshot reads the database file of a member from a stream, without the checksum that follows it. The last bytes that came are kept back until
// it is known whether they are that checksum; if it is wrong, or does not come, Read fails where the file would end.
type Snapshot struct {
	stream   grpc.ServerStreamingClient[etcdserverpb.SnapshotResponse]
	end      context.CancelFunc
	progress *Progress
	version  string // of the member, as it says
	sum      hash.Hash
	bytes    int64
	tail     []byte // what came last and was not read
	err      error  // of the stream
}

// OpenSnapshot asks the server of a client for its database file, and tells progress, which may be nil, how far it is. The context ends it as Close
// does, which the caller calls.
func OpenSnapshot(ctx context.Context, client *clientv3.Client, progress *Progress) (*Snapshot, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := etcdserverpb.NewMaintenanceClient(client.ActiveConnection()).Snapshot(ctx, &etcdserverpb.SnapshotRequest{}, grpc.WaitForReady(true))
	if err != nil {
		cancel()
		return nil, err
	}
	return &Snapshot{stream: stream, end: cancel, progress: progress, sum: sha256.New()}, nil
}

// Close ends the stream.
func (s *Snapshot) Close() { s.end() }

// save writes the snapshot to w, with the checksum that follows it.
func (s *Snapshot) save(w io.Writer) (version string, err error) {
	if _, err = io.Copy(w, s); err == nil {
		_, err = w.Write(s.tail)
	}
	return s.version, err
}

// Read implements io.Reader.
func (s *Snapshot) Read(b []byte) (int, error) {
	for s.err == nil && len(s.tail) <= sha256.Size {
		s.err = s.take()
	}
	if n := len(s.tail) - sha256.Size; n > 0 {
		n = copy(b, s.tail[:n])
		s.sum.Write(b[:n])
		s.tail = s.tail[n:]
		return n, nil
	}
	if errors.Is(s.err, io.EOF) {
		s.err = s.verify()
	}
	return 0, s.err
}

// take receives what comes next.
func (s *Snapshot) take() error {
	m, err := s.stream.Recv()
	if err != nil {
		return err
	}
	s.version = m.Version
	s.bytes += int64(len(m.Blob))
	s.tail = append(s.tail, m.Blob...)
	s.progress.Tell(s.bytes, s.bytes+int64(m.RemainingBytes))
	return nil
}

// verify compares the checksum, and returns io.EOF if it is right.
func (s *Snapshot) verify() error {
	const sectorBytes = 512 // divides the size of a database
	if s.bytes%sectorBytes != sha256.Size {
		return fmt.Errorf("%w (%d bytes)", errCutShort, s.bytes)
	}
	if got := s.sum.Sum(nil); !bytes.Equal(got, s.tail) {
		return fmt.Errorf("the snapshot was damaged on its way: expected sha256 %x, got %x", s.tail, got)
	}
	return io.EOF
}

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
	stream, err := etcdserverpb.NewMaintenanceClient(client.ActiveConnection()).Snapshot(ctx, &etcdserverpb.SnapshotRequest{}, grpc.WaitForReady(true))
	if err == nil {
		version, err = receive(stream, f, progress)
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
	return version, syncDir(filepath.Dir(file))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// errCutShort is what a snapshot is that ends without its checksum.
var errCutShort = errors.New("the snapshot ended before it was complete: ask again")

// receive writes a snapshot to w, and compares it with the checksum at its end, which is written as well.
func receive(stream grpc.ServerStreamingClient[etcdserverpb.SnapshotResponse], w io.Writer, progress *Progress) (version string, err error) {
	c := checked{w: w, sum: sha256.New()}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return version, c.end()
		}
		if err != nil {
			return "", err
		}
		version = m.Version
		if err := c.write(m.Blob); err != nil {
			return "", err
		}
		progress.Tell(c.bytes, c.bytes+int64(m.RemainingBytes))
	}
}

// checked passes a snapshot on. Its last bytes, the checksum, are kept back until it is known that they are the last.
type checked struct {
	w     io.Writer
	sum   hash.Hash
	bytes int64
	tail  []byte // at most the length of a checksum
}

func (c *checked) write(b []byte) error {
	c.bytes += int64(len(b))
	c.tail = append(c.tail, b...)
	n := len(c.tail) - sha256.Size
	if n <= 0 {
		return nil
	}
	c.sum.Write(c.tail[:n])
	if _, err := c.w.Write(c.tail[:n]); err != nil {
		return err
	}
	c.tail = append(c.tail[:0], c.tail[n:]...)
	return nil
}

func (c *checked) end() error {
	const sectorBytes = 512 // divides the size of a database
	if c.bytes%sectorBytes != sha256.Size {
		return fmt.Errorf("%w (%d bytes)", errCutShort, c.bytes)
	}
	if got := c.sum.Sum(nil); !bytes.Equal(got, c.tail) {
		return fmt.Errorf("the snapshot was damaged on its way: expected sha256 %x, got %x", c.tail, got)
	}
	_, err := c.w.Write(c.tail)
	return err
}

package ctl

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// blobs is a stream of a snapshot.
type blobs struct {
	grpc.ServerStreamingClient[etcdserverpb.SnapshotResponse]
	left [][]byte
	end  error
}

func (b *blobs) Recv() (*etcdserverpb.SnapshotResponse, error) {
	if len(b.left) == 0 {
		return nil, b.end
	}
	m := &etcdserverpb.SnapshotResponse{Blob: b.left[0], Version: "3.7.0"}
	b.left = b.left[1:]
	return m, nil
}

// TestSnapshot: whatever pieces it comes in, a snapshot arrives whole or not at all.
func TestSnapshot(t *testing.T) {
	content := bytes.Repeat([]byte("abcd"), 512)
	sum := sha256.Sum256(content)
	whole := append(bytes.Clone(content), sum[:]...)
	flipped := bytes.Clone(whole)
	flipped[7] ^= 1
	broken := errors.New("connection lost")
	for _, c := range []struct {
		name   string
		stream []byte
		end    error
		want   string
	}{
		{"whole", whole, io.EOF, ""},
		{"without checksum", content, io.EOF, "ended before it was complete"},
		{"cut short", whole[:1000], io.EOF, "ended before it was complete"},
		{"nothing", nil, io.EOF, "ended before it was complete"},
		{"flipped bit", flipped, io.EOF, "damaged on its way"},
		{"connection lost", whole[:1000], broken, "connection lost"},
	} {
		for _, piece := range []int{1, 31, 32, 33, 1000, 5000} {
			var pieces [][]byte
			for rest := c.stream; len(rest) > 0; {
				n := min(piece, len(rest))
				pieces, rest = append(pieces, rest[:n]), rest[n:]
			}
			var out bytes.Buffer
			version, err := (&Snapshot{stream: &blobs{left: pieces, end: c.end}, sum: sha256.New()}).save(&out)
			if c.want == "" {
				if err != nil || version != "3.7.0" || !bytes.Equal(out.Bytes(), c.stream) {
					t.Errorf("%s in pieces of %d: %q, %v, %d bytes", c.name, piece, version, err, out.Len())
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s in pieces of %d: %v, want %q", c.name, piece, err, c.want)
			}
		}
	}
}

// TestSnapshotWithoutChecksum: whoever reads a snapshot gets what comes before the checksum, however little is read at once.
func TestSnapshotWithoutChecksum(t *testing.T) {
	content := bytes.Repeat([]byte("abcd"), 512)
	sum := sha256.Sum256(content)
	for name, read := range map[string]func(io.Reader) io.Reader{
		"at once": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "halves": iotest.HalfReader,
	} {
		s := &Snapshot{stream: &blobs{left: [][]byte{content[:700], content[700:], sum[:]}, end: io.EOF}, sum: sha256.New()}
		if got, err := io.ReadAll(read(s)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, true)
	for done := int64(0); done <= 1000; done += 50 {
		p.Tell(done, 1000)
	}
	p.End()
	if lines := strings.Count(out.String(), "\n"); lines != 11 || !strings.HasSuffix(out.String(), "100%  1.0 kB of 1.0 kB\n") {
		t.Errorf("%d lines:\n%s", lines, out.String())
	}
	NewProgress(&out, false).Tell(1, 2) // nobody wants to know
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	table := Table{Header: []string{"ID", "LONG NAME"}, Rows: [][]string{{"1234", "x"}, {"5", "ü"}}}
	if err := table.Write(&out); err != nil {
		t.Fatal(err)
	}
	want := "┌──────┬───────────┐\n│  ID  │ LONG NAME │\n├──────┼───────────┤\n│ 1234 │         x │\n│    5 │         ü │\n└──────┴───────────┘\n"
	if out.String() != want {
		t.Errorf("table:\n%s\nwant:\n%s", out.String(), want)
	}
}

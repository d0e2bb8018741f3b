package backend

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/internal/vfs"
)

// stamp says which state of a file something is about: the transaction that
// made it, and the log entry that it has reached.
type stamp struct{ txid, index uint64 }

// sumsMedium is where the checksums of a file outlive the process: a file
// beside it. What is read from there counts only if it fits the file, so
// nothing depends on a write, and nothing is synced but a new beginning.
type sumsMedium interface {
	read() (io.ReadCloser, error) // nil if there is nothing
	replace(write func(io.Writer) error) error
	append(b []byte) error
	open() error // for appending to what is there
	drop()       // there must be nothing afterwards
	sync() error // what is there survives a power failure
	close()
}

// The ledger's format: a header, then frames, each a length and a CRC-32C, 4
// bytes, little endian, and a payload. docs/format/sums.md has the rest.
const (
	ledgerMagic     = "quoin sums 1\n\x00\x00\x00"
	frameHeadBytes  = 8
	frameBytesMax   = 16 << 20
	frameEntriesMax = 1 << 16 // in one that is written
	frameWhole      = 1       // flag: forget what came before
	frameEnd        = 2       // flag: the stamp is reached
)

// ledger keeps the content of the file as it was flushed last, and notes it on
// a medium, from where a restart learns what the file must hold. It belongs to who
// has the turn.
type ledger struct {
	content contents
	totals  totals
	medium  sumsMedium // nil: none
	bytes   int64      // on the medium, 0 if it is of no use
	whole   int64      // of these, what the last whole content took
	warn    func(msg string, args ...any)
}

// next is what a flush will make of the content.
type next struct {
	records sums
	totals  totals
}

// after works out what changes make of the content, and notes it on the
// medium. That comes before the transaction: after a crash between the two, the
// file is what the frames before these say.
func (l *ledger) after(at stamp, c *changes) next {
	gone := revsOf(c.deletes)
	n := next{records: l.content.records.without(gone), totals: l.totals}
	w := &frameWriter{stamp: at}
	for _, rev := range gone {
		w.gone(rev)
	}
	c.eachSum(func(rev schema.Rev, sum uint32) {
		n.records.push(rev, sum)
		w.record(rev, sum)
	})
	for i := range c.small {
		ch := &c.small[i]
		name, sum := ch.bucket.Name(), smallSum(ch.key, ch.value)
		if old, ok := l.content.small[name][string(ch.key)]; ok {
			n.totals[ch.bucket].remove(old)
		}
		if !ch.remove {
			n.totals[ch.bucket].add(sum)
		}
		w.entry(name, ch.key, sum, ch.remove)
	}
	w.end()
	l.append(w.out)
	return n
}

// accept makes what after returned the content.
func (l *ledger) accept(n next, c *changes) {
	l.content.records, l.totals = n.records, n.totals
	for i := range c.small {
		if ch := &c.small[i]; ch.remove {
			l.content.small.remove(ch.bucket.Name(), ch.key)
		} else {
			l.content.small.set(ch.bucket.Name(), ch.key, smallSum(ch.key, ch.value))
		}
	}
}

func revsOf(keys [][]byte) []schema.Rev {
	revs := make([]schema.Rev, 0, len(keys))
	for _, key := range keys {
		if rev, _, err := schema.ParseRev(key); err == nil {
			revs = append(revs, rev)
		}
	}
	return slices.Compact(revs)
}

func (l *ledger) append(frames []byte) {
	if l.medium == nil || l.bytes == 0 {
		return
	}
	if err := l.medium.append(frames); err != nil {
		l.lose("checksums of the database file cannot be noted", err)
		return
	}
	l.bytes += int64(len(frames))
}

// begin takes over what was found.
func (l *ledger) begin(f *found, at stamp) {
	l.content, l.totals = *f.content, f.content.small.totals()
	if l.medium == nil {
		return
	}
	if f.ledger > 0 && f.stamp == at && l.medium.open() == nil {
		l.bytes, l.whole = f.ledger, f.ledger
		return
	}
	// What a crash has left of a transaction that never was must not come back: another one gets its id.
	if l.restart(at); l.bytes > 0 {
		if err := l.medium.sync(); err != nil {
			l.lose("checksums of the database file cannot be made durable", err)
		}
	}
}

// settle begins the medium anew if it has become long, or was lost.
func (l *ledger) settle(at stamp) {
	const slack = 4 << 20
	if l.medium != nil && (l.bytes == 0 || l.bytes > 2*l.whole+slack) {
		l.restart(at)
	}
}

// restart writes the whole content to the medium.
func (l *ledger) restart(at stamp) {
	if l.medium == nil {
		return
	}
	l.bytes = 0
	counted := int64(0)
	err := l.medium.replace(func(w io.Writer) error {
		n, err := writeContent(w, at, &l.content)
		counted = n
		return err
	})
	if err != nil {
		l.lose("checksums of the database file cannot be written", err)
		return
	}
	l.bytes, l.whole = counted, counted
}

// lose gives the medium up until settle.
func (l *ledger) lose(msg string, err error) {
	l.bytes = 0
	l.medium.drop()
	l.warn(msg, "error", err)
}

// drop says that what is on the medium does not count any more.
func (l *ledger) drop() {
	if l.medium != nil {
		l.bytes = 0
		l.medium.drop()
	}
}

// eachSum calls fn for the revision and checksum of every record to add.
func (c *changes) eachSum(fn func(rev schema.Rev, sum uint32)) {
	for _, span := range c.spans {
		for i := range span {
			r := &span[i]
			if _, skip := c.dead[deletion{r.rev, r.tombstone}]; !skip {
				fn(r.rev, recordSum(r.tombstone, r.bytes))
			}
		}
	}
}

// medium is the file beside the storage file.
func (c *Config) medium() sumsMedium {
	if c.SumsPath == "" {
		return nil
	}
	return &sumsFile{path: c.SumsPath}
}

// frameWriter gathers frames of one stamp.
type frameWriter struct {
	stamp   stamp
	flags   byte
	added   []byte
	removed []byte
	small   []byte
	n       [3]uint64 // how many of each
	last    [2]int64  // main revision before, of added and removed
	out     []byte
}

func (w *frameWriter) record(rev schema.Rev, sum uint32) {
	w.added = binary.AppendUvarint(w.added, uint64(rev.Main-w.last[0]))
	w.added = binary.AppendUvarint(w.added, uint64(rev.Sub))
	w.added = binary.LittleEndian.AppendUint32(w.added, sum)
	w.last[0] = rev.Main
	w.n[0]++
	w.full()
}

func (w *frameWriter) gone(rev schema.Rev) {
	w.removed = binary.AppendUvarint(w.removed, uint64(rev.Main-w.last[1]))
	w.removed = binary.AppendUvarint(w.removed, uint64(rev.Sub))
	w.last[1] = rev.Main
	w.n[1]++
	w.full()
}

func (w *frameWriter) entry(bucket string, key []byte, sum uint32, removed bool) {
	w.small = appendText(w.small, bucket)
	w.small = appendText(w.small, string(key))
	if removed {
		w.small = append(w.small, 1)
	} else {
		w.small = binary.LittleEndian.AppendUint32(append(w.small, 0), sum)
	}
	w.n[2]++
	w.full()
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func (w *frameWriter) full() {
	if w.n[0]+w.n[1]+w.n[2] >= frameEntriesMax {
		w.frame()
	}
}

func (w *frameWriter) end() {
	w.flags |= frameEnd
	w.frame()
}

// frame ends a frame. Removals come first when it is read.
func (w *frameWriter) frame() {
	head := len(w.out)
	w.out = append(w.out, make([]byte, frameHeadBytes)...)
	w.out = append(w.out, w.flags)
	w.out = binary.AppendUvarint(w.out, w.stamp.txid)
	w.out = binary.AppendUvarint(w.out, w.stamp.index)
	for i, part := range [][]byte{w.removed, w.added, w.small} {
		w.out = binary.AppendUvarint(w.out, w.n[[3]int{1, 0, 2}[i]])
		w.out = append(w.out, part...)
	}
	payload := w.out[head+frameHeadBytes:]
	binary.LittleEndian.PutUint32(w.out[head:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(w.out[head+4:], crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli)))
	*w = frameWriter{stamp: w.stamp, out: w.out, flags: w.flags &^ frameWhole, added: w.added[:0], removed: w.removed[:0], small: w.small[:0]}
}

// drain hands over what has been gathered.
func (w *frameWriter) drain(to io.Writer) (int64, error) {
	n, err := to.Write(w.out)
	w.out = w.out[:0]
	return int64(n), err
}

// writeContent writes a ledger of a whole content and returns its length.
func writeContent(to io.Writer, at stamp, c *contents) (total int64, err error) {
	w := &frameWriter{stamp: at, flags: frameWhole, out: []byte(ledgerMagic)}
	drain := func() {
		if err == nil && len(w.out) > 0 {
			var n int64
			n, err = w.drain(to)
			total += n
		}
	}
	const sumsPerRecord = 32 // that cost as much as a record does elsewhere
	cursor, n := c.records.from(schema.Rev{}), 0
	for rev, sum, ok := cursor.peek(); ok; rev, sum, ok = cursor.peek() {
		if n++; n%sumsPerRecord == 0 {
			breathe(n / sumsPerRecord)
		}
		w.record(rev, sum)
		cursor.skip()
		drain()
	}
	for bucket, entries := range c.small {
		for key, sum := range entries {
			w.entry(bucket, []byte(key), sum, false)
			drain()
		}
	}
	w.end()
	drain()
	return total, err
}

var errNotLedger = errors.New("not a ledger of checksums")

// readLedger returns the content at a stamp, nil if the ledger does not tell.
// clean tells that nothing follows, so that the ledger can be continued, and
// size how long it is. Whatever the input, it does not fail: what cannot be
// read is no evidence.
func readLedger(r io.Reader, txid uint64) (c *contents, at stamp, size int64, clean bool) {
	in := bufio.NewReaderSize(r, 1<<20)
	magic := make([]byte, len(ledgerMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != ledgerMagic {
		return nil, stamp{}, 0, false
	}
	size = int64(len(magic))
	c = &contents{small: smallSums{}}
	for {
		payload, err := readFrame(in)
		if err != nil {
			return c, at, size, errors.Is(err, io.EOF) && at.txid == txid
		}
		flags, found, err := c.take(payload, txid)
		switch {
		case err != nil:
			return c, stamp{}, size, false
		case found.txid > txid:
			return c, at, size, false
		}
		if size += frameHeadBytes + int64(len(payload)); flags&frameEnd != 0 {
			at = found
		} else {
			at = stamp{}
		}
	}
}

// readFrame returns the payload of the next frame, io.EOF at a clean end.
func readFrame(in io.Reader) ([]byte, error) {
	var head [frameHeadBytes]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint32(head[:])
	if length > frameBytesMax {
		return nil, errNotLedger
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(in, payload); err != nil {
		return nil, errNotLedger
	}
	if crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, errNotLedger
	}
	return payload, nil
}

// take changes the content by a frame, unless that is of a later transaction.
func (c *contents) take(payload []byte, txid uint64) (flags byte, at stamp, err error) {
	in := fields{rest: payload}
	flags = in.byte()
	at = stamp{txid: in.uvarint(), index: in.uvarint()}
	if in.bad || at.txid > txid {
		return flags, at, in.err()
	}
	if flags&frameWhole != 0 {
		*c = contents{small: smallSums{}}
	}
	c.takeRemoved(&in)
	c.takeRecords(&in)
	c.takeSmall(&in)
	return flags, at, in.err()
}

func (c *contents) takeRemoved(in *fields) {
	var revs []schema.Rev
	main := int64(0)
	for range in.uvarint() {
		main += int64(in.uvarint())
		rev := schema.Rev{Main: main, Sub: int64(in.uvarint())}
		if in.bad || len(revs) > 0 && rev.Compare(revs[len(revs)-1]) <= 0 {
			in.bad = true
			return
		}
		revs = append(revs, rev)
	}
	c.records = c.records.without(revs)
}

func (c *contents) takeRecords(in *fields) {
	main := int64(0)
	for range in.uvarint() {
		main += int64(in.uvarint())
		rev, sum := schema.Rev{Main: main, Sub: int64(in.uvarint())}, in.uint32()
		if in.bad || rev.Main < 0 || rev.Sub < 0 || rev.Sub >= 1<<32 || c.records.n > 0 && rev.Compare(c.records.last()) <= 0 {
			in.bad = true
			return
		}
		c.records.push(rev, sum)
	}
}

func (c *contents) takeSmall(in *fields) {
	for range in.uvarint() {
		bucket, key := in.text(), in.text()
		removed := in.byte() == 1
		if in.bad {
			return
		}
		if removed {
			c.small.remove(string(bucket), key)
		} else {
			c.small.set(string(bucket), key, in.uint32())
		}
	}
}

// fields takes a payload apart. After a mistake it yields zeros.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) err() error {
	if f.bad {
		return errNotLedger
	}
	return nil
}

func (f *fields) bytes(n uint64) []byte {
	if f.bad || n > uint64(len(f.rest)) {
		f.bad = true
		return nil
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) byte() byte {
	if b := f.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) uint32() uint32 {
	if b := f.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (f *fields) text() []byte { return f.bytes(f.uvarint()) }

func (f *fields) uvarint() uint64 {
	n, length := binary.Uvarint(f.rest)
	if f.bad || length <= 0 {
		f.bad = true
		return 0
	}
	f.rest = f.rest[length:]
	return n
}

// sumsFile is the medium beside a storage file.
type sumsFile struct {
	path string
	file *os.File // open for appending, nil before the first replace or open
}

const sumsTemporary = ".tmp"

func (m *sumsFile) read() (io.ReadCloser, error) {
	f, err := os.Open(m.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

// open makes what is there the file that is appended to.
func (m *sumsFile) open() error {
	f, err := os.OpenFile(m.path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err == nil {
		m.file = f
	}
	return err
}

func (m *sumsFile) replace(write func(io.Writer) error) error {
	m.close()
	f, err := os.OpenFile(m.path+sumsTemporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if err = errors.Join(write(w), w.Flush()); err == nil {
		err = os.Rename(m.path+sumsTemporary, m.path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(m.path+sumsTemporary))
	}
	m.file = f
	return nil
}

func (m *sumsFile) sync() error {
	return errors.Join(m.file.Sync(), vfs.OS{}.SyncDir(filepath.Dir(m.path)))
}

func (m *sumsFile) append(b []byte) error {
	if m.file == nil {
		return fmt.Errorf("%s is not open", m.path)
	}
	_, err := m.file.Write(b)
	return err
}

func (m *sumsFile) drop() {
	m.close()
	_ = os.Remove(m.path)
}

func (m *sumsFile) close() {
	if m.file != nil {
		_ = m.file.Close() // nothing that was written counts unless it can be read
		m.file = nil
	}
}

package grpcwire

import (
	"errors"

	"golang.org/x/net/http2/hpack"
)

// Bounds of header compression (RFC 7541).
const (
	staticEntries   = 61
	tableBytesMax   = 4096 // of the client's dynamic table; the size that every peer starts with
	entryOverhead   = 32
	tableEntriesMax = tableBytesMax / entryOverhead
)

// errCompression says that a block of header fields cannot be decoded. The connection is lost then, as its tables are.
var errCompression = errors.New("header block cannot be decoded")

// errLateResize says that a block changes the size of the table after its beginning (RFC 7541, section 4.2).
var errLateResize = errors.New("the table's size changes within a header block")

// entry is a header field. It never changes: two fields with the same entry are equal.
type entry struct {
	name, value string
	kind        kind
}

// size is what the field counts in tables and lists.
func (e *entry) size() int { return len(e.name) + len(e.value) + entryOverhead }

// staticTable is the table of RFC 7541, appendix A, from index 1.
type staticTable [staticEntries + 1]*entry

// newStaticTable asks the library for its table.
func newStaticTable() *staticTable {
	t, i := new(staticTable), 0
	d := hpack.NewDecoder(0, func(f hpack.HeaderField) {
		i++
		t[i] = &entry{f.Name, f.Value, kindOf(f.Name)}
	})
	for index := 1; index <= staticEntries; index++ {
		if _, err := d.Write([]byte{0x80 | byte(index)}); err != nil {
			panic(err) // the table has these entries
		}
	}
	return t
}

// decoder decodes the header blocks of a connection.
//
// Invariants:
//  1. The entries from first, count of them, are the dynamic table, oldest first; size is the sum of their sizes.
//  2. size <= max <= tableBytesMax, thus count <= tableEntriesMax.
type decoder struct {
	static *staticTable
	ring   [tableEntriesMax]*entry
	first  int
	count  int
	size   int
	max    int
}

func newDecoder(static *staticTable) decoder { return decoder{static: static, max: tableBytesMax} }

// decode appends the fields of a block to list. Fields beyond a list size of limit bytes are left out, and large is true.
func (d *decoder) decode(block []byte, list []*entry, limit int) (_ []*entry, large bool, err error) {
	size, fields := 0, false
	for len(block) > 0 {
		var e *entry
		switch b := block[0]; {
		case b&0x80 != 0:
			e, block, err = d.indexed(block)
		case b&0xc0 == 0x40:
			if e, block, err = d.literal(block, 6); err == nil {
				d.insert(e)
			}
		case b&0xe0 == 0x20:
			if block, err = d.resize(block); err == nil && fields {
				err = errLateResize
			}
		default:
			e, block, err = d.literal(block, 4)
		}
		if err != nil {
			return list, false, err
		}
		if e == nil {
			continue
		}
		fields = true
		if size += e.size(); size > limit {
			large = true
			size = limit
			continue
		}
		list = append(list, e)
	}
	return list, large, nil
}

func (d *decoder) indexed(b []byte) (*entry, []byte, error) {
	index, b, err := readInteger(b, 7)
	if err != nil {
		return nil, nil, err
	}
	e, err := d.at(index)
	return e, b, err
}

// at returns the entry of an index (RFC 7541, section 2.3.3).
func (d *decoder) at(index int) (*entry, error) {
	if index > 0 && index <= staticEntries {
		return d.static[index], nil
	}
	back := index - staticEntries
	if back <= 0 || back > d.count {
		return nil, errCompression
	}
	return d.ring[(d.first+d.count-back)%tableEntriesMax], nil
}

// literal reads a field whose name may be an index of so many bits.
func (d *decoder) literal(b []byte, bits uint) (*entry, []byte, error) {
	index, b, err := readInteger(b, bits)
	if err != nil {
		return nil, nil, err
	}
	e := new(entry)
	if index == 0 {
		if e.name, b, err = readString(b); err != nil {
			return nil, nil, err
		}
		e.kind = kindOf(e.name)
	} else {
		named, err := d.at(index)
		if err != nil {
			return nil, nil, err
		}
		e.name, e.kind = named.name, named.kind
	}
	e.value, b, err = readString(b)
	return e, b, err
}

// insert puts an entry into the dynamic table, or empties the table if the entry is larger (RFC 7541, section 4.4).
func (d *decoder) insert(e *entry) {
	size := e.size()
	d.evict(d.max - size)
	if size > d.max {
		return
	}
	d.ring[(d.first+d.count)%tableEntriesMax] = e
	d.count++
	d.size += size
}

// evict drops the oldest entries until at most so many bytes are left.
func (d *decoder) evict(bytes int) {
	for d.count > 0 && d.size > bytes {
		d.size -= d.ring[d.first].size()
		d.ring[d.first] = nil
		d.first = (d.first + 1) % tableEntriesMax
		d.count--
	}
}

func (d *decoder) resize(b []byte) ([]byte, error) {
	size, b, err := readInteger(b, 5)
	if err != nil || size > tableBytesMax {
		return nil, errCompression
	}
	d.max = size
	d.evict(size)
	return b, nil
}

// readInteger reads an integer whose first byte has so many bits of it (RFC 7541, section 5.1). Larger ones than anything here are refused.
func readInteger(b []byte, bits uint) (int, []byte, error) {
	if len(b) == 0 {
		return 0, nil, errCompression
	}
	limit := byte(1)<<bits - 1
	v := int(b[0] & limit)
	b = b[1:]
	if v < int(limit) {
		return v, b, nil
	}
	for i, shift := 0, uint(0); i < len(b) && shift < 28; i, shift = i+1, shift+7 {
		v += int(b[i]&0x7f) << shift
		if b[i]&0x80 == 0 {
			return v, b[i+1:], nil
		}
	}
	return 0, nil, errCompression
}

// readString reads a string, which may be Huffman-coded (RFC 7541, section 5.2).
func readString(b []byte) (string, []byte, error) {
	if len(b) == 0 {
		return "", nil, errCompression
	}
	huffman := b[0]&0x80 != 0
	n, b, err := readInteger(b, 7)
	if err != nil || n > len(b) {
		return "", nil, errCompression
	}
	if !huffman {
		return string(b[:n]), b[n:], nil
	}
	s, err := hpack.HuffmanDecodeToString(b[:n])
	if err != nil {
		return "", nil, errCompression
	}
	return s, b[n:], nil
}

// appendInteger writes an integer whose first byte, with these flags, has so many bits of it.
func appendInteger(b []byte, flags byte, bits uint, v int) []byte {
	limit := 1<<bits - 1
	if v < limit {
		return append(b, flags|byte(v))
	}
	b = append(b, flags|byte(limit))
	for v -= limit; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

func appendString(b []byte, s string) []byte {
	return append(appendInteger(b, 0, 7, len(s)), s...)
}

// appendField writes a field that enters no table.
func appendField(b []byte, name, value string) []byte {
	return appendString(appendString(append(b, 0), name), value)
}

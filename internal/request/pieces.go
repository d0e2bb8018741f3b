package request

import "google.golang.org/protobuf/encoding/protowire"

// fieldKVs is the field of a RangeResponse that holds its records.
const fieldKVs = 2

// A RangeResponse in pieces is the bytes of [AppendRangeResponse], put
// together one after the other: AppendRangeStart, AppendRangeRecords as often
// as there are runs of records, AppendRangeEnd.

// AppendRangeStart appends what stands before the records.
func AppendRangeStart(b []byte, h ResponseHeader) []byte { return AppendHeaderResponse(b, h) }

// AppendRangeChunkStart appends what stands before the records of a chunk: these
// and what AppendRangeEnd appends have so many bytes. The last chunk has a header.
func AppendRangeChunkStart(b []byte, h *ResponseHeader, bytes int) []byte {
	var header []byte
	if h != nil {
		header = AppendRangeStart(nil, *h)
	}
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(header)+bytes))
	return append(b, header...)
}

// AppendRangeRecords appends a run of encoded records.
func AppendRangeRecords(b []byte, records [][]byte) []byte {
	for _, r := range records {
		b = protowire.AppendTag(b, fieldKVs, protowire.BytesType)
		b = protowire.AppendBytes(b, r)
	}
	return b
}

// SizeRangeRecord is the length in bytes that AppendRangeRecords gives one
// record of so many bytes.
func SizeRangeRecord(bytes int) int { return sizeFrame(fieldKVs, bytes) }

// AppendRangeEnd appends what stands behind the records; those of r are left
// out.
func AppendRangeEnd(b []byte, r *RangeResult) []byte {
	end := RangeResult{More: r.More, Count: r.Count}
	w := begin(b, end.size())
	end.write(&w)
	return w.finish()
}

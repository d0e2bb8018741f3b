package machine

import "github.com/quoin-kv/quoin/internal/request"

// replies encodes the answers to puts, which are many, small and sent at once: they share blocks of memory.
type replies struct {
	block []byte // used up to its length
}

// replyBlockBytes is how much memory small answers share. Most are about 30 bytes long.
const replyBlockBytes = 4 << 10

// put returns the answer to a put.
func (r *replies) put(h request.ResponseHeader, result *request.PutResult) []byte {
	size := request.SizePutResponse(h, result)
	if size > replyBlockBytes/16 {
		return request.AppendPutResponse(nil, h, result)
	}
	if size > cap(r.block)-len(r.block) {
		r.block = make([]byte, 0, replyBlockBytes)
	}
	start := len(r.block)
	r.block = request.AppendPutResponse(r.block, h, result)
	return r.block[start:len(r.block):len(r.block)]
}

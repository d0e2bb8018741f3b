package grpcwire

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

// frame does what a frame asks for. An error ends the connection.
func (c *conn) frame(f *frame) error {
	if c.blocks.open != 0 && (f.kind != http2.FrameContinuation || f.stream != c.blocks.open) {
		return protocolError("a header block is interrupted")
	}
	switch f.kind {
	case http2.FrameData:
		return c.data(f)
	case http2.FrameHeaders:
		return c.headers(f)
	case http2.FrameContinuation:
		return c.continuation(f)
	case http2.FrameWindowUpdate:
		return c.windowUpdate(f)
	case http2.FrameRSTStream:
		return c.reset(f)
	case http2.FramePing:
		return c.ping(f)
	case http2.FrameSettings:
		return c.settings(f)
	case http2.FramePriority:
		return c.priority(f)
	case http2.FrameGoAway:
		return c.goAway(f)
	case http2.FramePushPromise:
		return protocolError("clients do not push")
	}
	return c.spend(1) // unknown types are ignored (RFC 9113, section 5.5)
}

// idle reports whether the stream of an id has not been opened yet.
func (c *conn) idle(id uint32) bool { return id > c.mu.last }

func (c *conn) reset(f *frame) error {
	switch {
	case f.stream == 0 || c.idle(f.stream):
		return protocolError("reset of a stream that was not opened")
	case len(f.payload) != 4:
		return connError{http2.ErrCodeFrameSize, "reset of a wrong size"}
	}
	if s := c.mu.table.get(f.stream); s != nil {
		if after := c.end(s); after != nil {
			c.later(after)
		}
	}
	return c.spend(1)
}

func (c *conn) ping(f *frame) error {
	switch {
	case f.stream != 0:
		return protocolError("ping on a stream")
	case len(f.payload) != 8:
		return connError{http2.ErrCodeFrameSize, "ping of a wrong size"}
	}
	if f.flags&http2.FlagPingAck != 0 {
		if string(f.payload) == drainPing {
			c.drained()
		}
		return c.spend(1)
	}
	c.mu.out = appendPing(c.mu.out, http2.FlagPingAck, f.payload)
	return c.pinged()
}

// priority checks a frame that means nothing any more (RFC 9113, section 5.3.2).
func (c *conn) priority(f *frame) error {
	switch {
	case f.stream == 0:
		return protocolError("priority of no stream")
	case len(f.payload) != 5:
		c.refuseFrame(f.stream, http2.ErrCodeFrameSize)
	case binary.BigEndian.Uint32(f.payload)&streamBits == f.stream:
		c.refuseFrame(f.stream, http2.ErrCodeProtocol)
	}
	return c.spend(1)
}

// refuseFrame resets the stream of a frame that is wrong, opened or not.
func (c *conn) refuseFrame(id uint32, code http2.ErrCode) {
	if s := c.mu.table.get(id); s != nil {
		c.cut(s, code)
		return
	}
	c.mu.out = appendReset(c.mu.out, id, code)
}

func (c *conn) goAway(f *frame) error {
	switch {
	case f.stream != 0:
		return protocolError("farewell on a stream")
	case len(f.payload) < 8:
		return connError{http2.ErrCodeFrameSize, "farewell of a wrong size"}
	}
	return c.spend(1) // the client closes the connection when it has its answers
}

func (c *conn) settings(f *frame) error {
	switch {
	case f.stream != 0:
		return protocolError("settings of a stream")
	case f.flags&http2.FlagSettingsAck != 0 && len(f.payload) != 0, len(f.payload)%6 != 0:
		return connError{http2.ErrCodeFrameSize, "settings of a wrong size"}
	case f.flags&http2.FlagSettingsAck != 0:
		return c.spend(1)
	}
	for p := f.payload; len(p) > 0; p = p[6:] {
		if err := c.setting(http2.SettingID(binary.BigEndian.Uint16(p)), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	c.mu.out = appendFrameHeader(c.mu.out, 0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	return c.spend(1 + len(f.payload)/6)
}

// frameBytesMost bounds the DATA frames to clients that take larger ones than frameBytesMax. All other frames fit every client.
const frameBytesMost = 64 << 10

// setting takes note of a setting (RFC 9113, section 6.5.2).
func (c *conn) setting(id http2.SettingID, v uint32) error {
	switch id {
	case http2.SettingEnablePush:
		if v > 1 {
			return protocolError("push neither on nor off")
		}
	case http2.SettingInitialWindowSize:
		return c.resizeWindows(v)
	case http2.SettingMaxFrameSize:
		if v < frameBytesMax || v > 1<<24-1 {
			return protocolError("frame size out of bounds")
		}
		c.mu.frameBytes = min(int(v), frameBytesMost)
	case http2.SettingHeaderTableSize:
		c.resizeTable(v)
	}
	return nil
}

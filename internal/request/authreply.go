package request

import "slices"

// AuthStatusResult answers an [AuthStatus].
type AuthStatusResult struct {
	Enabled  bool
	Revision uint64
}

// AppendAuthStatusResponse appends the answer to an [AuthStatus].
func AppendAuthStatusResponse(b []byte, h ResponseHeader, r AuthStatusResult) []byte {
	w := begin(b, h.frameSize()+sizeFlag(2, r.Enabled)+sizeNumber(3, r.Revision))
	w.number(3, r.Revision)
	w.flag(2, r.Enabled)
	h.write(&w)
	return w.finish()
}

// AppendAuthenticateResponse appends the answer to a login: a token.
func AppendAuthenticateResponse(b []byte, h ResponseHeader, token string) []byte {
	w := begin(b, h.frameSize()+sizeBytes(2, len(token)))
	w.text(2, token)
	h.write(&w)
	return w.finish()
}

// AppendAuthNamesResponse appends the answer to an [AuthUserGet], an [AuthUserList] or an [AuthRoleList], which have the same form: names.
func AppendAuthNamesResponse(b []byte, h ResponseHeader, names []string) []byte {
	size := h.frameSize()
	for _, name := range names {
		size += sizeFrame(2, len(name))
	}
	w := begin(b, size)
	w.texts(2, names)
	h.write(&w)
	return w.finish()
}

// AppendAuthRoleGetResponse appends the answer to an [AuthRoleGet].
func AppendAuthRoleGetResponse(b []byte, h ResponseHeader, permissions []Permission) []byte {
	size := h.frameSize()
	for i := range permissions {
		size += sizeFrame(2, permissions[i].Size())
	}
	w := begin(b, size)
	for i := range slices.Backward(permissions) {
		end := w.at
		permissions[i].write(&w)
		w.message(2, end)
	}
	h.write(&w)
	return w.finish()
}

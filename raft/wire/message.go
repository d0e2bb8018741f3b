package wire

// Size returns the length of m's encoding.
func (m *Message) Size() int {
	n := sizeUint(enum(int32(m.Type))) + sizeUint(m.To) + sizeUint(m.From) + sizeUint(m.Term)
	n += sizeUint(m.LogTerm) + sizeUint(m.Index)
	for i := range m.Entries {
		n += sizeNested(m.Entries[i].Size())
	}
	n += sizeUint(m.Commit)
	if m.Snapshot != nil {
		n += sizeNested(m.Snapshot.Size())
	}
	n += sizeUint(uint64(boolByte(m.Reject))) + sizeUint(m.RejectHint)
	return n + sizeBytes(len(m.Context)) + sizeUint(m.Vote)
}

// Append appends m's encoding to b.
func (m *Message) Append(b []byte) []byte {
	b = appendUint(b, 1, enum(int32(m.Type)))
	b = appendUint(b, 2, m.To)
	b = appendUint(b, 3, m.From)
	b = appendUint(b, 4, m.Term)
	b = appendUint(b, 5, m.LogTerm)
	b = appendUint(b, 6, m.Index)
	for i := range m.Entries {
		b = appendHead(b, 7, m.Entries[i].Size())
		b = m.Entries[i].Append(b)
	}
	b = appendUint(b, 8, m.Commit)
	if m.Snapshot != nil {
		b = appendHead(b, 9, m.Snapshot.Size())
		b = m.Snapshot.Append(b)
	}
	b = appendBool(b, 10, m.Reject)
	b = appendUint(b, 11, m.RejectHint)
	b = appendBytes(b, 12, m.Context)
	return appendUint(b, 13, m.Vote)
}

// Unmarshal sets m to what b encodes. The data of entries and snapshot and the context alias b. Field 14, the responses
// that etcd attaches to messages inside one member, is skipped unread.
func (m *Message) Unmarshal(b []byte) error {
	*m = Message{}
	return walk("Message", b, m.set)
}

func (m *Message) set(f field) error {
	switch {
	case f.isBytes(7):
		m.Entries = append(m.Entries, Entry{})
		return m.Entries[len(m.Entries)-1].Unmarshal(f.bytes)
	case f.isBytes(9):
		if m.Snapshot == nil {
			m.Snapshot = &Snapshot{}
		}
		return m.Snapshot.merge(f.bytes)
	case f.isBytes(12):
		m.Context = f.bytes
	case f.isVarint(f.num):
		m.setNumber(f)
	}
	return nil
}

func (m *Message) setNumber(f field) {
	switch f.num {
	case 1:
		m.Type = MessageType(int32(f.value))
	case 2:
		m.To = f.value
	case 3:
		m.From = f.value
	case 4:
		m.Term = f.value
	case 5:
		m.LogTerm = f.value
	case 6:
		m.Index = f.value
	case 8:
		m.Commit = f.value
	case 10:
		m.Reject = f.value != 0
	case 11:
		m.RejectHint = f.value
	case 13:
		m.Vote = f.value
	}
}

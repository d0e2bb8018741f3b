package wire

// Size returns the length of e's encoding.
func (e *Entry) Size() int {
	return sizeUint(enum(int32(e.Type))) + sizeUint(e.Term) + sizeUint(e.Index) + sizeBytes(len(e.Data))
}

// Append appends e's encoding to b.
func (e *Entry) Append(b []byte) []byte { return append(e.AppendHead(b), e.Data...) }

// AppendHead appends e's encoding to b but for Data, with which it ends: who writes it elsewhere spares a copy.
func (e *Entry) AppendHead(b []byte) []byte {
	b = appendUint(b, 1, enum(int32(e.Type)))
	b = appendUint(b, 2, e.Term)
	b = appendUint(b, 3, e.Index)
	if len(e.Data) == 0 {
		return b
	}
	return appendHead(b, 4, len(e.Data))
}

// Unmarshal sets e to what b encodes. Data aliases b.
func (e *Entry) Unmarshal(b []byte) error {
	*e = Entry{}
	return walk("Entry", b, func(f field) error {
		switch {
		case f.isVarint(1):
			e.Type = EntryType(int32(f.value))
		case f.isVarint(2):
			e.Term = f.value
		case f.isVarint(3):
			e.Index = f.value
		case f.isBytes(4):
			e.Data = f.bytes
		}
		return nil
	})
}

// IsZero reports whether nothing is stored in s.
func (s HardState) IsZero() bool { return s == HardState{} }

// Size returns the length of s's encoding.
func (s *HardState) Size() int { return sizeAlways(s.Term) + sizeAlways(s.Vote) + sizeAlways(s.Commit) }

// Append appends s's encoding to b; all three fields are written.
func (s *HardState) Append(b []byte) []byte {
	b = appendUintAlways(b, 1, s.Term)
	b = appendUintAlways(b, 2, s.Vote)
	return appendUintAlways(b, 3, s.Commit)
}

// Unmarshal sets s to what b encodes.
func (s *HardState) Unmarshal(b []byte) error {
	*s = HardState{}
	return walk("HardState", b, func(f field) error {
		switch {
		case f.isVarint(1):
			s.Term = f.value
		case f.isVarint(2):
			s.Vote = f.value
		case f.isVarint(3):
			s.Commit = f.value
		}
		return nil
	})
}

// Size returns the length of c's encoding.
func (c *ConfState) Size() int {
	return sizeList(c.Voters) + sizeList(c.Learners) + sizeList(c.VotersOutgoing) + sizeList(c.LearnersNext) + 2
}

// Append appends c's encoding to b; auto_leave is always written.
func (c *ConfState) Append(b []byte) []byte {
	b = appendList(b, 1, c.Voters)
	b = appendList(b, 2, c.Learners)
	b = appendList(b, 3, c.VotersOutgoing)
	b = appendList(b, 4, c.LearnersNext)
	return append(b, 5<<3, boolByte(c.AutoLeave))
}

// Unmarshal sets c to what b encodes. The lists are c's own.
func (c *ConfState) Unmarshal(b []byte) error {
	*c = ConfState{}
	return c.merge(b)
}

func (c *ConfState) merge(b []byte) error {
	return walk("ConfState", b, func(f field) (err error) {
		switch {
		case f.isList(1):
			c.Voters, err = mergeList(c.Voters, f)
		case f.isList(2):
			c.Learners, err = mergeList(c.Learners, f)
		case f.isList(3):
			c.VotersOutgoing, err = mergeList(c.VotersOutgoing, f)
		case f.isList(4):
			c.LearnersNext, err = mergeList(c.LearnersNext, f)
		case f.isVarint(5):
			c.AutoLeave = f.value != 0
		}
		return err
	})
}

// Clone returns a copy of c that shares no memory with it.
func (c *ConfState) Clone() ConfState {
	return ConfState{
		Voters:         cloneList(c.Voters),
		Learners:       cloneList(c.Learners),
		VotersOutgoing: cloneList(c.VotersOutgoing),
		LearnersNext:   cloneList(c.LearnersNext),
		AutoLeave:      c.AutoLeave,
	}
}

func cloneList(list []uint64) []uint64 { return append([]uint64(nil), list...) }

// Size returns the length of m's encoding.
func (m *SnapshotMeta) Size() int {
	return sizeNested(m.ConfState.Size()) + sizeUint(m.Index) + sizeUint(m.Term)
}

// Append appends m's encoding to b.
func (m *SnapshotMeta) Append(b []byte) []byte {
	b = appendHead(b, 1, m.ConfState.Size())
	b = m.ConfState.Append(b)
	b = appendUint(b, 2, m.Index)
	return appendUint(b, 3, m.Term)
}

// Unmarshal sets m to what b encodes.
func (m *SnapshotMeta) Unmarshal(b []byte) error {
	*m = SnapshotMeta{}
	return m.merge(b)
}

func (m *SnapshotMeta) merge(b []byte) error {
	return walk("SnapshotMeta", b, func(f field) error {
		switch {
		case f.isBytes(1):
			return m.ConfState.merge(f.bytes)
		case f.isVarint(2):
			m.Index = f.value
		case f.isVarint(3):
			m.Term = f.value
		}
		return nil
	})
}

// Size returns the length of s's encoding.
func (s *Snapshot) Size() int { return sizeBytes(len(s.Data)) + sizeNested(s.Meta.Size()) }

// Append appends s's encoding to b.
func (s *Snapshot) Append(b []byte) []byte {
	b = appendBytes(b, 1, s.Data)
	b = appendHead(b, 2, s.Meta.Size())
	return s.Meta.Append(b)
}

// Unmarshal sets s to what b encodes. Data aliases b.
func (s *Snapshot) Unmarshal(b []byte) error {
	*s = Snapshot{}
	return s.merge(b)
}

func (s *Snapshot) merge(b []byte) error {
	return walk("Snapshot", b, func(f field) error {
		switch {
		case f.isBytes(1):
			s.Data = f.bytes
		case f.isBytes(2):
			return s.Meta.merge(f.bytes)
		}
		return nil
	})
}

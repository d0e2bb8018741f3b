package wire

// Size returns the length of c's encoding.
func (c *ConfChange) Size() int {
	return sizeUint(c.ID) + sizeAlways(enum(int32(c.Type))) + sizeUint(c.NodeID) + sizeBytes(len(c.Context))
}

// Append appends c's encoding to b; the type is always written.
func (c *ConfChange) Append(b []byte) []byte {
	b = appendUint(b, 1, c.ID)
	b = appendUintAlways(b, 2, enum(int32(c.Type)))
	b = appendUint(b, 3, c.NodeID)
	return appendBytes(b, 4, c.Context)
}

// Unmarshal sets c to what b encodes. Context aliases b.
func (c *ConfChange) Unmarshal(b []byte) error {
	*c = ConfChange{}
	return walk("ConfChange", b, func(f field) error {
		switch {
		case f.isVarint(1):
			c.ID = f.value
		case f.isVarint(2):
			c.Type = ConfChangeType(int32(f.value))
		case f.isVarint(3):
			c.NodeID = f.value
		case f.isBytes(4):
			c.Context = f.bytes
		}
		return nil
	})
}

// V2 returns the change as a set of one change.
func (c *ConfChange) V2() ConfChangeV2 {
	return ConfChangeV2{Changes: []ConfChangeSingle{{Type: c.Type, NodeID: c.NodeID}}, Context: c.Context}
}

// Size returns the length of c's encoding.
func (c *ConfChangeSingle) Size() int { return sizeAlways(enum(int32(c.Type))) + sizeUint(c.NodeID) }

// Append appends c's encoding to b; the type is always written.
func (c *ConfChangeSingle) Append(b []byte) []byte {
	return appendUint(appendUintAlways(b, 1, enum(int32(c.Type))), 2, c.NodeID)
}

// Unmarshal sets c to what b encodes.
func (c *ConfChangeSingle) Unmarshal(b []byte) error {
	*c = ConfChangeSingle{}
	return walk("ConfChangeSingle", b, func(f field) error {
		switch {
		case f.isVarint(1):
			c.Type = ConfChangeType(int32(f.value))
		case f.isVarint(2):
			c.NodeID = f.value
		}
		return nil
	})
}

// Size returns the length of c's encoding.
func (c *ConfChangeV2) Size() int {
	n := sizeUint(enum(int32(c.Transition))) + sizeBytes(len(c.Context))
	for i := range c.Changes {
		n += sizeNested(c.Changes[i].Size())
	}
	return n
}

// Append appends c's encoding to b.
func (c *ConfChangeV2) Append(b []byte) []byte {
	b = appendUint(b, 1, enum(int32(c.Transition)))
	for i := range c.Changes {
		b = appendHead(b, 2, c.Changes[i].Size())
		b = c.Changes[i].Append(b)
	}
	return appendBytes(b, 3, c.Context)
}

// Unmarshal sets c to what b encodes. Context aliases b.
func (c *ConfChangeV2) Unmarshal(b []byte) error {
	*c = ConfChangeV2{}
	return walk("ConfChangeV2", b, func(f field) error {
		switch {
		case f.isVarint(1):
			c.Transition = ConfChangeTransition(int32(f.value))
		case f.isBytes(2):
			c.Changes = append(c.Changes, ConfChangeSingle{})
			return c.Changes[len(c.Changes)-1].Unmarshal(f.bytes)
		case f.isBytes(3):
			c.Context = f.bytes
		}
		return nil
	})
}

package request

// Actions of an [Alarm].
const (
	AlarmGet int32 = iota
	AlarmActivate
	AlarmDeactivate
)

// Kinds of alarm.
const (
	AlarmNone int32 = iota
	AlarmNoSpace
	AlarmCorrupt
)

// Alarm reads, raises or clears alarms.
type Alarm struct {
	Action   int32
	MemberID uint64
	Kind     int32
}

// Unmarshal merges the wire form b into r.
func (r *Alarm) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setInt32(&r.Action)
		case 2:
			d.setUint64(&r.MemberID)
		case 3:
			d.setInt32(&r.Kind)
		}
	}
	return d.done("AlarmRequest")
}

// Size is the length of the wire form in bytes.
func (r *Alarm) Size() int {
	return sizeNumber(1, uint64(r.Action)) + sizeNumber(2, r.MemberID) + sizeNumber(3, uint64(r.Kind))
}

// Append appends the canonical wire form to b.
func (r *Alarm) Append(b []byte) []byte {
	w := begin(b, r.Size())
	w.number(3, uint64(r.Kind))
	w.number(2, r.MemberID)
	w.number(1, uint64(r.Action))
	return w.finish()
}

// ClusterVersionSet decides the cluster version, a text like "3.7.0".
type ClusterVersionSet struct{ Version string }

// Unmarshal merges the wire form b into r.
func (r *ClusterVersionSet) Unmarshal(b []byte) error {
	return unmarshalName("ClusterVersionSetRequest", b, &r.Version)
}

// Size is the length of the wire form in bytes.
func (r *ClusterVersionSet) Size() int { return sizeBytes(1, len(r.Version)) }

// Append appends the canonical wire form to b.
func (r *ClusterVersionSet) Append(b []byte) []byte { return appendName(b, r.Version) }

// DowngradeVersionTest carries a version and has no effect.
type DowngradeVersionTest struct{ Version string }

// Unmarshal merges the wire form b into r.
func (r *DowngradeVersionTest) Unmarshal(b []byte) error {
	return unmarshalName("DowngradeVersionTestRequest", b, &r.Version)
}

// Size is the length of the wire form in bytes.
func (r *DowngradeVersionTest) Size() int { return sizeBytes(1, len(r.Version)) }

// Append appends the canonical wire form to b.
func (r *DowngradeVersionTest) Append(b []byte) []byte { return appendName(b, r.Version) }

// unmarshalName decodes a message whose only field is a string.
func unmarshalName(message string, b []byte, name *string) error {
	d := decoder{rest: b}
	for d.next() {
		if d.num == 1 {
			d.setString(name)
		}
	}
	return d.done(message)
}

func appendName(b []byte, name string) []byte {
	w := begin(b, sizeBytes(1, len(name)))
	w.text(1, name)
	return w.finish()
}

// MemberAttrSet publishes what a member says about itself.
type MemberAttrSet struct {
	MemberID   uint64
	Attributes *MemberAttributes // nil if absent
}

// MemberAttributes are the properties that a member chooses by itself.
type MemberAttributes struct {
	Name       string
	ClientURLs []string
}

// Unmarshal merges the wire form b into r.
func (r *MemberAttrSet) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch {
		case d.num == 1:
			d.setUint64(&r.MemberID)
		case d.num == 2 && d.isMessage():
			r.Attributes = orNew(r.Attributes)
			d.err = r.Attributes.Unmarshal(d.payload)
		}
	}
	return d.done("ClusterMemberAttrSetRequest")
}

// Size is the length of the wire form in bytes.
func (r *MemberAttrSet) Size() int {
	n := sizeNumber(1, r.MemberID)
	if r.Attributes != nil {
		n += sizeFrame(2, r.Attributes.Size())
	}
	return n
}

// Append appends the canonical wire form to b.
func (r *MemberAttrSet) Append(b []byte) []byte {
	w := begin(b, r.Size())
	if r.Attributes != nil {
		end := w.at
		r.Attributes.write(&w)
		w.message(2, end)
	}
	w.number(1, r.MemberID)
	return w.finish()
}

// Unmarshal merges the wire form b into a.
func (a *MemberAttributes) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setString(&a.Name)
		case 2:
			d.addString(&a.ClientURLs)
		}
	}
	return d.done("Attributes")
}

// Size is the length of the wire form in bytes.
func (a *MemberAttributes) Size() int {
	return sizeBytes(1, len(a.Name)) + sizeTexts(2, a.ClientURLs)
}

func (a *MemberAttributes) write(w *writer) {
	w.texts(2, a.ClientURLs)
	w.text(1, a.Name)
}

// DowngradeInfoSet starts or ends a downgrade of the cluster.
type DowngradeInfoSet struct {
	Enabled bool
	Version string
}

// Unmarshal merges the wire form b into r.
func (r *DowngradeInfoSet) Unmarshal(b []byte) error {
	d := decoder{rest: b}
	for d.next() {
		switch d.num {
		case 1:
			d.setBool(&r.Enabled)
		case 2:
			d.setString(&r.Version)
		}
	}
	return d.done("DowngradeInfoSetRequest")
}

// Size is the length of the wire form in bytes.
func (r *DowngradeInfoSet) Size() int {
	return sizeFlag(1, r.Enabled) + sizeBytes(2, len(r.Version))
}

// Append appends the canonical wire form to b.
func (r *DowngradeInfoSet) Append(b []byte) []byte {
	w := begin(b, r.Size())
	w.text(2, r.Version)
	w.flag(1, r.Enabled)
	return w.finish()
}

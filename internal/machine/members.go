package machine

import (
	"cmp"

	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
	"github.com/quoin-kv/quoin/raft/wire"
)

// minStorageVersion is the first cluster version whose members note the version of the storage in it.
var minStorageVersion = membership.Version{Major: 3, Minor: 6}

// undecidedVersion is the cluster version while not all members have told theirs.
var undecidedVersion = membership.Version{Major: 3}

// ApplyConfChange applies a committed change of the configuration. If it breaks a rule it is refused, with nothing changed: raft then
// takes it as a change of node 0, which does nothing.
func (m *Machine) ApplyConfChange(cc wire.ConfChange) error {
	change, err := m.members.Apply(cc, m.cfg.MaxLearners)
	if err != nil {
		return err
	}
	for _, w := range change.Writes {
		m.write(w)
	}
	return nil
}

func (m *Machine) write(w membership.Write) {
	if w.Value == nil {
		m.storage.Delete(w.Bucket, w.Key)
		return
	}
	m.storage.Put(w.Bucket, w.Key, w.Value)
}

// setClusterVersion notes the version that all members speak, and that of the storage, which follows it.
func (a *apply) setClusterVersion(version string) {
	before := a.members.Version()
	write, err := a.members.SetVersion(version)
	if a.out.Err = err; err != nil {
		return
	}
	a.out.Lowered = lower(version, before)
	a.write(write)
	a.AlignStorageVersion()
	a.replyEmpty()
}

// lower reports whether one version is below another; text that is no version is below none.
func lower(version, than string) bool {
	v, err1 := membership.ParseVersion(version)
	o, err2 := membership.ParseVersion(than)
	return err1 == nil && err2 == nil && v.Less(o)
}

// AlignStorageVersion marks the storage with the version of the cluster: every member's server can read what any member writes. A cluster
// of the undecided version says nothing about its storage. Every change of the version does it; after Restore it is for whoever has found the
// versions to be ones that this server knows, as the writer of the storage may have stopped before it had marked it.
func (m *Machine) AlignStorageVersion() {
	v, err := membership.ParseVersion(m.members.Version())
	if err != nil || v == undecidedVersion {
		return
	}
	marked := v.String()
	if v.Less(minStorageVersion) {
		marked = ""
	}
	if marked == m.storageVersion {
		return
	}
	m.storageVersion = marked
	if marked == "" {
		m.storage.Delete(schema.Meta, []byte(schema.MetaStorageVersion))
		return
	}
	m.storage.Put(schema.Meta, []byte(schema.MetaStorageVersion), []byte(marked))
}

// setAttributes notes what a member tells of itself. A member that is gone tells nothing any more.
func (a *apply) setAttributes(r *request.MemberAttrSet) {
	attrs := cmp.Or(r.Attributes, &request.MemberAttributes{})
	if write, ok := a.members.SetAttributes(r.MemberID, attrs.Name, attrs.ClientURLs); ok {
		a.write(write)
	}
	a.replyEmpty()
}

// setDowngrade notes that a downgrade of the cluster began or ended: a log that etcd began may say so.
func (a *apply) setDowngrade(r *request.DowngradeInfoSet) {
	d := membership.Downgrade{Enabled: r.Enabled}
	if r.Enabled {
		d.TargetVersion = r.Version
	}
	a.write(a.members.SetDowngrade(d))
	a.replyEmpty()
}

func (a *apply) replyEmpty() {
	a.reply(func(h request.ResponseHeader) []byte { return request.AppendHeaderResponse(nil, h) })
}

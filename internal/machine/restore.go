package machine

import (
	"bytes"
	"fmt"

	"github.com/quoin-kv/quoin/internal/auth"
	"github.com/quoin-kv/quoin/internal/lease"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/mvcc"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Restore builds the machine from what storage kept. openReader gives a reader of everything committed to storage so far.
func Restore(cfg Config, storage Storage, saved Saved, openReader func() mvcc.Reader) (*Machine, error) {
	m := &Machine{cfg: cfg, storage: storage, leases: lease.NewBook(), members: membership.New(), users: auth.New()}
	m.attached = m.leases.Keys
	load := []struct {
		bucket schema.Bucket
		fn     func(key, value []byte) error
	}{
		{schema.Lease, m.loadLease},
		{schema.Alarm, m.loadAlarm},
		{schema.MembersRemoved, m.loadMembership(schema.MembersRemoved)},
		{schema.Members, m.loadMembership(schema.Members)},
		{schema.Cluster, m.loadMembership(schema.Cluster)},
		{schema.Auth, m.loadUsers(schema.Auth)},
		{schema.AuthUsers, m.loadUsers(schema.AuthUsers)},
		{schema.AuthRoles, m.loadUsers(schema.AuthRoles)},
	}
	for _, l := range load {
		if err := saved.ForEach(l.bucket, l.fn); err != nil {
			return nil, fmt.Errorf("machine: restoring bucket %s: %w", l.bucket.Name(), err)
		}
	}
	m.users.Complete()
	if err := m.restoreKeySpace(saved, openReader); err != nil {
		return nil, fmt.Errorf("machine: restoring the key space: %w", err)
	}
	return m, nil
}

func (m *Machine) loadLease(_, value []byte) error {
	var l schema.LeaseRecord
	if err := l.Unmarshal(value); err != nil {
		return err
	}
	m.leases.Load(l)
	return nil
}

func (m *Machine) loadAlarm(key, _ []byte) error {
	id, kind, err := schema.ParseAlarmKey(key)
	if err != nil {
		return err
	}
	m.alarms.add(Alarm{MemberID: id, Kind: kind})
	return nil
}

func (m *Machine) loadMembership(bucket schema.Bucket) func(key, value []byte) error {
	return func(key, value []byte) error { return m.members.Load(bucket, key, value) }
}

func (m *Machine) loadUsers(bucket schema.Bucket) func(key, value []byte) error {
	return func(key, value []byte) error { return m.users.Load(bucket, key, value) }
}

// restoreKeySpace rebuilds the key index and reattaches keys to their leases.
func (m *Machine) restoreKeySpace(saved Saved, openReader func() mvcc.Reader) error {
	opts := mvcc.Options{
		OpenReader: openReader,
		Attach:     func(key []byte, id int64) { m.leases.Attach(id, key) },
	}
	err := saved.ForEach(schema.Meta, func(key, value []byte) error {
		switch string(key) {
		case schema.MetaScheduledCompact:
			opts.ScheduledCompact = bytes.Clone(value)
		case schema.MetaFinishedCompact:
			opts.FinishedCompact = bytes.Clone(value)
		case schema.MetaStorageVersion:
			m.storageVersion = string(value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	reader := openReader()
	defer reader.Release()
	m.kv, err = mvcc.Restore(m.storage, reader, opts)
	return err
}

package cluster

import (
	"time"

	"github.com/quoin-kv/quoin/internal/replica"
	"github.com/quoin-kv/quoin/raft/wire"
)

// write lets the log writer write what has come, as one batch, unless it is at work.
func (m *member) write() {
	if m.writing || len(m.writes) == 0 {
		return
	}
	n := replica.Together(m.writes)
	m.written = m.batcher.Join(m.writes[:n])
	m.writes = m.writes[n:]
	if !m.written.Write {
		m.wrote()
		m.write()
		return
	}
	m.writing = true
	m.proc.AfterVirtual(m.host.logTime(), m.finishWrite)
}

// finishWrite is the moment at which the disk has taken a batch.
func (m *member) finishWrite() {
	m.w.engine.Note("write", m.host.index, uint64(len(m.written.Log.Entries)))
	if mark := m.written.Log.Mark; mark != nil && m.written.Installed == 0 && mark.Index > m.backend.Flushed().Index {
		m.w.fail("mark", "member %d marks %d, but its file is at %d", m.host.index, mark.Index, m.backend.Flushed().Index)
	}
	m.host.promised.replacing(m.written.Log.Entries)
	if err := m.log.Write(m.written.Log); m.noRoom(err) {
		m.proc.AfterVirtual(retryTime, m.finishWrite)
		return
	} else if err != nil {
		m.fail("write-ahead log", err)
		return
	}
	m.promise()
	m.writing = false
	m.wrote()
	m.write()
}

// promise notes what was reported as durable.
func (m *member) promise() {
	log, p := &m.written.Log, &m.host.promised
	if m.written.Installed > 0 {
		p.index, p.term = log.Mark.Index, log.Mark.Term
	}
	if n := len(log.Entries); n > 0 {
		p.index, p.term = log.Entries[n-1].Index, log.Entries[n-1].Term
	}
	if log.Sync && !log.HardState.IsZero() {
		p.state = wire.HardState{Term: log.HardState.Term, Vote: log.HardState.Vote}
	}
}

// wrote tells those who waited for the write.
func (m *member) wrote() {
	j := &m.written
	m.send(j.AfterSync)
	if j.Persisted > 0 {
		seq := j.Persisted
		m.later(func() { m.consensus.Persisted(seq) })
	}
	switch {
	case j.Installed > 0:
		m.installable = j.Installed
		m.apply()
	case j.Log.Mark != nil:
		m.releaseAfter(j.Log.Mark.Index)
	}
}

// releaseAfter releases log segments after a while.
func (m *member) releaseAfter(index uint64) {
	m.proc.AfterVirtual(m.host.logTime(), func() { m.release(index) })
}

// release lets go of log segments that a restart does not read, and makes the next one.
func (m *member) release(index uint64) {
	if err := m.log.Release(index); err != nil {
		m.fail("releasing segments", err)
		return
	}
	if err := m.log.Purge(1); err != nil {
		m.w.engine.Comment(m.host.index, "segments not purged: %v", err)
	}
	m.prepare()
}

// prepare makes the next segment ahead of time, when that is wanted. If it fails the writer will try.
func (m *member) prepare() {
	select {
	case <-m.log.PrepareWanted():
		if err := m.log.Prepare(); err != nil {
			m.w.engine.Comment(m.host.index, "segment not prepared: %v", err)
		}
	default:
	}
}

// afterFlush lets the database file be brought up to date from time to time.
func (m *member) afterFlush() {
	m.proc.After(time.Duration(m.w.plan.Tuning.FlushInterval), func() {
		m.flush()
		m.afterFlush()
	})
}

// flush writes what the log holds durably to the database file, unless that is being done.
func (m *member) flush() {
	if m.flushing {
		return
	}
	m.flushing = true
	waiting := m.flushes
	m.flushes = nil
	// What is applied first, how far the log is second: see flushable in package node.
	limit := min(m.applier.Applied().Index, m.consensus.Durable())
	m.proc.AfterVirtual(m.host.fileTime(), func() {
		m.flushing = false
		m.finishFlush(limit)
		for _, done := range waiting {
			*done = true
		}
		if len(m.flushes) > 0 {
			m.flush()
		}
	})
}

func (m *member) finishFlush(limit uint64) {
	at, err := m.backend.Flush(limit)
	if m.noRoom(err) {
		return
	}
	if err != nil {
		m.fail("database file", err)
		return
	}
	m.prepare()
	m.dropReceived(at.Index)
	if at.Index == m.flushed {
		return
	}
	m.w.engine.Note("flush", m.host.index, at.Index)
	m.flushed = at.Index
	conf := m.applier.ConfStateAt(at.Index)
	m.later(func() { m.consensus.Flushed(at, conf) })
}

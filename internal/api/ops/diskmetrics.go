package ops

import (
	"github.com/prometheus/client_golang/prometheus"
)

// DiskMetrics are those of log, database file and received snapshots.
type DiskMetrics struct {
	WALSync, WALWrite prometheus.Histogram
	WALBytes          prometheus.Gauge

	BackendCommit                                prometheus.Histogram
	BackendRebalance, BackendSpill, BackendWrite prometheus.Histogram // parts of a commit
	BackendSnapshot                              prometheus.Histogram

	BackendRewrite prometheus.Histogram

	SnapshotFileSync prometheus.Histogram // of a received database file
	SnapshotFileSave prometheus.Histogram // from its first byte to its last sync
}

func newDiskMetrics(f factory) DiskMetrics {
	part := func(name, help string) prometheus.Histogram {
		return f.histogram("etcd_debugging_disk_backend_commit_"+name+"_duration_seconds", help, diskBuckets())
	}
	return DiskMetrics{
		WALSync:  f.histogram("etcd_disk_wal_fsync_duration_seconds", "Time of a sync of the write-ahead log.", diskBuckets()),
		WALWrite: f.histogram("etcd_disk_wal_write_duration_seconds", "Time of a write to the write-ahead log.", diskBuckets()),
		WALBytes: f.gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the write-ahead log."),

		BackendCommit:    f.histogram("etcd_disk_backend_commit_duration_seconds", "Time of a commit to the database file.", diskBuckets()),
		BackendRebalance: part("rebalance", "Time of a commit spent on joining small pages."),
		BackendSpill:     part("spill", "Time of a commit spent on splitting large pages."),
		BackendWrite:     part("write", "Time of a commit spent on writing."),
		BackendSnapshot:  f.histogram("etcd_disk_backend_snapshot_duration_seconds", "Time of copying out the database file.", snapshotBuckets()),

		BackendRewrite: f.histogram("etcd_disk_backend_defrag_duration_seconds", "Time of rewriting the database file.", defragBuckets()),

		SnapshotFileSync: f.histogram("etcd_snap_db_fsync_duration_seconds", "Time of syncs of a received database file.", diskBuckets()),
		SnapshotFileSave: f.histogram("etcd_snap_db_save_total_duration_seconds", "Time of receiving a database file and making it durable.", transferBuckets()),
	}
}

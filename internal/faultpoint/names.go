// Package faultpoint names steps of a member at which a test build (build tag faultpoints) can be made to panic, to wait or to return early,
// steered as servers built with gofail are. An ordinary build contains nothing of it: Hit is empty there, and what depends on Enabled is
// left out.
//
// In a test build the variable GOFAIL_FAILPOINTS sets points at the start (name=terms;name=terms), and the address in GOFAIL_HTTP serves
// them: GET / lists all as name=terms, GET, PUT and DELETE of /name show, set and clear one. docs/faultpoints.md says where each stands.
package faultpoint

// Name is the name of a point, as gofail harnesses know it.
type Name string

// The points, each at the step that its name says; docs/faultpoints.md has the exact places.
const (
	WALSyncError              Name = "walSyncError"
	RaftBeforeSave            Name = "raftBeforeSave"
	RaftAfterSave             Name = "raftAfterSave"
	RaftBeforeLeaderSend      Name = "raftBeforeLeaderSend"
	RaftBeforeFollowerSend    Name = "raftBeforeFollowerSend"
	RaftBeforeSaveSnap        Name = "raftBeforeSaveSnap"
	RaftAfterSaveSnap         Name = "raftAfterSaveSnap"
	RaftBeforeApplySnap       Name = "raftBeforeApplySnap"
	RaftAfterApplySnap        Name = "raftAfterApplySnap"
	RaftAfterWALRelease       Name = "raftAfterWALRelease"
	SnapDBRenameBeforeDirSync Name = "snapDBRenameBeforeDirSync"
	SnapDBDirSyncError        Name = "snapDBDirSyncError"
	ApplyBeforeOpenSnapshot   Name = "applyBeforeOpenSnapshot"
	ApplyAfterOpenSnapshot    Name = "applyAfterOpenSnapshot"
	BeforeApplyOneEntry       Name = "beforeApplyOneEntryNormal"
	BeforeApplyOneConfChange  Name = "beforeApplyOneConfChange"

	BeforeCommit              Name = "beforeCommit"
	AfterCommit               Name = "afterCommit"
	BeforeStartDBTxn          Name = "beforeStartDBTxn"
	AfterStartDBTxn           Name = "afterStartDBTxn"
	BeforeWritebackBuf        Name = "beforeWritebackBuf"
	AfterWritebackBuf         Name = "afterWritebackBuf"
	CommitBeforePreCommitHook Name = "commitBeforePreCommitHook"
	CommitAfterPreCommitHook  Name = "commitAfterPreCommitHook"
	DefragBeforeCopy          Name = "defragBeforeCopy"
	DefragBeforeRename        Name = "defragBeforeRename"
	DefragOpenFileError       Name = "defragOpenFileError"
	DefragDBFail              Name = "defragdbFail"

	CompactBeforeCommitScheduled Name = "compactBeforeCommitScheduledCompact"
	CompactAfterCommitScheduled  Name = "compactAfterCommitScheduledCompact"
	CompactBeforeSetFinished     Name = "compactBeforeSetFinishedCompact"
	CompactAfterSetFinished      Name = "compactAfterSetFinishedCompact"
	CompactBeforeCommitBatch     Name = "compactBeforeCommitBatch"
	CompactAfterCommitBatch      Name = "compactAfterCommitBatch"
	CompactAfterAcquiredTurn     Name = "compactAfterAcquiredBatchTxLock"

	BeforeSendWatchResponse      Name = "beforeSendWatchResponse"
	BeforeCheckpointInLeaseRenew Name = "beforeCheckpointInLeaseRenew"
)

// Names lists all points.
func Names() []Name {
	return []Name{
		WALSyncError, RaftBeforeSave, RaftAfterSave, RaftBeforeLeaderSend, RaftBeforeFollowerSend, RaftBeforeSaveSnap, RaftAfterSaveSnap,
		RaftBeforeApplySnap, RaftAfterApplySnap, RaftAfterWALRelease,
		SnapDBRenameBeforeDirSync, SnapDBDirSyncError, ApplyBeforeOpenSnapshot, ApplyAfterOpenSnapshot,
		BeforeApplyOneEntry, BeforeApplyOneConfChange,
		BeforeCommit, AfterCommit, BeforeStartDBTxn, AfterStartDBTxn, BeforeWritebackBuf, AfterWritebackBuf,
		CommitBeforePreCommitHook, CommitAfterPreCommitHook, DefragBeforeCopy, DefragBeforeRename, DefragOpenFileError, DefragDBFail,
		CompactBeforeCommitScheduled, CompactAfterCommitScheduled, CompactBeforeSetFinished, CompactAfterSetFinished,
		CompactBeforeCommitBatch, CompactAfterCommitBatch, CompactAfterAcquiredTurn,
		BeforeSendWatchResponse, BeforeCheckpointInLeaseRenew,
	}
}

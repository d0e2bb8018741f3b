package kverr

// The table. The code is the one that is really sent, which for two rows is
// [CodeUnknown] although clients that go by the text see another one.
// All variables are constants in spirit: nothing assigns to them.

// Requests that are malformed on their face.
var (
	// EmptyKey: a request, compare or op of a transaction has no key.
	EmptyKey = &Error{Symbol: "EmptyKey", Code: CodeInvalidArgument, Text: "etcdserver: key is not provided"}
	// KeyNotFound: ignore_value or ignore_lease on a missing key, or a transaction op without a request.
	KeyNotFound = &Error{Symbol: "KeyNotFound", Code: CodeInvalidArgument, Text: "etcdserver: key not found"}
	// ValueProvided: a put with ignore_value carries a value.
	ValueProvided = &Error{Symbol: "ValueProvided", Code: CodeInvalidArgument, Text: "etcdserver: value is provided"}
	// LeaseProvided: a put with ignore_lease carries a lease.
	LeaseProvided = &Error{Symbol: "LeaseProvided", Code: CodeInvalidArgument, Text: "etcdserver: lease is provided"}
	// TooManyOps: a transaction has more compares or ops than the limit allows.
	TooManyOps = &Error{Symbol: "TooManyOps", Code: CodeInvalidArgument, Text: "etcdserver: too many operations in txn request"}
	// DuplicateKey: one transaction would change a key twice.
	DuplicateKey = &Error{Symbol: "DuplicateKey", Code: CodeInvalidArgument, Text: "etcdserver: duplicate key given in txn request"}
	// InvalidClientAPIVersion: the client-api-version metadata is not valid UTF-8.
	InvalidClientAPIVersion = &Error{Symbol: "InvalidClientAPIVersion", Code: CodeInvalidArgument, Text: "etcdserver: invalid client api version"}
	// InvalidSortOption: a range has an unknown sort order or sort target.
	InvalidSortOption = &Error{Symbol: "InvalidSortOption", Code: CodeInvalidArgument, Text: "etcdserver: invalid sort option"}
)

// Keys and revisions.
var (
	// Compacted: a read, hash or compaction asks for a revision below the compacted one.
	Compacted = &Error{Symbol: "Compacted", Code: CodeOutOfRange, Text: "etcdserver: mvcc: required revision has been compacted"}
	// FutureRev: a read, hash or compaction asks for a revision above the current one.
	FutureRev = &Error{Symbol: "FutureRev", Code: CodeOutOfRange, Text: "etcdserver: mvcc: required revision is a future revision"}
	// NoSpace: a growing write while the space alarm is raised or the quota is used up.
	NoSpace = &Error{Symbol: "NoSpace", Code: CodeResourceExhausted, Text: "etcdserver: mvcc: database space exceeded"}
)

// Leases.
var (
	// LeaseNotFound: a put with, or a revoke of, an unknown lease.
	LeaseNotFound = &Error{Symbol: "LeaseNotFound", Code: CodeNotFound, Text: "etcdserver: requested lease not found"}
	// LeaseExist: a grant of an id in use.
	LeaseExist = &Error{Symbol: "LeaseExist", Code: CodeFailedPrecondition, Text: "etcdserver: lease already exists"}
	// LeaseTTLTooLarge: a grant above the greatest TTL.
	LeaseTTLTooLarge = &Error{Symbol: "LeaseTTLTooLarge", Code: CodeOutOfRange, Text: "etcdserver: too large lease TTL"}
)

// Watches.
var (
	// WatchCanceled: the client ended the watch stream.
	WatchCanceled = &Error{Symbol: "WatchCanceled", Code: CodeCanceled, Text: "etcdserver: watch canceled"}
)

// Membership.
var (
	// MemberExist: an added member's id is in use.
	MemberExist = &Error{Symbol: "MemberExist", Code: CodeFailedPrecondition, Text: "etcdserver: member ID already exist"}
	// PeerURLExist: an added or updated member's peer URL is in use.
	PeerURLExist = &Error{Symbol: "PeerURLExist", Code: CodeFailedPrecondition, Text: "etcdserver: Peer URLs already exists"}
	// MemberNotEnoughStarted: a change of members would leave too few started voters.
	MemberNotEnoughStarted = &Error{Symbol: "MemberNotEnoughStarted", Code: CodeUnknown, Text: "etcdserver: re-configuration failed due to not enough started members", Retry: RetryLater}
	// MemberBadURLs: an added member's peer URLs are malformed or absent.
	MemberBadURLs = &Error{Symbol: "MemberBadURLs", Code: CodeInvalidArgument, Text: "etcdserver: given member URLs are invalid"}
	// MemberNotFound: the member id is unknown or was removed.
	MemberNotFound = &Error{Symbol: "MemberNotFound", Code: CodeNotFound, Text: "etcdserver: member not found"}
	// MemberNotLearner: a promotion of a member that is a voter already.
	MemberNotLearner = &Error{Symbol: "MemberNotLearner", Code: CodeFailedPrecondition, Text: "etcdserver: can only promote a learner member"}
	// LearnerNotReady: a promotion of a learner that lags behind the leader.
	LearnerNotReady = &Error{Symbol: "LearnerNotReady", Code: CodeFailedPrecondition, Text: "etcdserver: can only promote a learner member which is in sync with leader", Retry: RetryLater}
	// TooManyLearners: one learner more than the cluster may have.
	TooManyLearners = &Error{Symbol: "TooManyLearners", Code: CodeFailedPrecondition, Text: "etcdserver: too many learner members in cluster"}
	// ClusterIDMismatch: a peer's hash request is meant for another cluster.
	ClusterIDMismatch = &Error{Symbol: "ClusterIDMismatch", Code: CodeFailedPrecondition, Text: "etcdserver: cluster ID mismatch"}
)

// Sizes and backlog.
var (
	// RequestTooLarge: the encoded proposal exceeds the size limit.
	RequestTooLarge = &Error{Symbol: "RequestTooLarge", Code: CodeInvalidArgument, Text: "etcdserver: request is too large"}
	// TooManyRequests: too many committed entries wait to be applied.
	TooManyRequests = &Error{Symbol: "TooManyRequests", Code: CodeUnknown, Text: "etcdserver: too many requests", Retry: RetryLater}
)

// Authentication and authorisation.
var (
	// RootUserNotExist: auth cannot be enabled without the user root.
	RootUserNotExist = &Error{Symbol: "RootUserNotExist", Code: CodeFailedPrecondition, Text: "etcdserver: root user does not exist"}
	// RootRoleNotExist: auth cannot be enabled while user root lacks role root.
	RootRoleNotExist = &Error{Symbol: "RootRoleNotExist", Code: CodeFailedPrecondition, Text: "etcdserver: root user does not have root role"}
	// UserAlreadyExist: the user to add exists.
	UserAlreadyExist = &Error{Symbol: "UserAlreadyExist", Code: CodeFailedPrecondition, Text: "etcdserver: user name already exists"}
	// UserEmpty: no credentials while auth is on, or a user without a name.
	UserEmpty = &Error{Symbol: "UserEmpty", Code: CodeInvalidArgument, Text: "etcdserver: user name is empty"}
	// UserNotFound: the named user does not exist.
	UserNotFound = &Error{Symbol: "UserNotFound", Code: CodeFailedPrecondition, Text: "etcdserver: user name not found"}
	// RoleAlreadyExist: the role to add exists.
	RoleAlreadyExist = &Error{Symbol: "RoleAlreadyExist", Code: CodeFailedPrecondition, Text: "etcdserver: role name already exists"}
	// RoleNotFound: the named role does not exist.
	RoleNotFound = &Error{Symbol: "RoleNotFound", Code: CodeFailedPrecondition, Text: "etcdserver: role name not found"}
	// RoleEmpty: a role without a name.
	RoleEmpty = &Error{Symbol: "RoleEmpty", Code: CodeInvalidArgument, Text: "etcdserver: role name is empty"}
	// AuthFailed: wrong user name or password.
	AuthFailed = &Error{Symbol: "AuthFailed", Code: CodeInvalidArgument, Text: "etcdserver: authentication failed, invalid user ID or password"}
	// PermissionNotGiven: a grant without a permission.
	PermissionNotGiven = &Error{Symbol: "PermissionNotGiven", Code: CodeInvalidArgument, Text: "etcdserver: permission not given"}
	// PermissionDenied: the user may not do this.
	PermissionDenied = &Error{Symbol: "PermissionDenied", Code: CodePermissionDenied, Text: "etcdserver: permission denied"}
	// RoleNotGranted: the role to revoke is not held by the user.
	RoleNotGranted = &Error{Symbol: "RoleNotGranted", Code: CodeFailedPrecondition, Text: "etcdserver: role is not granted to the user"}
	// PermissionNotGranted: the permission to revoke is not held by the role.
	PermissionNotGranted = &Error{Symbol: "PermissionNotGranted", Code: CodeFailedPrecondition, Text: "etcdserver: permission is not granted to the role"}
	// AuthNotEnabled: a login while auth is off.
	AuthNotEnabled = &Error{Symbol: "AuthNotEnabled", Code: CodeFailedPrecondition, Text: "etcdserver: authentication is not enabled"}
	// InvalidAuthToken: the token is unknown, malformed or expired.
	InvalidAuthToken = &Error{Symbol: "InvalidAuthToken", Code: CodeUnauthenticated, Text: "etcdserver: invalid auth token", Retry: RetryAfterLogin}
	// InvalidAuthMgmt: a change that would break root, or a malformed permission.
	InvalidAuthMgmt = &Error{Symbol: "InvalidAuthMgmt", Code: CodeInvalidArgument, Text: "etcdserver: invalid auth management"}
	// AuthOldRevision: the request's auth revision is older than the store's.
	AuthOldRevision = &Error{Symbol: "AuthOldRevision", Code: CodeInvalidArgument, Text: "etcdserver: revision of auth store is old", Retry: RetryAfterLogin}
)

// Leadership, time and health.
var (
	// NoLeader: this member knows no leader.
	NoLeader = &Error{Symbol: "NoLeader", Code: CodeUnavailable, Text: "etcdserver: no leader", Retry: RetryLater}
	// NotLeader: only the leader can do this.
	NotLeader = &Error{Symbol: "NotLeader", Code: CodeFailedPrecondition, Text: "etcdserver: not leader", Retry: RetryLater}
	// LeaderChanged: the leader changed while a read waited for it.
	LeaderChanged = &Error{Symbol: "LeaderChanged", Code: CodeUnavailable, Text: "etcdserver: leader changed", Retry: RetryIfRead}
	// NotCapable: the cluster's version lacks the API.
	NotCapable = &Error{Symbol: "NotCapable", Code: CodeFailedPrecondition, Text: "etcdserver: not capable", Retry: RetryLater}
	// Stopped: the server is shutting down; what it had taken may still come about.
	Stopped = &Error{Symbol: "Stopped", Code: CodeUnavailable, Text: "etcdserver: server stopped", Retry: RetryIfRead}
	// Timeout: a proposal or read index was not answered in time.
	Timeout = &Error{Symbol: "Timeout", Code: CodeUnavailable, Text: "etcdserver: request timed out", Retry: RetryIfRead}
	// TimeoutDueToLeaderFail: Timeout, and a leader was lost shortly before.
	TimeoutDueToLeaderFail = &Error{Symbol: "TimeoutDueToLeaderFail", Code: CodeUnavailable, Text: "etcdserver: request timed out, possibly due to previous leader failure", Retry: RetryIfRead}
	// TimeoutDueToConnectionLost: Timeout, and the leader or a quorum is not connected.
	TimeoutDueToConnectionLost = &Error{Symbol: "TimeoutDueToConnectionLost", Code: CodeUnavailable, Text: "etcdserver: request timed out, possibly due to connection lost", Retry: RetryIfRead}
	// TimeoutWaitAppliedIndex: this member did not catch up applying in time.
	TimeoutWaitAppliedIndex = &Error{Symbol: "TimeoutWaitAppliedIndex", Code: CodeUnavailable, Text: "etcdserver: request timed out, waiting for the applied index took too long", Retry: RetryLater}
	// Unhealthy: too few voters are connected for a change of members.
	Unhealthy = &Error{Symbol: "Unhealthy", Code: CodeUnavailable, Text: "etcdserver: unhealthy cluster", Retry: RetryLater}
	// Corrupt: the corruption alarm is raised.
	Corrupt = &Error{Symbol: "Corrupt", Code: CodeDataLoss, Text: "etcdserver: corrupt cluster"}
	// NotSupportedForLearner: a learner does not serve this call.
	NotSupportedForLearner = &Error{Symbol: "NotSupportedForLearner", Code: CodeFailedPrecondition, Text: "etcdserver: rpc not supported for learner"}
	// BadLeaderTransferee: leadership cannot move to that member.
	BadLeaderTransferee = &Error{Symbol: "BadLeaderTransferee", Code: CodeFailedPrecondition, Text: "etcdserver: bad leader transferee"}
)

// Downgrade.
var (
	// WrongDowngradeVersionFormat: the downgrade target is not a version.
	WrongDowngradeVersionFormat = &Error{Symbol: "WrongDowngradeVersionFormat", Code: CodeInvalidArgument, Text: "etcdserver: wrong downgrade target version format"}
	// InvalidDowngradeTargetVersion: the downgrade target is not one minor below the cluster.
	InvalidDowngradeTargetVersion = &Error{Symbol: "InvalidDowngradeTargetVersion", Code: CodeInvalidArgument, Text: "etcdserver: invalid downgrade target version"}
	// ClusterVersionUnavailable: the cluster version is not decided yet.
	ClusterVersionUnavailable = &Error{Symbol: "ClusterVersionUnavailable", Code: CodeFailedPrecondition, Text: "etcdserver: cluster version not found during downgrade", Retry: RetryLater}
	// DowngradeInProcess: a downgrade is under way.
	DowngradeInProcess = &Error{Symbol: "DowngradeInProcess", Code: CodeFailedPrecondition, Text: "etcdserver: cluster has a downgrade job in progress", Retry: RetryLater}
	// NoInflightDowngrade: no downgrade is under way.
	NoInflightDowngrade = &Error{Symbol: "NoInflightDowngrade", Code: CodeFailedPrecondition, Text: "etcdserver: no inflight downgrade job"}
)

// Cancellation inside the server.
var (
	// Canceled: the request was cancelled during its proposal.
	Canceled = &Error{Symbol: "Canceled", Code: CodeCanceled, Text: "etcdserver: request canceled", Retry: RetryIfRead}
	// DeadlineExceeded: the request's deadline passed during its proposal.
	DeadlineExceeded = &Error{Symbol: "DeadlineExceeded", Code: CodeDeadlineExceeded, Text: "etcdserver: context deadline exceeded", Retry: RetryIfRead}
)

// Errors that outsiders see with [CodeUnknown] and their text alone.
var (
	// TimeoutLeaderTransfer: moving the leadership did not finish in time.
	TimeoutLeaderTransfer = &Error{Symbol: "TimeoutLeaderTransfer", Code: CodeUnknown, Text: "etcdserver: request timed out, leader transfer took too long", Retry: RetryLater}
	// UnknownMethod: an enumerated action that does not exist.
	UnknownMethod = &Error{Symbol: "UnknownMethod", Code: CodeUnknown, Text: "etcdserver: unknown method", Retry: RetryNever}
	// NotPrimaryLessor: the member stopped being the leader while it served a lease.
	NotPrimaryLessor = &Error{Symbol: "NotPrimaryLessor", Code: CodeUnknown, Text: "not a primary lessor", Retry: RetryLater}
)

// All returns every error of the table, in the order of its declaration.
// The slice is the caller's, the errors are shared.
func All() []*Error {
	return []*Error{
		EmptyKey,
		KeyNotFound,
		ValueProvided,
		LeaseProvided,
		TooManyOps,
		DuplicateKey,
		InvalidClientAPIVersion,
		InvalidSortOption,
		Compacted,
		FutureRev,
		NoSpace,
		LeaseNotFound,
		LeaseExist,
		LeaseTTLTooLarge,
		WatchCanceled,
		MemberExist,
		PeerURLExist,
		MemberNotEnoughStarted,
		MemberBadURLs,
		MemberNotFound,
		MemberNotLearner,
		LearnerNotReady,
		TooManyLearners,
		ClusterIDMismatch,
		RequestTooLarge,
		TooManyRequests,
		RootUserNotExist,
		RootRoleNotExist,
		UserAlreadyExist,
		UserEmpty,
		UserNotFound,
		RoleAlreadyExist,
		RoleNotFound,
		RoleEmpty,
		AuthFailed,
		PermissionNotGiven,
		PermissionDenied,
		RoleNotGranted,
		PermissionNotGranted,
		AuthNotEnabled,
		InvalidAuthToken,
		InvalidAuthMgmt,
		AuthOldRevision,
		NoLeader,
		NotLeader,
		LeaderChanged,
		NotCapable,
		Stopped,
		Timeout,
		TimeoutDueToLeaderFail,
		TimeoutDueToConnectionLost,
		TimeoutWaitAppliedIndex,
		Unhealthy,
		Corrupt,
		NotSupportedForLearner,
		BadLeaderTransferee,
		WrongDowngradeVersionFormat,
		InvalidDowngradeTargetVersion,
		ClusterVersionUnavailable,
		DowngradeInProcess,
		NoInflightDowngrade,
		Canceled,
		DeadlineExceeded,
		TimeoutLeaderTransfer,
		UnknownMethod,
		NotPrimaryLessor,
	}
}

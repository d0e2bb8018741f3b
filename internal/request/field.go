package request

// AboutUsers reports whether the request is about users and roles.
func (f Field) AboutUsers() bool { return f >= FieldAuthEnable && f <= FieldAuthRoleRevokePermission }

// String names the request as metrics do.
func (f Field) String() string {
	switch f {
	case FieldPut:
		return "Put"
	case FieldDeleteRange:
		return "DeleteRange"
	case FieldTxn:
		return "Txn"
	case FieldCompaction:
		return "Compaction"
	case FieldLeaseGrant:
		return "LeaseGrant"
	case FieldLeaseRevoke:
		return "LeaseRevoke"
	case FieldLeaseCheckpoint:
		return "LeaseCheckpoint"
	case FieldAlarm:
		return "Alarm"
	case FieldClusterVersionSet:
		return "ClusterVersionSet"
	case FieldMemberAttrSet:
		return "ClusterMemberAttrSet"
	case FieldDowngradeInfoSet:
		return "DowngradeInfoSet"
	}
	return f.userKind()
}

// userKind is String for requests about users and roles.
func (f Field) userKind() string {
	switch f {
	case FieldAuthEnable:
		return "AuthEnable"
	case FieldAuthDisable:
		return "AuthDisable"
	case FieldAuthStatus:
		return "AuthStatus"
	case FieldAuthenticate:
		return "Authenticate"
	case FieldAuthUserAdd:
		return "AuthUserAdd"
	case FieldAuthUserDelete:
		return "AuthUserDelete"
	case FieldAuthUserGet:
		return "AuthUserGet"
	case FieldAuthUserChangePassword:
		return "AuthUserChangePassword"
	case FieldAuthUserGrantRole:
		return "AuthUserGrantRole"
	case FieldAuthUserRevokeRole:
		return "AuthUserRevokeRole"
	case FieldAuthUserList:
		return "AuthUserList"
	case FieldAuthRoleList:
		return "AuthRoleList"
	case FieldAuthRoleAdd:
		return "AuthRoleAdd"
	case FieldAuthRoleDelete:
		return "AuthRoleDelete"
	case FieldAuthRoleGet:
		return "AuthRoleGet"
	case FieldAuthRoleGrantPermission:
		return "AuthRoleGrantPermission"
	case FieldAuthRoleRevokePermission:
		return "AuthRoleRevokePermission"
	}
	return "unknown"
}

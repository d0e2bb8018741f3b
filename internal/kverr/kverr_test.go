package kverr_test

import (
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/status"

	"github.com/quoin-kv/quoin/internal/kverr"
)

// official pairs each of our errors with the one of the official client.
func official() map[*kverr.Error]error {
	return map[*kverr.Error]error{
		kverr.EmptyKey:                      rpctypes.ErrGRPCEmptyKey,
		kverr.KeyNotFound:                   rpctypes.ErrGRPCKeyNotFound,
		kverr.ValueProvided:                 rpctypes.ErrGRPCValueProvided,
		kverr.LeaseProvided:                 rpctypes.ErrGRPCLeaseProvided,
		kverr.TooManyOps:                    rpctypes.ErrGRPCTooManyOps,
		kverr.DuplicateKey:                  rpctypes.ErrGRPCDuplicateKey,
		kverr.InvalidClientAPIVersion:       rpctypes.ErrGRPCInvalidClientAPIVersion,
		kverr.InvalidSortOption:             rpctypes.ErrGRPCInvalidSortOption,
		kverr.Compacted:                     rpctypes.ErrGRPCCompacted,
		kverr.FutureRev:                     rpctypes.ErrGRPCFutureRev,
		kverr.NoSpace:                       rpctypes.ErrGRPCNoSpace,
		kverr.LeaseNotFound:                 rpctypes.ErrGRPCLeaseNotFound,
		kverr.LeaseExist:                    rpctypes.ErrGRPCLeaseExist,
		kverr.LeaseTTLTooLarge:              rpctypes.ErrGRPCLeaseTTLTooLarge,
		kverr.WatchCanceled:                 rpctypes.ErrGRPCWatchCanceled,
		kverr.MemberExist:                   rpctypes.ErrGRPCMemberExist,
		kverr.PeerURLExist:                  rpctypes.ErrGRPCPeerURLExist,
		kverr.MemberNotEnoughStarted:        rpctypes.ErrGRPCMemberNotEnoughStarted,
		kverr.MemberBadURLs:                 rpctypes.ErrGRPCMemberBadURLs,
		kverr.MemberNotFound:                rpctypes.ErrGRPCMemberNotFound,
		kverr.MemberNotLearner:              rpctypes.ErrGRPCMemberNotLearner,
		kverr.LearnerNotReady:               rpctypes.ErrGRPCLearnerNotReady,
		kverr.TooManyLearners:               rpctypes.ErrGRPCTooManyLearners,
		kverr.ClusterIDMismatch:             rpctypes.ErrGRPCClusterIDMismatch,
		kverr.RequestTooLarge:               rpctypes.ErrGRPCRequestTooLarge,
		kverr.TooManyRequests:               rpctypes.ErrGRPCRequestTooManyRequests,
		kverr.RootUserNotExist:              rpctypes.ErrGRPCRootUserNotExist,
		kverr.RootRoleNotExist:              rpctypes.ErrGRPCRootRoleNotExist,
		kverr.UserAlreadyExist:              rpctypes.ErrGRPCUserAlreadyExist,
		kverr.UserEmpty:                     rpctypes.ErrGRPCUserEmpty,
		kverr.UserNotFound:                  rpctypes.ErrGRPCUserNotFound,
		kverr.RoleAlreadyExist:              rpctypes.ErrGRPCRoleAlreadyExist,
		kverr.RoleNotFound:                  rpctypes.ErrGRPCRoleNotFound,
		kverr.RoleEmpty:                     rpctypes.ErrGRPCRoleEmpty,
		kverr.AuthFailed:                    rpctypes.ErrGRPCAuthFailed,
		kverr.PermissionNotGiven:            rpctypes.ErrGRPCPermissionNotGiven,
		kverr.PermissionDenied:              rpctypes.ErrGRPCPermissionDenied,
		kverr.RoleNotGranted:                rpctypes.ErrGRPCRoleNotGranted,
		kverr.PermissionNotGranted:          rpctypes.ErrGRPCPermissionNotGranted,
		kverr.AuthNotEnabled:                rpctypes.ErrGRPCAuthNotEnabled,
		kverr.InvalidAuthToken:              rpctypes.ErrGRPCInvalidAuthToken,
		kverr.InvalidAuthMgmt:               rpctypes.ErrGRPCInvalidAuthMgmt,
		kverr.AuthOldRevision:               rpctypes.ErrGRPCAuthOldRevision,
		kverr.NoLeader:                      rpctypes.ErrGRPCNoLeader,
		kverr.NotLeader:                     rpctypes.ErrGRPCNotLeader,
		kverr.LeaderChanged:                 rpctypes.ErrGRPCLeaderChanged,
		kverr.NotCapable:                    rpctypes.ErrGRPCNotCapable,
		kverr.Stopped:                       rpctypes.ErrGRPCStopped,
		kverr.Timeout:                       rpctypes.ErrGRPCTimeout,
		kverr.TimeoutDueToLeaderFail:        rpctypes.ErrGRPCTimeoutDueToLeaderFail,
		kverr.TimeoutDueToConnectionLost:    rpctypes.ErrGRPCTimeoutDueToConnectionLost,
		kverr.TimeoutWaitAppliedIndex:       rpctypes.ErrGRPCTimeoutWaitAppliedIndex,
		kverr.Unhealthy:                     rpctypes.ErrGRPCUnhealthy,
		kverr.Corrupt:                       rpctypes.ErrGRPCCorrupt,
		kverr.NotSupportedForLearner:        rpctypes.ErrGRPCNotSupportedForLearner,
		kverr.BadLeaderTransferee:           rpctypes.ErrGRPCBadLeaderTransferee,
		kverr.WrongDowngradeVersionFormat:   rpctypes.ErrGRPCWrongDowngradeVersionFormat,
		kverr.InvalidDowngradeTargetVersion: rpctypes.ErrGRPCInvalidDowngradeTargetVersion,
		kverr.ClusterVersionUnavailable:     rpctypes.ErrGRPCClusterVersionUnavailable,
		kverr.DowngradeInProcess:            rpctypes.ErrGRPCDowngradeInProcess,
		kverr.NoInflightDowngrade:           rpctypes.ErrGRPCNoInflightDowngrade,
		kverr.Canceled:                      rpctypes.ErrGRPCCanceled,
		kverr.DeadlineExceeded:              rpctypes.ErrGRPCDeadlineExceeded,
	}
}

// sentAsUnknown lists the errors whose declared code is never sent.
func sentAsUnknown(e *kverr.Error) bool {
	return e == kverr.MemberNotEnoughStarted || e == kverr.TooManyRequests
}

func TestTextsAndCodesAreTheOfficialOnes(t *testing.T) {
	for ours, theirs := range official() {
		want := status.Convert(theirs)
		if ours.Text != want.Message() {
			t.Errorf("%s: text %q, want %q", ours.Symbol, ours.Text, want.Message())
		}
		wantCode := kverr.Code(want.Code())
		if sentAsUnknown(ours) {
			wantCode = kverr.CodeUnknown
		}
		if ours.Code != wantCode {
			t.Errorf("%s: code %v, want %v", ours.Symbol, ours.Code, wantCode)
		}
	}
}

func TestAllIsCompleteAndDistinct(t *testing.T) {
	symbols, texts := map[string]bool{}, map[string]bool{}
	for _, e := range kverr.All() {
		if symbols[e.Symbol] || texts[e.Text] {
			t.Errorf("%s (%q) is listed twice", e.Symbol, e.Text)
		}
		symbols[e.Symbol], texts[e.Text] = true, true
	}
	for e := range official() {
		if !symbols[e.Symbol] {
			t.Errorf("%s is missing in All", e.Symbol)
		}
	}
	if got, want := len(symbols), len(official())+3; got != want {
		t.Errorf("All has %d errors, want %d", got, want)
	}
}

func TestFromFindsWrappedErrors(t *testing.T) {
	wrapped := fmt.Errorf("applying entry 7: %w", kverr.Compacted)
	got, ok := kverr.From(wrapped)
	if !ok || got != kverr.Compacted {
		t.Fatalf("From(wrapped) = %v, %v", got, ok)
	}
	if !errors.Is(wrapped, kverr.Compacted) || errors.Is(wrapped, kverr.FutureRev) {
		t.Fatal("identity of a wrapped error is lost")
	}
	if got, ok := kverr.From(errors.New("other")); ok || got != nil {
		t.Fatalf("From(other) = %v, %v", got, ok)
	}
	if _, ok := kverr.From(nil); ok {
		t.Fatal("From(nil) found an error")
	}
}

func TestCodeNames(t *testing.T) {
	for _, e := range kverr.All() {
		if s := e.Code.String(); s == "" || s[0] < 'A' || s[0] > 'Z' {
			t.Errorf("%s: code name %q", e.Symbol, s)
		}
	}
	if got := kverr.Code(99).String(); got != "Code(99)" {
		t.Errorf("unknown code prints %q", got)
	}
}

func TestStatusText(t *testing.T) {
	for err, want := range map[error]string{
		kverr.PermissionDenied: "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
		errors.New("odd"):      "rpc error: code = Unknown desc = odd",
	} {
		if got := kverr.StatusText(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

package membership

import "github.com/quoin-kv/quoin/internal/kverr"

// RuleError is a configuration change that the rules refuse. Its text is what
// other members see, kverr.From(err) what clients see.
type RuleError struct {
	text   string
	client *kverr.Error
}

func (e *RuleError) Error() string { return e.text }

// Unwrap returns the error for clients.
func (e *RuleError) Unwrap() error { return e.client }

// The rules, compared by identity.
var (
	ErrIDRemoved       = &RuleError{"membership: ID removed", kverr.MemberNotFound}
	ErrIDExists        = &RuleError{"membership: ID exists", kverr.MemberExist}
	ErrIDNotFound      = &RuleError{"membership: ID not found", kverr.MemberNotFound}
	ErrPeerURLExists   = &RuleError{"membership: peerURL exists", kverr.PeerURLExist}
	ErrNotLearner      = &RuleError{"membership: can only promote a learner member", kverr.MemberNotLearner}
	ErrTooManyLearners = &RuleError{"membership: too many learner members in cluster", kverr.TooManyLearners}
)

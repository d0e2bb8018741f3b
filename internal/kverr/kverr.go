// Package kverr is the one table of the errors that clients can meet: for each
// its symbol, the gRPC code that is really sent, the exact text (clients
// recognise errors by text) and whether trying again makes sense.
//
// Rooms below the edges return these values, bare or wrapped with %w; the
// edges find them again with [From] and translate them to their protocol.
// Errors are compared by identity: use errors.Is(err, kverr.Compacted).
//
// The package imports no gRPC: [Code] repeats the numbers of the public gRPC
// specification.
package kverr

import (
	"errors"
	"strconv"
)

// Code is a numeric gRPC status code.
type Code uint32

// The codes of the gRPC specification.
const (
	CodeOK Code = iota
	CodeCanceled
	CodeUnknown
	CodeInvalidArgument
	CodeDeadlineExceeded
	CodeNotFound
	CodeAlreadyExists
	CodePermissionDenied
	CodeResourceExhausted
	CodeFailedPrecondition
	CodeAborted
	CodeOutOfRange
	CodeUnimplemented
	CodeInternal
	CodeUnavailable
	CodeDataLoss
	CodeUnauthenticated
)

// String returns the code's name as the gRPC specification spells it in Go.
func (c Code) String() string {
	names := [...]string{
		"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound",
		"AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted",
		"OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return "Code(" + strconv.FormatUint(uint64(c), 10) + ")"
}

// Retry says what a caller gains by sending the same request again.
type Retry uint8

const (
	// RetryNever: the same request fails again until somebody changes it or
	// the state it met.
	RetryNever Retry = iota
	// RetryLater: nothing was done; the same request can succeed later or on
	// another member.
	RetryLater
	// RetryIfRead: the outcome is unknown. A read can be repeated; a write may
	// have been done or may still be done.
	RetryIfRead
	// RetryAfterLogin: nothing was done; authenticate again, then repeat.
	RetryAfterLogin
)

// Error is one row of the table. Rows are shared and never modified; two
// errors are the same if their pointers are.
type Error struct {
	// Symbol is the row's name, for logs and metrics.
	Symbol string
	// Code is the gRPC code that is sent.
	Code Code
	// Text is the exact text that clients match.
	Text string
	// Retry is the advice for who sent the request.
	Retry Retry
}

// Error returns the exact client text.
func (e *Error) Error() string { return e.Text }

// From finds the table's error in err's chain. It reports false if there is
// none, also for a nil err; such an error is sent with [CodeUnknown] and its
// own text, except that context errors keep their own codes.
func From(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// StatusText is an error as gRPC's clients print it, for messages that carry one as text.
func StatusText(err error) string {
	code, text := CodeUnknown, err.Error()
	if known, ok := From(err); ok {
		code, text = known.Code, known.Text
	}
	return "rpc error: code = " + code.String() + " desc = " + text
}

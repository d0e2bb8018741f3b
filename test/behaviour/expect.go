package behaviour

import (
	"reflect"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// refusal is an error a client sees: clients map errors by their exact text.
type refusal struct {
	code codes.Code
	text string
}

func emptyKey() refusal {
	return refusal{codes.InvalidArgument, "etcdserver: key is not provided"}
}

func keyNotFound() refusal {
	return refusal{codes.InvalidArgument, "etcdserver: key not found"}
}

func valueProvided() refusal {
	return refusal{codes.InvalidArgument, "etcdserver: value is provided"}
}

func leaseProvided() refusal {
	return refusal{codes.InvalidArgument, "etcdserver: lease is provided"}
}

func tooManyOps() refusal {
	return refusal{codes.InvalidArgument, "etcdserver: too many operations in txn request"}
}

func duplicateKey() refusal {
	return refusal{codes.InvalidArgument, "etcdserver: duplicate key given in txn request"}
}

func invalidSort() refusal {
	return refusal{codes.InvalidArgument, "etcdserver: invalid sort option"}
}

func compacted() refusal {
	return refusal{codes.OutOfRange, "etcdserver: mvcc: required revision has been compacted"}
}

func futureRevision() refusal {
	return refusal{codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision"}
}

func leaseNotFound() refusal {
	return refusal{codes.NotFound, "etcdserver: requested lease not found"}
}

func leaseExists() refusal {
	return refusal{codes.FailedPrecondition, "etcdserver: lease already exists"}
}

func leaseTooLarge() refusal {
	return refusal{codes.OutOfRange, "etcdserver: too large lease TTL"}
}

func requestTooLarge() refusal {
	return refusal{codes.InvalidArgument, "etcdserver: request is too large"}
}

func noSpace() refusal {
	return refusal{codes.ResourceExhausted, "etcdserver: mvcc: database space exceeded"}
}

func corrupt() refusal {
	return refusal{codes.DataLoss, "etcdserver: corrupt cluster"}
}

// refused ends the case unless err is exactly the wanted refusal.
func (e *env) refused(err error, want refusal) {
	e.Helper()
	if err == nil {
		e.Fatalf("accepted, want %s %q", want.code, want.text)
	}
	got := refusal{status.Code(err), status.Convert(err).Message()}
	if got != want {
		e.Fatalf("refused with %s %q, want %s %q", got.code, got.text, want.code, want.text)
	}
}

// ok ends the case if err is set.
func (e *env) ok(err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("refused: %v", err)
	}
}

// equal ends the case unless got and want are deeply equal.
func (e *env) equal(what string, got, want any) {
	e.Helper()
	if !reflect.DeepEqual(got, want) {
		e.Fatalf("%s: got\n  %#v\nwant\n  %#v", what, got, want)
	}
}

// isTrue ends the case unless the condition holds.
func (e *env) isTrue(what string, condition bool) {
	e.Helper()
	if !condition {
		e.Fatalf("%s: want true", what)
	}
}

package workload

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
)

// class is what an answer says of the attempt that it answers.
type class int

const (
	done       class = iota // it took effect, now or by an earlier attempt under its key
	refused                 // it has no effect
	shed                    // it has no effect, and may be tried again
	open                    // it may have taken effect, or may yet
	unexpected              // the contract does not have this answer for the request
)

// The codes of the contract that decide something here.
const (
	codeOverloaded  = "overloaded"
	codeUnavailable = "unavailable"
	codeInFlight    = "idempotency-in-flight"
	codeKeyReused   = "idempotency-key-reused"
	codeBehind      = "read-model-behind"
	codeDeleted     = "customer-deleted"
	codeErased      = "customer-erased"
	codeNotFound    = "customer-not-found"
	codeInvalid     = "validation-failed"
)

// classify holds an answer against the contract. It is narrower than the
// contract where the clients are careful: a request of theirs is never
// malformed, so an answer that says so is as unexpected as one of 500.
func classify(op *history.Op, r *reply) class {
	switch {
	case r.err != nil && !r.sent:
		return shed
	case r.err != nil:
		return open
	case r.status == http.StatusServiceUnavailable && r.code == codeOverloaded:
		return shed // the contract: nothing was done
	case r.status == http.StatusServiceUnavailable && r.code == codeUnavailable:
		return open // the contract: a command may have happened
	case r.status == http.StatusServiceUnavailable && r.code == codeBehind && isRead(op):
		return refused
	case isRead(op):
		return classifyRead(op, r)
	case r.status == http.StatusConflict && r.code == codeInFlight && op.Key != "":
		return open
	case r.status == success(op.Kind):
		return classifySuccess(op, r)
	case slices.Contains(refusals(op), fmt.Sprint(r.status, " ", r.code)):
		return refused
	default:
		return unexpected
	}
}

func isRead(op *history.Op) bool { return !op.DryRun && !op.Command() }

func classifyRead(op *history.Op, r *reply) class {
	switch {
	case r.status == http.StatusOK && r.json(),
		r.status == http.StatusNotModified && op.IfNoneMatch != 0 && r.version() == op.IfNoneMatch:
		return done
	case r.status == http.StatusGone && (r.code == codeDeleted && op.Kind == history.Get || r.code == codeErased && op.Kind != history.History) && op.Customer != "":
		return done
	case r.status == http.StatusGone && r.code == codeDeleted && op.Kind == history.GetPast:
		return done // the customer was deleted in the very version asked for
	case r.status == http.StatusNotFound && r.code == codeNotFound && op.Customer != "":
		return refused
	default:
		return unexpected
	}
}

func success(kind history.Kind) int {
	switch kind {
	case history.Register, history.AddAddress:
		return http.StatusCreated
	case history.Delete:
		return http.StatusNoContent
	default:
		return http.StatusOK
	}
}

// classifySuccess tells whether a success is whole: a version, a token unless
// nothing was written, and a body unless the contract says that there is none.
func classifySuccess(op *history.Op, r *reply) class {
	dry := r.header.Get("Dry-Run") == "true"
	token := r.header.Get("Consistency-Token") != ""
	switch {
	case dry != op.DryRun, token == dry, r.version() < 1, op.Kind != history.Delete && !r.json():
		return unexpected
	case op.Repeats != 0 && op.Spoiled:
		return unexpected // another request under the same key
	default:
		return done
	}
}

// refusals are the answers that a command may be refused with.
func refusals(op *history.Op) []string {
	if op.Spoiled {
		return []string{"422 " + codeKeyReused, "410 " + codeErased}
	}
	may := []string{"410 " + codeErased}
	if op.Customer != "" {
		may = append(may, "404 "+codeNotFound)
	}
	switch op.Kind {
	case history.Delete, history.Erase, history.Restore:
	case history.Register:
		if op.Repeats == 0 {
			may = nil
		}
	default:
		may = append(may, "410 "+codeDeleted)
	}
	switch op.Kind {
	case history.Register, history.Change, history.Restore, history.Import:
		may = append(may, "409 email-taken", "409 external-id-taken")
	case history.ChangeAddress, history.RemoveAddress:
		may = append(may, "404 address-not-found")
	case history.AddAddress:
		may = append(may, "422 "+codeInvalid) // the 21st
	}
	if op.IfMatch != 0 {
		may = append(may, "412 version-mismatch")
	}
	return may
}

package audit

import (
	"bytes"
	"fmt"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
)

// checkRepeats is P4: under one key there is one effect and one answer, to
// whoever asks the same again; another request under it is refused.
func checkRepeats(ops []history.Op, log *Log, e effects) Verdict {
	v := Verdict{Promise: "P4", Check: "one key, one effect, one answer", Unit: "commands sent more than once"}
	again, spoiled := 0, 0
	for i := range ops {
		op := &ops[i]
		if op.Command() && op.Repeats == 0 && op.Attempts > 1 && op.Outcome == history.OK {
			v.Checked++ // that it has one effect is held by the checks of P1 and P2
		}
		if op.Repeats == 0 || op.DryRun {
			continue
		}
		if op.Repeats < 1 || op.Repeats > int64(len(ops)) {
			v.Violate("%s repeats call %d, which there is not", tell(op), op.Repeats)
			continue
		}
		first := &ops[op.Repeats-1]
		if op.Outcome == history.Unknown || op.Outcome == history.Pending || op.Status == 0 || op.Code == "overloaded" {
			continue // nobody has looked at it
		}
		v.Checked++
		switch {
		case op.Code == "customer-erased":
			if at := e.of[first]; log.Streams[at.customer] == nil || !log.Streams[at.customer].erased() {
				v.Violate("%s repeats call %d and is refused as erased, which the customer is not", tell(op), first.ID)
			}
		case op.Spoiled:
			spoiled++
			if op.Code != "idempotency-key-reused" {
				v.Violate("%s sends something else than call %d under its key and is answered %d %s", tell(op), first.ID, op.Status, op.Code)
			}
		case op.Status != first.Status || op.Version != first.Version || op.Customer != "" && first.Customer != "" && op.Customer != first.Customer || !bytes.Equal(op.Answer, first.Answer):
			again++
			v.Violate("%s repeats call %d, which was answered %d at version %d, and is answered %d %s at version %d", tell(op), first.ID, first.Status, first.Version, op.Status, op.Code, op.Version)
		default:
			again++
		}
	}
	v.Note = fmt.Sprintf("%d repeated on purpose, %d with another body", again, spoiled)
	return v
}

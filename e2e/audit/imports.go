package audit

import (
	"bytes"
	"encoding/json"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// unchanged tells the line of an import that was answered as one that found
// everything as it is.
func unchanged(op *history.Op) bool {
	return op.Kind == history.Import && bytes.Contains(op.Answer, []byte(`"unchanged"`))
}

// adopt ties lines of imports to what they did. A line has no key of its own,
// so what became of one without an answer can only be told by the customer's
// names: an effect that nobody else asked for is that of a line that names the
// customer, each line having one. A line that the service tried again by itself
// may have been answered as unchanged by the second attempt.
func adopt(ops []history.Op, log *Log, e effects) {
	type name struct{ kind, value string }
	lines := map[name][]*history.Op{}
	for i := range ops {
		op := &ops[i]
		if op.Kind != history.Import || op.Outcome == history.Refused || op.Outcome == history.OK && !unchanged(op) {
			continue
		}
		var body struct {
			ExternalID string `json:"external_id"`
		}
		_ = json.Unmarshal(op.Body, &body) // a line that is not one names nobody
		for _, n := range []name{{"email", canonical(op.Email)}, {"external_id", body.ExternalID}} {
			if n.value != "" {
				lines[n] = append(lines[n], op)
			}
		}
	}
	if len(lines) == 0 {
		return
	}
	taken := map[*history.Op]bool{}
	for _, s := range log.sorted() {
		for i := range s.Versions {
			c := log.Commands[s.Versions[i].CommandID]
			if e.mine[c.ID] || c.Scattered || c.Customer != s.ID || c.Last != s.Versions[i].Version {
				continue
			}
			var names []name
			for _, v := range []customer.Version{c.First - 1, c.Last} {
				if at := log.At(s.ID, v); at != nil {
					names = append(names, name{"email", at.State.Email().Canonical()}, name{"external_id", string(at.State.ExternalID())})
				}
			}
			for _, n := range names {
				if op := firstFree(lines[n], taken, s.ID, c.Last); op != nil {
					taken[op], e.mine[c.ID] = true, true
					if op.Outcome != history.OK {
						e.of[op] = effect{op: op, customer: s.ID, from: c.First - 1, to: c.Last, command: c.ID}
					}
					break
				}
			}
		}
	}
}

func firstFree(lines []*history.Op, taken map[*history.Op]bool, id customer.ID, last customer.Version) *history.Op {
	for _, op := range lines {
		if !taken[op] && (op.Outcome != history.OK || idOf(op.Customer) == id && op.Version >= int64(last)) {
			return op
		}
	}
	return nil
}

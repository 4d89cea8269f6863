package audit

import (
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// effect is what a command came to, by the log.
type effect struct {
	op       *history.Op
	customer customer.ID
	// from and to are the versions before and after it. They are equal where
	// nothing had to change.
	from, to customer.Version
	command  uuid.UUID
}

// effects ties the history's commands to the log: by the key each was sent
// with, else by the version that it was answered.
type effects struct {
	of   map[*history.Op]effect
	mine map[uuid.UUID]bool // commands of the log that clients of the history sent
}

func attribute(ops []history.Op, log *Log) effects {
	e := effects{of: map[*history.Op]effect{}, mine: map[uuid.UUID]bool{}}
	for i := range ops {
		op := &ops[i]
		if !op.Command() {
			continue
		}
		if f, ok := log.find(op); ok {
			e.of[op] = f
			e.mine[f.command] = true
		}
	}
	adopt(ops, log, e)
	return e
}

// find is what became of a command.
func (l *Log) find(op *history.Op) (effect, bool) {
	if r, ok := l.Records[op.Key]; ok && op.Key != "" {
		if op.Outcome == history.Refused {
			return effect{}, false
		}
		f := effect{op: op, customer: r.Customer, from: r.Version, to: r.Version, command: r.Command}
		if c := l.Commands[r.Command]; c != nil {
			f.from = c.First - 1
		}
		return f, true
	}
	if op.Key != "" || op.Outcome != history.OK {
		return effect{}, false
	}
	v := l.At(idOf(op.Customer), customer.Version(op.Version))
	if v == nil {
		return effect{}, false
	}
	f := effect{op: op, customer: idOf(op.Customer), from: v.Version, to: v.Version, command: v.CommandID}
	if unchanged(op) {
		f.command = uuid.Nil
	} else if c := l.Commands[v.CommandID]; c != nil && c.Last == v.Version {
		f.from = c.First - 1
	}
	return f, true
}

// checkAcknowledged is P1.
func checkAcknowledged(ops []history.Op, log *Log, e effects) Verdict {
	v := Verdict{Promise: "P1", Check: "acknowledged commands are in the log once, at the version answered", Unit: "commands"}
	nothing := 0
	owner := map[uuid.UUID]*history.Op{}
	for i := range ops {
		op := &ops[i]
		if !op.Command() || op.Outcome != history.OK {
			continue
		}
		v.Checked++
		f, ok := e.of[op]
		switch {
		case !ok:
			v.Violate("%s was answered %d at version %d and is not in the log", tell(op), op.Status, op.Version)
			continue
		case f.customer != idOf(op.Customer) || f.to != customer.Version(op.Version):
			v.Violate("%s was answered version %d of %s, in the log it is version %d of %s", tell(op), op.Version, op.Customer, f.to, f.customer)
			continue
		}
		if head := log.Head(f.customer); head == nil || head.Version < f.to {
			v.Violate("%s was answered version %d, which %s never came to", tell(op), f.to, f.customer)
			continue
		}
		c := log.Commands[f.command]
		switch {
		case c == nil:
			nothing++
			continue
		case c.Scattered:
			v.Violate("%s has its events in several places of the log", tell(op))
		case c.Last != f.to:
			v.Violate("%s was answered version %d, its last event is version %d", tell(op), f.to, c.Last)
		case owner[f.command] != nil && (owner[f.command].Key != op.Key || op.Key == ""):
			v.Violate("%s and %s were both answered for one effect", tell(op), tell(owner[f.command]))
		}
		owner[f.command] = op
	}
	v.Note = fmt.Sprintf("%d of them had nothing to change", nothing)
	return v
}

// checkWhole is P2 for what was refused, is unknown or was a rehearsal, and for
// every command that is in the log.
func checkWhole(ops []history.Op, log *Log, e effects) []Verdict {
	refused := Verdict{Promise: "P2", Check: "refused commands and dry runs left nothing", Unit: "commands"}
	unknown := Verdict{Promise: "P2", Check: "commands of unknown outcome are whole or nowhere", Unit: "commands"}
	kept := map[string]*history.Op{} // whose record it is
	for i := range ops {
		if op := &ops[i]; op.Key != "" && op.Command() && op.Outcome != history.Refused {
			kept[op.Key] = op
		}
	}
	took := 0
	for i := range ops {
		op := &ops[i]
		if op.Key == "" && (op.Command() || op.DryRun) && op.Outcome != history.OK {
			// Its trace could only be events without a command that is known: the
			// check for effects that nobody asked for finds them.
			if op.Outcome == history.Refused || op.DryRun {
				refused.Checked++
			} else {
				unknown.Checked++
			}
			continue
		}
		r, recorded := log.Records[op.Key]
		switch {
		case op.DryRun:
			refused.Checked++
			if recorded && kept[op.Key] == nil {
				refused.Violate("%s was a dry run and is in the log: version %d of %s", tell(op), r.Version, r.Customer)
			}
		case !op.Command():
		case op.Outcome == history.Unknown, op.Outcome == history.Pending:
			unknown.Checked++
			f, ok := e.of[op]
			if !ok {
				continue
			}
			took++
			c := log.Commands[f.command]
			if head := log.Head(f.customer); head == nil || head.Version < f.to {
				unknown.Violate("%s is recorded at version %d of %s, which it never came to", tell(op), f.to, f.customer)
			} else if c != nil && (c.Scattered || c.Last != f.to || c.Customer != f.customer) {
				unknown.Violate("%s is in the log in parts: recorded at version %d, events up to %d of %s", tell(op), f.to, c.Last, c.Customer)
			}
		case op.Outcome == history.Refused:
			refused.Checked++
			if recorded && kept[op.Key] == nil {
				refused.Violate("%s was refused with %d %s and is in the log: version %d of %s", tell(op), op.Status, op.Code, r.Version, r.Customer)
			}
		}
	}
	unknown.Note = fmt.Sprintf("%d of them took effect", took)
	return []Verdict{refused, unknown}
}

// checkAttributed is P2 and P4 from the log's side: nothing is in it that
// nobody asked for. others are customers that the load knows nothing of.
func checkAttributed(ops []history.Op, log *Log, e effects) Verdict {
	v := Verdict{Promise: "P2, P4", Check: "every effect in the log was asked for once, and is whole", Unit: "commands in the log"}
	known, emails := map[customer.ID]bool{}, map[string]bool{}
	for i := range ops {
		op := &ops[i]
		if id := idOf(op.Customer); id != uuid.Nil {
			known[id] = true
		}
		if f, ok := e.of[op]; ok {
			known[f.customer] = true
		}
		if op.Command() && op.Email != "" {
			emails[op.Email] = true
		}
	}
	others := 0
	for _, s := range log.sorted() {
		registered := held(s.Versions[0].State)
		theirs := known[s.ID] || registered != "" && emails[registered]
		if !theirs {
			others++
			continue
		}
		for at := 0; at < len(s.Versions); {
			c := log.Commands[s.Versions[at].CommandID]
			v.Checked++
			switch {
			case c.Scattered:
				v.Violate("version %d of %s: its command's events are in several places", at+1, s.ID)
			case !e.mine[c.ID]:
				v.Violate("versions %d to %d of %s (%s) were asked for by nobody who has an answer or a record of it", c.First, c.Last, s.ID, s.Versions[at].Type)
			}
			for at < len(s.Versions) && s.Versions[at].CommandID == c.ID {
				at++
			}
		}
	}
	v.Note = fmt.Sprintf("%d customers were not of the load", others)
	return v
}

// checkBeside is P2 for what is kept beside the events: claims, heads, keys.
func checkBeside(log *Log, digest func(domain string, parts ...[]byte) [32]byte) Verdict {
	v := Verdict{Promise: "P2, P10", Check: "claims, stream heads, keys and snapshots are what the events say", Unit: "rows"}
	wanted := map[claim]customer.ID{}
	for _, s := range log.sorted() {
		head := s.head()
		v.Checked++
		if log.Heads[s.ID] != head.Version {
			v.Violate("stream %s is at version %d, its last event is %d", s.ID, log.Heads[s.ID], head.Version)
		}
		if log.HasKey[s.ID] == s.erased() {
			v.Violate("customer %s is %s, and that it has a data key is %t", s.ID, head.State.Status(), log.HasKey[s.ID])
		}
		if at, ok := log.Snapshots[s.ID]; ok && (s.erased() || at > head.Version) {
			v.Violate("customer %s is %s at version %d and has a snapshot of version %d", s.ID, head.State.Status(), head.Version, at)
		}
		if !head.State.HoldsClaims() || !s.Opened {
			continue
		}
		for kind, value := range map[eventlog.ClaimKind][2]string{
			eventlog.ClaimEmail:      {"claim/email", head.State.Email().Canonical()},
			eventlog.ClaimExternalID: {"claim/external-id", string(head.State.ExternalID())},
		} {
			if value[1] == "" {
				continue
			}
			k := claim{kind, digest(value[0], []byte(value[1]))}
			v.Checked++
			if other, taken := wanted[k]; taken {
				v.Violate("customers %s and %s hold the same claim of kind %d", other, s.ID, kind)
			}
			wanted[k] = s.ID
			if log.Claims[k] != s.ID {
				v.Violate("the claim of kind %d of %s is held by %s", kind, s.ID, log.Claims[k])
			}
		}
	}
	for k, id := range log.Claims {
		if _, ok := wanted[k]; !ok {
			v.Violate("%s holds a claim of kind %d that its events do not give it", id, k.kind)
		}
	}
	for id := range log.Heads {
		if log.Streams[id] == nil {
			v.Violate("stream %s has no events", id)
		}
	}
	for id := range log.HasKey {
		if log.Streams[id] == nil {
			v.Violate("there is a data key of %s, who has no events", id)
		}
	}
	return v
}

// tell names an op for people who look for it in the history.
func tell(op *history.Op) string {
	where := op.Customer
	if where == "" {
		where = "a new customer"
	}
	return fmt.Sprintf("call %d (%s on %s, %s to %s)", op.ID, op.Kind, where, seconds(op.Call), seconds(op.Return))
}

// keysOf are the idempotency keys that clients sent.
func keysOf(ops []history.Op) map[string]bool {
	keys := make(map[string]bool, len(ops)/2)
	for i := range ops {
		if ops[i].Key != "" {
			keys[ops[i].Key] = true
		}
	}
	return keys
}

// byCustomer are the ops that name each customer, in the order of their calls.
func byCustomer(ops []history.Op, e effects) map[customer.ID][]*history.Op {
	all := map[customer.ID][]*history.Op{}
	for i := range ops {
		op := &ops[i]
		id := idOf(op.Customer)
		if f, ok := e.of[op]; ok {
			id = f.customer
		}
		if id != uuid.Nil {
			all[id] = append(all[id], op)
		}
	}
	for _, list := range all {
		slices.SortFunc(list, func(a, b *history.Op) int { return int(a.ID - b.ID) })
	}
	return all
}

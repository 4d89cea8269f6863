package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// An e-mail address is a lock that one customer at a time holds. Registering,
// changing and restoring take it, changing, deleting and erasing free it, and
// who is refused as email-taken saw that another customer held it.

// move is one call's part in who holds an address.
type move struct {
	op        *history.Op
	kind      moveKind
	customer  customer.ID
	call, ret int64
}

type moveKind byte

const (
	take moveKind = iota
	free
	refused
)

// emailModel is one address, one call after the other.
func emailModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return customer.ID{} },
		Step: func(state, input, _ any) (bool, any) {
			holder, m := state.(customer.ID), input.(*move) //nolint:forcetypeassert // ours
			nobody := customer.ID{}
			switch m.kind {
			case take:
				return holder == nobody, m.customer
			case free:
				return holder == m.customer, nobody
			default:
				return holder != nobody && (m.customer == nobody || holder != m.customer), holder
			}
		},
		DescribeOperation: func(input, _ any) string { return tell(input.(*move).op) }, //nolint:forcetypeassert // ours
	}
}

// moves are the calls of every address, from what the log says of each customer.
func moves(ops []history.Op, log *Log, e effects) (byEmail map[string][]*move, unknown int) {
	byEmail = map[string][]*move{}
	writer := map[effectKey]*history.Op{}
	for op, f := range e.of {
		if f.from != f.to && op.Repeats == 0 {
			for v := f.from + 1; v <= f.to; v++ {
				writer[effectKey{f.customer, v}] = op
			}
		}
	}
	for _, s := range log.sorted() {
		before := ""
		// Backwards first: a call that has no answer ended no later than the next
		// one on its customer that has.
		ends := make([]int64, len(s.Versions)+1)
		ends[len(s.Versions)] = never
		for i := len(s.Versions) - 1; i >= 0; i-- {
			ends[i] = ends[i+1]
			if op := writer[effectKey{s.ID, customer.Version(i + 1)}]; op != nil && op.Outcome == history.OK {
				ends[i] = min(ends[i], op.Return)
			}
		}
		for i := range s.Versions {
			now := held(s.Versions[i].State)
			if now == before {
				continue
			}
			op := writer[effectKey{s.ID, customer.Version(i + 1)}]
			if op == nil {
				op = &history.Op{Customer: s.ID.String()}
			}
			if before != "" {
				byEmail[before] = append(byEmail[before], &move{op: op, kind: free, customer: s.ID, call: op.Call, ret: ends[i]})
			}
			if now != "" {
				byEmail[now] = append(byEmail[now], &move{op: op, kind: take, customer: s.ID, call: op.Call, ret: ends[i]})
			}
			before = now
		}
	}
	for i := range ops {
		op := &ops[i]
		if op.Code != "email-taken" || op.Outcome != history.Refused || op.Kind == history.Import {
			continue
		}
		id := idOf(op.Customer)
		email := canonical(op.Email)
		if op.Kind == history.Restore { // which names none; the client only believes to know it
			email = deletedWith(log.Streams[id])
		}
		if email == "" {
			unknown++
			continue
		}
		byEmail[email] = append(byEmail[email], &move{op: op, kind: refused, customer: id, call: op.Call, ret: op.Return})
	}
	return byEmail, unknown
}

type effectKey struct {
	customer customer.ID
	version  customer.Version
}

func canonical(email string) string {
	if e, err := customer.ParseEmail(email); err == nil {
		return e.Canonical()
	}
	return strings.ToLower(email)
}

// deletedWith is the address that a customer had whenever it was deleted, or
// none where that was not always the same.
func deletedWith(s *Stream) string {
	if s == nil {
		return ""
	}
	only := ""
	for i := range s.Versions {
		state := s.Versions[i].State
		if state.Status() != customer.StatusDeleted {
			continue
		}
		switch email := state.Email().Canonical(); only {
		case "", email:
			only = email
		default:
			return ""
		}
	}
	return only
}

// checkEmails is P3 per e-mail address.
func checkEmails(ops []history.Op, log *Log, e effects) Verdict {
	v := Verdict{Promise: "P3", Check: "an e-mail address is held by one customer at a time, refused to others meanwhile and free otherwise", Unit: "calls"}
	byEmail, unknown := moves(ops, log, e)
	contended, undecided, most := 0, 0, 0
	emails := make([]string, 0, len(byEmail))
	for email := range byEmail {
		emails = append(emails, email)
	}
	slices.Sort(emails)
	for _, email := range emails {
		all := byEmail[email]
		v.Checked += int64(len(all))
		most = max(most, len(all))
		if len(all) > 1 {
			contended++
		}
		slices.SortStableFunc(all, func(a, b *move) int { return cmp.Or(cmp.Compare(a.call, b.call), cmp.Compare(a.kind, b.kind)) })
		ops := make([]porcupine.Operation, len(all))
		for i, m := range all {
			ops[i] = porcupine.Operation{ClientId: i, Input: m, Call: m.call, Return: m.ret}
		}
		verdict, info := porcupine.CheckOperationsVerbose(emailModel(), ops, modelPatience)
		switch verdict {
		case porcupine.Illegal:
			v.Violate("an address in no order of its %d calls: %s", len(all), describeMoves(all, info))
		case porcupine.Unknown:
			undecided++
		case porcupine.Ok:
		}
	}
	if undecided > 0 {
		v.Error = fmt.Sprintf("%d of %d addresses were not decided in %s", undecided, len(emails), modelPatience)
	}
	v.Note = fmt.Sprintf("%d addresses, %d of them with more than one call, at most %d on one; %d refusals name no address", len(emails), contended, most, unknown)
	return v
}

// describeMoves tells how far the calls of an address have an order, and which
// do not fit behind that.
func describeMoves(all []*move, info porcupine.LinearizationInfo) string {
	var longest []porcupine.Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, order := range partition {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	in := map[*move]bool{}
	for _, op := range longest {
		in[op.Input.(*move)] = true //nolint:forcetypeassert // ours
	}
	rest := slices.DeleteFunc(slices.Clone(all), func(m *move) bool { return in[m] })
	last := longest[max(0, len(longest)-4):]
	parts := make([]string, 0, 2*len(last))
	for _, op := range last {
		parts = append(parts, op.Input.(*move).String()) //nolint:forcetypeassert // ours
	}
	const shown = 6
	parts = append(parts, "after which none of these can come")
	for _, m := range rest[:min(shown, len(rest))] {
		parts = append(parts, m.String())
	}
	return strings.Join(parts, "; ")
}

func (m *move) String() string {
	return fmt.Sprintf("%s %s %s", m.customer, [...]string{"takes it by", "frees it by", "is refused it by"}[m.kind], tell(m.op))
}

package audit

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// A customer's history is checked as that of one register. Every write carries
// the versions before and after it, and every read the version it saw, so the
// order of writes is given, and a long history may be cut between two versions:
// the parts are linearizable one by one, and together if nothing in a later
// part ended before something in an earlier part began. So hot customers cost
// as little as others.

const never = math.MaxInt64

// act is one call on a customer, as the model takes it.
type act struct {
	op   *history.Op
	kind actKind
	// from and to are the versions before and after a write; both are the
	// version seen by a read.
	from, to customer.Version
	ifMatch  customer.Version // 0 for none
	status   customer.Status  // after it, as far as known
	content  digest           // of the document answered; zero where none was

	call, ret int64
}

type actKind byte

const (
	actWrite    actKind = iota
	actRead             // saw version from
	actMismatch         // 412: saw a version that is not ifMatch
)

// modelState is the customer as the model has it.
type modelState struct {
	version customer.Version
	status  customer.Status
	content digest
}

// customerModel is what commands and reads may come to on one customer, one
// after the other.
func customerModel(begin modelState) porcupine.Model {
	return porcupine.Model{
		Init:              func() any { return begin },
		Step:              func(state, input, _ any) (bool, any) { return step(state.(modelState), input.(*act)) }, //nolint:forcetypeassert // ours
		DescribeOperation: func(input, _ any) string { return tell(input.(*act).op) },                              //nolint:forcetypeassert // ours
	}
}

func step(s modelState, a *act) (bool, any) {
	none := digest{}
	switch a.kind {
	case actWrite:
		next := modelState{version: a.to, status: a.status, content: a.content}
		ok := s.version == a.from && (a.ifMatch == 0 || a.ifMatch == a.from) && follows(s.status, a.status)
		return ok, next
	case actMismatch:
		return s.version == a.from && s.version != a.ifMatch, s
	default:
		ok := s.version == a.from && (a.ifMatch == 0 || a.ifMatch == a.from) && (a.status == customer.StatusNone || a.status == s.status) &&
			(a.content == none || s.content == none || a.content == s.content)
		if ok && s.content == none {
			s.content = a.content
		}
		return ok, s
	}
}

// follows tells whether a customer may go from one status to another.
func follows(from, to customer.Status) bool {
	switch from {
	case customer.StatusErased:
		return false
	case customer.StatusNone:
		return live(to)
	default:
		return to != customer.StatusNone
	}
}

// acts are the calls on one customer that say something of it. Commands whose
// outcome is unknown are resolved by the log: what is in it took effect at some
// time after its call, what is not never did.
func acts(s *Stream, ops []*history.Op, e effects) (all []*act, reads int64) {
	covered := make([]bool, len(s.Versions)+1)
	status := func(v customer.Version) customer.Status {
		if v < 1 || int(v) > len(s.Versions) {
			return customer.StatusNone
		}
		return s.Versions[v-1].State.Status()
	}
	known := func(v customer.Version) digest {
		if v < 1 || int(v) > len(s.Versions) {
			return digest{}
		}
		return s.Versions[v-1].Document
	}
	for _, op := range ops {
		f, inLog := e.of[op]
		outcome := op.Outcome
		switch {
		case op.Repeats != 0: // has no effect of its own; what it answers is P4's
		case op.Command() && inLog && (outcome != history.OK || f.to == customer.Version(op.Version)):
			a := &act{op: op, from: f.from, to: f.to, ifMatch: customer.Version(op.IfMatch), status: status(f.to), content: known(f.to), call: op.Call, ret: op.Return}
			if outcome != history.OK {
				a.ret = never
			} else if answersDocument(op) {
				a.content = digestOf(op.Answer)
			}
			if a.kind = actRead; a.from != a.to {
				a.kind = actWrite
				for v := a.from + 1; v <= a.to && int(v) < len(covered); v++ {
					covered[v] = true
				}
			}
			all = append(all, a)
		case op.Command() && outcome == history.OK:
			// The log does not have it as it was answered: then it counts as the
			// client was told, and the history shows what that breaks.
			all = append(all, &act{
				op: op, kind: actWrite, from: customer.Version(op.Version) - 1, to: customer.Version(op.Version),
				ifMatch: customer.Version(op.IfMatch), status: status(customer.Version(op.Version)), call: op.Call, ret: op.Return,
			})
		case op.Command() && outcome == history.Refused && op.Code == "version-mismatch" && op.Version > 0:
			all = append(all, &act{
				op: op, kind: actMismatch, from: customer.Version(op.Version), to: customer.Version(op.Version),
				ifMatch: customer.Version(op.IfMatch), call: op.Call, ret: op.Return,
			})
		case op.Kind == history.Get && op.Outcome == history.OK && op.Version > 0 && (op.Status == 200 || op.Status == 304):
			// A read may be of any moment before its answer that is not before its
			// token, which the check of tokens holds it to.
			reads++
			a := &act{op: op, kind: actRead, from: customer.Version(op.Version), to: customer.Version(op.Version), call: 0, ret: op.Return}
			if t := demanded(op, s.ID); t > a.from {
				a.ifMatch = t // cannot be met at the version it saw
			}
			if op.Status == 200 {
				a.content = digestOf(op.Answer)
			}
			all = append(all, a)
		}
	}
	// What nobody is known to have asked for happened all the same, at any time.
	for v := 1; v <= len(s.Versions); v++ {
		if !covered[v] {
			to := customer.Version(v)
			all = append(all, &act{op: &history.Op{Customer: s.ID.String()}, kind: actWrite, from: to - 1, to: to, status: status(to), content: known(to), ret: never})
		}
	}
	return all, reads
}

func answersDocument(op *history.Op) bool {
	return len(op.Answer) > 0 && op.Kind != history.Erase && op.Kind != history.Import && op.Status < 300
}

// thin leaves of the reads of one version those which ask most: of equal
// content, any other one is possible where these are.
func thin(all []*act) []*act {
	type group struct {
		kind             actKind
		version, ifMatch customer.Version
		content          digest
		status           customer.Status
	}
	latest, earliest := map[group]*act{}, map[group]*act{}
	var out []*act
	for _, a := range all {
		if a.kind == actWrite {
			out = append(out, a)
			continue
		}
		g := group{a.kind, a.from, a.ifMatch, a.content, a.status}
		if have := latest[g]; have == nil || a.call > have.call {
			latest[g] = a
		}
		if have := earliest[g]; have == nil || a.ret < have.ret {
			earliest[g] = a
		}
	}
	for g, a := range latest {
		out = append(out, a)
		if earliest[g] != a {
			out = append(out, earliest[g])
		}
	}
	slices.SortFunc(out, func(a, b *act) int {
		return cmp.Or(cmp.Compare(a.to, b.to), cmp.Compare(a.kind, b.kind), cmp.Compare(a.call, b.call), cmp.Compare(a.op.ID, b.op.ID))
	})
	return out
}

// partSize is how many calls are given to the model at once at most, but for
// more of one version.
const partSize = 200

// checkCustomer tells what is wrong with one customer's history, or "", and
// whether the model came to an end.
func checkCustomer(all []*act, patience time.Duration) (wrong string, finished bool) {
	all = thin(all)
	// What was called last so far, among the acts of earlier versions.
	var (
		begin  modelState
		latest *act
	)
	for start := 0; start < len(all); {
		end := start
		for end < len(all) && (end-start < partSize || all[end].to == all[end-1].to) {
			end++
		}
		part := all[start:end]
		for _, a := range part {
			if latest != nil && a.ret < latest.call {
				return fmt.Sprintf("%s is of version %d, and had ended when %s began, which is of version %d", tell(a.op), a.to, tell(latest.op), latest.to), true
			}
		}
		switch porcupine.CheckOperationsTimeout(customerModel(begin), operations(part), patience) {
		case porcupine.Illegal:
			return fmt.Sprintf("calls on versions %d to %d in no order give what was answered: %s", part[0].to, part[len(part)-1].to, describe(part)), true
		case porcupine.Unknown:
			return "", false
		case porcupine.Ok:
		}
		for _, a := range part {
			if latest == nil || a.call > latest.call {
				latest = a
			}
			if a.kind == actWrite {
				begin = modelState{version: a.to, status: a.status, content: a.content}
			}
		}
		start = end
	}
	return "", true
}

func operations(part []*act) []porcupine.Operation {
	ops := make([]porcupine.Operation, len(part))
	for i, a := range part {
		ops[i] = porcupine.Operation{ClientId: i, Input: a, Call: a.call, Return: a.ret}
	}
	return ops
}

// describe names the first calls of a part that the model cannot order.
func describe(part []*act) string {
	text := ""
	for i, a := range part {
		if i == 6 {
			return text + "; …"
		}
		if i > 0 {
			text += "; "
		}
		text += fmt.Sprintf("%s from %d to %d", tell(a.op), a.from, a.to)
	}
	return text
}

// modelPatience is for one part of one history; a part takes microseconds.
const modelPatience = 10 * time.Second

// checkLinear is P3 per customer.
func checkLinear(ops []history.Op, log *Log, e effects) Verdict {
	v := Verdict{Promise: "P3", Check: "commands and reads of one customer are linearizable", Unit: "calls"}
	var (
		mu               sync.Mutex
		hottest, reads   int64
		calls            = byCustomer(ops, e)
		queue            = make(chan *Stream)
		workers          sync.WaitGroup
		unfinished       int
		customersChecked int
	)
	for range min(runtime.NumCPU(), 4) {
		workers.Go(func() {
			for s := range queue {
				all, seenBy := acts(s, calls[s.ID], e)
				wrong, finished := checkCustomer(all, modelPatience)
				mu.Lock()
				v.Checked += int64(len(all))
				reads += seenBy
				customersChecked++
				hottest = max(hottest, int64(len(all)))
				if wrong != "" {
					v.Violate("customer %s: %s", s.ID, wrong)
				}
				if !finished {
					unfinished++
				}
				mu.Unlock()
			}
		})
	}
	for _, s := range log.sorted() {
		if len(calls[s.ID]) > 0 {
			queue <- s
		}
	}
	close(queue)
	workers.Wait()
	slices.Sort(v.Violations)
	// Calls on customers that the log does not have can have no order at all.
	for id, list := range calls {
		for _, op := range list {
			if log.Streams[id] == nil && op.Outcome == history.OK && op.Version > 0 && !op.DryRun {
				v.Violate("%s was answered version %d of a customer that the log does not have", tell(op), op.Version)
				break
			}
		}
	}
	if unfinished > 0 {
		v.Error = fmt.Sprintf("%d of %d histories were not decided in %s", unfinished, customersChecked, modelPatience)
	}
	v.Note = fmt.Sprintf("%d customers, %d of the calls reads, at most %d calls on one", customersChecked, reads, hottest)
	return v
}

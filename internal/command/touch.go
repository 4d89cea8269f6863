package command

import (
	"hash/maphash"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// touch stands for a customer, a claim or an idempotency key that an Append
// may not share with another one with the log at the same time. It is a hash:
// two things that collide wait for each other without need, and no harm is done.
type touch uint64

var touchSeed = maphash.MakeSeed()

func touchesOf(item eventlog.Append) []touch {
	out := make([]touch, 0, 2+len(item.Take)+len(item.Free))
	out = append(out, touch(maphash.Bytes(touchSeed, item.CustomerID[:])))
	for _, c := range item.Take {
		out = append(out, touch(maphash.Comparable(touchSeed, c)))
	}
	for _, c := range item.Free {
		out = append(out, touch(maphash.Comparable(touchSeed, c)))
	}
	if i := item.Idempotency; i != nil {
		out = append(out, touch(maphash.Comparable(touchSeed, [2]string{i.Principal, i.Key})))
	}
	return out
}

// touched is a set of touches.
type touched map[touch]struct{}

func (t touched) any(touches []touch) bool {
	for _, k := range touches {
		if _, ok := t[k]; ok {
			return true
		}
	}
	return false
}

func (t touched) add(touches []touch) {
	for _, k := range touches {
		t[k] = struct{}{}
	}
}

func (t touched) remove(touches []touch) {
	for _, k := range touches {
		delete(t, k)
	}
}

package imports

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/ebrahem-outlook/customer-service/internal/command"
)

// A batch goes through two phases.
//
// First, while batches before it are still under way, its lines are registered
// as if their names were free, which in a first import they are: nothing is
// looked up, and the claims in the log have the last word.
//
// Then, when every batch before it has ended, what could not be registered is
// looked up and merged or registered, in the order of the file.
//
// A line that shares a name with a line before it that has not ended goes to
// the second phase at once. So does every line while more than a few names
// turn out to be taken: it would have been sealed in vain.

// run is one import under way.
type run struct {
	*Importer
	req    command.Request
	cancel context.CancelCauseFunc
	held   *held
	slots  chan struct{} // one for each batch between forming and its results being taken
	eager  atomic.Bool   // whether the first phase is worth trying
}

// read hands on what src gives. The end of the file is a closed channel; any
// other error ends the import.
func (r *run) read(ctx context.Context, src Source) <-chan Record {
	records := make(chan Record, r.cfg.Batch)
	go func() {
		defer close(records)
		for {
			rec, err := src.Next()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					r.cancel(err)
				}
				return
			}
			select {
			case records <- rec:
			case <-ctx.Done():
				return
			}
		}
	}()
	return records
}

// dispatch makes batches of records and starts them. It closes batches when
// there will be no more.
func (r *run) dispatch(ctx context.Context, records <-chan Record, batches chan<- *batch) {
	defer close(batches)
	entered, ended := closed(), closed()
	for {
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		b := r.form(ctx, records)
		if b == nil {
			return
		}
		after, behind := entered, ended
		entered, ended = b.entered, b.done
		batches <- b // has room for as many as there are slots
		go func() {
			defer close(b.done)
			r.carryOut(ctx, b, after, behind)
		}()
	}
}

// form waits for a record and takes with it what else has arrived.
func (r *run) form(ctx context.Context, records <-chan Record) *batch {
	b := &batch{entered: make(chan struct{}), done: make(chan struct{})}
	size := 0
	add := func(rec Record, ok bool) bool {
		if ok {
			size += len(rec.Text)
			b.items = append(b.items, item{result: Result{Record: rec}})
		}
		return ok && len(b.items) < r.cfg.Batch && size < r.cfg.BatchBytes
	}
	select {
	case rec, ok := <-records:
		if !ok {
			return nil
		}
		for more := add(rec, ok); more; {
			select {
			case rec, ok := <-records:
				more = add(rec, ok)
			default:
				more = false
			}
		}
		return b
	case <-ctx.Done():
		return nil
	}
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// batch is lines that are carried out together.
type batch struct {
	items   []item
	entered chan struct{} // closed when its names are held
	done    chan struct{} // closed when it has ended
	err     error         // why not all of it is settled
}

// settled are the results up to the first line that has none.
func (b *batch) settled() []Result {
	out := make([]Result, 0, len(b.items))
	for i := range b.items {
		if b.items[i].result.Status == "" {
			break
		}
		out = append(out, b.items[i].result)
	}
	return out
}

// item is one line of a batch. Without a status in its result it is still to
// be carried out.
type item struct {
	result Result
	line   Line
	names  names
	tries  int // in vain, because what was looked up had changed
	// waited tells that another line with one of its names was not yet done.
	waited bool
}

func (it *item) open() bool { return it.result.Status == "" }

func (it *item) fail(err error) { it.result.Status, it.result.Err = Failed, err }

func (it *item) succeed(status Status, res command.Result) {
	it.result.Status, it.result.ID, it.result.Version = status, res.Data.ID, res.Data.Version
}

// held counts the lines under way by the names they have.
type held struct {
	seed  maphash.Seed
	mu    sync.Mutex
	lines map[name]int
}

func newHeld() *held { return &held{seed: maphash.MakeSeed(), lines: make(map[name]int)} }

// enter takes the names of a batch and marks the lines that must wait for one
// before them, in this batch or an earlier one.
func (h *held) enter(items []item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range items {
		it := &items[i]
		if !it.open() {
			continue
		}
		for _, n := range it.names {
			if n != 0 {
				it.waited = it.waited || h.lines[n] > 0
				h.lines[n]++
			}
		}
	}
}

func (h *held) leave(items []item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range items {
		for _, n := range items[i].names {
			if n == 0 {
				continue
			}
			if h.lines[n]--; h.lines[n] == 0 {
				delete(h.lines, n)
			}
		}
	}
}

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Fault is one kind of fault and what it can strike.
type Fault struct {
	// Kind is as in kill or purge-queues. Several faults of a catalogue may have
	// the same one, when they strike different kinds of targets.
	Kind string
	// Targets are what it strikes one of, as in command-api-1.
	Targets []string
	// Touches are the processes and services that must not be broken in another
	// way at the same time; the target itself when nil.
	Touches func(target string) []string
	// Alone keeps it from ever overlapping with another.
	Alone bool
	// Least and Most bound how long it lasts; 0.2 and 6 s when zero.
	Least, Most time.Duration
	// Inject breaks something and returns at once, having told in how to put it
	// right again. ctx ends when the run is to end. What it draws, it draws
	// from in.Rand.
	Inject func(ctx context.Context, in *Injection) error
}

// name is the kind and what it strikes, for messages about the catalogue.
func (f *Fault) name() string { return fmt.Sprintf("%s %v", f.Kind, f.Targets) }

func (f *Fault) touches(target string) []string {
	if f.Touches == nil {
		return []string{target}
	}
	return f.Touches(target)
}

func (f *Fault) lasts(rnd *rand.Rand) time.Duration {
	least, most := f.Least, f.Most
	if least == 0 {
		least = 200 * time.Millisecond
	}
	if most == 0 {
		most = max(least, 6*time.Second)
	}
	return least + time.Duration(rnd.Int64N(int64(most-least)+1))
}

// Injection is one fault under way. Its methods may be called from any goroutine.
type Injection struct {
	Target string
	For    time.Duration // how long it is to last
	Rand   *rand.Rand    // its own, from the run's seed

	ctx    context.Context // ends when it is to be healed
	end    context.CancelFunc
	during sync.WaitGroup

	mu      sync.Mutex
	undo    []func(context.Context) error
	settle  []func(context.Context) error
	detail  []string
	missed  []string
	failure error
}

// Undo registers what puts right again what is about to be broken. Call it
// before breaking anything; undoing what did not happen must be no error. The
// last one registered is called first.
func (in *Injection) Undo(undo func(context.Context) error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.undo = append(in.undo, undo)
}

// During runs do for as long as the fault lasts: its context ends then, and do
// is waited for before anything is undone. Its error fails the run, unless it is
// that of its context.
func (in *Injection) During(do func(context.Context) error) {
	in.during.Go(func() {
		if err := do(in.ctx); err != nil && in.ctx.Err() == nil {
			in.mu.Lock()
			in.failure = errors.Join(in.failure, err)
			in.mu.Unlock()
		}
	})
}

// Settle registers what the next fault waits for once all has recovered.
func (in *Injection) Settle(settle func(context.Context) error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.settle = append(in.settle, settle)
}

// Say adds to the record's detail.
func (in *Injection) Say(format string, args ...any) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.detail = append(in.detail, fmt.Sprintf(format, args...))
}

// Violate records that the service did not do under the fault what it promises.
func (in *Injection) Violate(format string, args ...any) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.missed = append(in.missed, fmt.Sprintf(format, args...))
}

// heal ends the fault and puts everything right. It goes on after an error, so
// that as little as possible stays broken.
func (in *Injection) heal(ctx context.Context) error {
	in.end()
	in.during.Wait()
	in.mu.Lock()
	undo, errs := slices.Clone(in.undo), []error{in.failure}
	in.mu.Unlock()
	for _, u := range slices.Backward(undo) {
		errs = append(errs, u(ctx))
	}
	return errors.Join(errs...)
}

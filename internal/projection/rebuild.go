package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

const (
	// partEvents is about what one part of a rebuild folds, and so what a crash
	// makes it fold again, once a worker.
	partEvents = 5_000
	// maxParts bounds the table of parts; parts of a longer log are larger.
	maxParts = 10_000
	// samplesPerPart keeps parts within a factor of two or so of each other.
	samplesPerPart = 50
	// switchPause and switchPatience are between attempts to switch, and for all of them.
	switchPause    = 200 * time.Millisecond
	switchPatience = 10 * time.Minute
	// nearEnough is how many events the next generation may lack before it is
	// worth stopping the live lanes for the rest.
	nearEnough = 2_000
)

// RebuildConfig is how a rebuild runs. Zero values take the defaults named.
type RebuildConfig struct {
	Lanes   int   // as the projector has them; eventlog.DefaultLanes
	Workers int   // parts folded at once; 4
	Check   Check // CheckRows
}

// Progress is how far a rebuild is in its present phase. Done and Total count
// events, while indexing tables and indexes.
type Progress struct {
	Generation  int
	Phase       Phase
	Done, Total int64
	StartedAt   time.Time // of the rebuild, whichever process began it
	Resumed     bool
}

// Rebuild makes the next generation of the read model from the log while the
// live one serves, and puts it in its place. What it leaves when it is
// interrupted at any point, another one goes on with.
//
// Each part's customers are read from the log to their ends, so that some rows
// are ahead of their lane's checkpoint, which is where the lane was before the
// first part was read. Catching up passes over what such a row has already.
type Rebuild struct {
	p      *Projector // of the next generation; its cache is nobody's
	deps   Deps
	cfg    RebuildConfig
	next   NextGeneration
	log    CustomerLog
	passed map[customer.ID][]customer.Version

	parts   []Part
	altered []Part  // see NextGeneration
	read    counted // of each part, as it was last read

	state   RebuildState
	resumed bool
	phase   atomic.Value // Phase
	done    atomic.Int64
	total   atomic.Int64
}

// NewRebuild returns a rebuild that has not begun. Of d, neither Store nor
// Ledger nor Cache is used. next compares what it keeps if it can be a Comparer.
func NewRebuild(d Deps, next NextGeneration, log CustomerLog, c RebuildConfig) (*Rebuild, error) {
	if c.Workers == 0 {
		c.Workers = 4
	}
	if c.Check == "" {
		c.Check = CheckRows
	}
	if c.Workers < 1 || c.Workers > 64 {
		return nil, fmt.Errorf("projection: %d workers, want 1 to 64", c.Workers)
	}
	if next == nil || log == nil {
		return nil, errors.New("projection: something to rebuild with is missing")
	}
	r := &Rebuild{deps: d, cfg: c, next: next, log: log}
	r.enter(PhaseFilling, 0, 0)
	return r, nil
}

// Progress says how far it is. It may be called at any time.
func (r *Rebuild) Progress() Progress {
	return Progress{
		Generation: r.state.Generation, Phase: r.phase.Load().(Phase), //nolint:forcetypeassert // nothing else is stored
		Done: r.done.Load(), Total: r.total.Load(), StartedAt: r.state.StartedAt, Resumed: r.resumed,
	}
}

func (r *Rebuild) enter(p Phase, done, total int64) {
	r.done.Store(done)
	r.total.Store(total)
	r.phase.Store(p)
}

// Prepare begins a rebuild, or takes over the one that was begun.
func (r *Rebuild) Prepare(ctx context.Context) error {
	state, err := r.next.Resume(ctx)
	if err != nil {
		return err
	}
	if r.resumed = state != nil; r.resumed {
		r.state = *state
	} else if r.state, err = r.begin(ctx); err != nil {
		return err
	}
	if r.passed, err = r.next.PassedOver(ctx); err != nil {
		return err
	}
	d := r.deps
	d.Store, d.Ledger, d.Cache = r.next.Store(), noCache{}, noCache{}
	r.p, err = New(d, Config{Lanes: r.cfg.Lanes})
	r.enter(PhaseFilling, r.state.Done, r.state.Total)
	r.read = counted{through: eventlog.Position(r.state.Total), of: map[Part]Census{}}
	if err == nil {
		r.parts, err = r.next.Parts(ctx)
	}
	return err
}

func (r *Rebuild) begin(ctx context.Context) (RebuildState, error) {
	if err := errors.Join(r.next.Discard(ctx), r.next.DropOld(ctx)); err != nil {
		return RebuildState{}, err
	}
	// Before any part is read: see Rebuild.
	heads, err := r.deps.Log.LaneHeads(ctx)
	if err != nil {
		return RebuildState{}, fmt.Errorf("read lane heads: %w", err)
	}
	head, err := r.deps.Log.Head(ctx)
	if err != nil {
		return RebuildState{}, fmt.Errorf("read head: %w", err)
	}
	parts, err := cut(ctx, r.log, int64(head))
	if err != nil {
		return RebuildState{}, err
	}
	return r.next.Begin(ctx, int64(head), heads, parts)
}

// cut divides all customers there can be into parts of about as many events each.
func cut(ctx context.Context, log CustomerLog, events int64) ([]Part, error) {
	n := int(min(max(1, events/partEvents), maxParts))
	ids, err := log.Sample(ctx, n*samplesPerPart)
	if err != nil {
		return nil, err
	}
	var parts []Part
	first := customer.ID{}
	for i := 1; i < n && len(ids) > 0; i++ {
		bound := ids[i*len(ids)/n]
		if compareIDs(bound, first) <= 0 {
			continue
		}
		parts = append(parts, Part{Number: len(parts), First: first, Last: before(bound)})
		first = bound
	}
	last := customer.ID{}
	for i := range last {
		last[i] = 0xff
	}
	return append(parts, Part{Number: len(parts), First: first, Last: last}), nil
}

// Run fills, indexes and reads back, catches up, verifies and switches. It leaves the tables
// that were live before; see NextGeneration.DropOld.
func (r *Rebuild) Run(ctx context.Context) error {
	for _, step := range []struct {
		phase Phase
		do    func(context.Context) error
	}{
		{PhaseFilling, r.fill},
		{PhaseIndexing, r.index},
		{PhaseCatchingUp, r.catchUp},
		{PhaseVerifying, r.check},
		{PhaseSwitching, r.change},
	} {
		if err := r.next.Enter(ctx, step.phase); err != nil {
			return err
		}
		began := time.Now()
		if err := step.do(ctx); err != nil {
			return err
		}
		r.deps.Logger.DebugContext(ctx, "phase of the rebuild ended", "phase", string(step.phase), "seconds", time.Since(began).Seconds())
	}
	return nil
}

func (r *Rebuild) fill(ctx context.Context) error {
	parts, err := r.next.Unfilled(ctx)
	if err != nil {
		return err
	}
	r.enter(PhaseFilling, r.state.Done, r.state.Total)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.cfg.Workers)
	for _, part := range parts {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return r.fillPart(ctx, part)
		})
	}
	return group.Wait()
}

func (r *Rebuild) index(ctx context.Context) error {
	r.enter(PhaseIndexing, 0, 0)
	// Nothing changes the rows meanwhile.
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.readBack(ctx) })
	group.Go(func() error {
		return r.next.Index(ctx, func(done, total int) { r.enter(PhaseIndexing, int64(done), int64(total)) })
	})
	return group.Wait()
}

// catchUp applies what came since the parts were read, until little is left.
func (r *Rebuild) catchUp(ctx context.Context) error {
	for {
		heads, at, err := r.p.positions(ctx)
		if err != nil {
			return err
		}
		var furthest, lowest eventlog.Position
		behind := false
		for lane, head := range heads {
			furthest = max(furthest, head)
			if at[lane] < head {
				if !behind || at[lane] < lowest {
					lowest = at[lane]
				}
				behind = true
			}
		}
		if !behind || furthest-lowest < nearEnough {
			return nil
		}
		// Positions of all lanes in between: no lane has more than that to do.
		r.enter(PhaseCatchingUp, 0, int64(furthest-lowest))
		var group errgroup.Group
		group.SetLimit(healers)
		for _, l := range r.p.lanes {
			group.Go(func() error {
				n, err := l.catchUpTo(ctx, at[l.id], heads[l.id])
				r.done.Add(int64(n))
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
}

// change puts the next generation in the live one's place, as soon as there is
// a moment in which nobody is using the tables for long.
func (r *Rebuild) change(ctx context.Context) error {
	deadline := time.Now().Add(switchPatience)
	for attempt := 1; ; attempt++ {
		if err := errors.Join(r.catchUp(ctx), r.letGo(ctx)); err != nil {
			return err
		}
		r.enter(PhaseSwitching, 0, 0)
		err := r.next.Switch(ctx, r.p.reach)
		if err == nil || !errors.Is(err, ErrNotNow) && !errors.Is(err, ErrBehindLive) || time.Now().After(deadline) {
			return err
		}
		level := slog.LevelDebug
		if attempt%25 == 0 {
			level = slog.LevelWarn
		}
		r.deps.Logger.Log(ctx, level, "generations could not change places yet, will try again", "attempt", attempt, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(switchPause):
		}
	}
}

// letGo releases whom an operator released since the parts were read.
func (r *Rebuild) letGo(ctx context.Context) (err error) {
	if r.passed, err = r.next.PassedOver(ctx); err != nil || len(r.passed) == 0 {
		return err
	}
	parked, err := r.p.Parked(ctx)
	if err != nil {
		return err
	}
	for _, one := range parked {
		if !slices.Contains(r.passed[one.CustomerID], one.Version) {
			continue
		}
		if _, err := r.p.letGo(ctx, one.CustomerID, r.markPassedOver); err != nil {
			return err
		}
	}
	return nil
}

// reach brings every lane at least to where another generation's is.
func (p *Projector) reach(ctx context.Context, to []Checkpoint) error {
	_, at, err := p.positions(ctx)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(healers)
	for _, c := range to {
		if int(c.Lane) >= len(p.lanes) || at[c.Lane] >= c.Position {
			continue
		}
		group.Go(func() error {
			_, err := p.lanes[c.Lane].catchUpTo(ctx, at[c.Lane], c.Position)
			return err
		})
	}
	return group.Wait()
}

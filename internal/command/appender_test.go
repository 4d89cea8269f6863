package command_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// begin is the Append of a new customer's first event.
func begin(claims ...eventlog.Claim) eventlog.Append { return appendTo(newID(), 0, claims...) }

func newID() customer.ID { return uuid.Must(uuid.NewV7()) }

func appendTo(id customer.ID, expected customer.Version, claims ...eventlog.Claim) eventlog.Append {
	item := eventlog.Append{CustomerID: id, Expected: expected, Take: claims}
	if expected == 0 {
		item.NewKey = &eventlog.WrappedKey{Wrapped: []byte("wrapped"), KEK: "test"}
	}
	item.Events = []eventlog.Envelope{{
		EventID: newID(), CustomerID: id, Version: expected + 1, Type: "customer.registered", SchemaVersion: 1,
		Data: json.RawMessage(`{}`), Personal: []byte("sealed"), RecordedAt: time.Now().UTC().Truncate(time.Microsecond),
	}}
	return item
}

func emailClaim(n byte) eventlog.Claim {
	return eventlog.Claim{Kind: eventlog.ClaimEmail, Digest: [32]byte{n}}
}

// gate holds the calls of a probe until they are let through. It tells how many
// items each has.
type gate struct {
	entered chan int
	leave   chan struct{}
}

func newGate(p *probe) gate {
	g := gate{entered: make(chan int, 1000), leave: make(chan struct{})}
	p.onBefore(func(ctx context.Context, items []eventlog.Append) error {
		g.entered <- len(items)
		select {
		case <-g.leave:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", eventlog.ErrUnavailable, ctx.Err())
		}
	})
	return g
}

// eventually polls, for what gives no signal.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, time.Millisecond)
}

func TestBatchIsWhatQueuedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &probe{log: w.log}
	a := w.appender(p, command.AppenderConfig{MaxWait: patience, MaxBatch: 8, InFlight: 1})
	g := newGate(p)
	var group errgroup.Group
	submit := func() {
		group.Go(func() error { _, err := a.Append(t.Context(), begin()); return err })
	}
	submit()
	<-g.entered
	for range 20 {
		submit()
	}
	eventually(t, func() bool { return a.Queued() == 20 })
	close(g.leave)
	require.NoError(t, group.Wait())
	require.Equal(t, []int{1, 8, 8, 4}, p.sizes)
}

func TestWhatSharesACustomerOrClaimIsNeverTogether(t *testing.T) {
	t.Parallel()
	for _, inFlight := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("in flight=%d", inFlight), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := &probe{log: w.log}
			a := w.appender(p, command.AppenderConfig{MaxWait: patience, InFlight: inFlight, MaxBatch: 16})
			ids := []customer.ID{newID(), newID(), newID()}
			var group errgroup.Group
			for range 300 {
				group.Go(func() error {
					item := appendTo(ids[rand.IntN(len(ids))], 0, emailClaim(byte(rand.IntN(4))))
					if rand.IntN(2) == 0 {
						item = begin(emailClaim(byte(rand.IntN(4))))
					}
					_, err := a.Append(t.Context(), item)
					return err
				})
			}
			require.NoError(t, group.Wait())
			p.requireNoClash(t)
		})
	}
}

// While one waits for what is with the log, a worker without work must not give
// the other things it needs to those who came later.
func TestNobodyIsOvertakenForEver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &probe{log: w.log}
	a := w.appender(p, command.AppenderConfig{MaxWait: patience, MaxBatch: 4, InFlight: 2})
	g := newGate(p)
	var (
		group errgroup.Group
		order = make(chan string, 10)
	)
	submit := func(name string, item eventlog.Append) {
		before := a.Queued()
		group.Go(func() error {
			_, err := a.Append(t.Context(), item)
			order <- name
			return err
		})
		if name != "first" {
			eventually(t, func() bool { return a.Queued() == before+1 })
		}
	}
	x, y := emailClaim(1), emailClaim(2)
	submit("first", begin(x))
	<-g.entered
	submit("both", begin(x, y)) // waits for x, with y free
	submit("second", begin(x))
	submit("third", begin(y)) // must not take y away from "both"
	g.leave <- struct{}{}
	<-g.entered
	g.leave <- struct{}{}
	<-g.entered
	require.Equal(t, "first", <-order)
	require.Equal(t, "both", <-order)
	close(g.leave)
	require.NoError(t, group.Wait())
	require.Equal(t, []int{1, 1, 2}, p.sizes)
}

func TestOverloadIsShedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &probe{log: w.log}
	a := w.appender(p, command.AppenderConfig{MaxWait: patience, MaxQueue: 3, InFlight: 1})
	g := newGate(p)
	var group errgroup.Group
	submit := func() { group.Go(func() error { _, err := a.Append(t.Context(), begin()); return err }) }
	submit()
	<-g.entered
	for range 3 {
		submit()
	}
	eventually(t, func() bool { return a.Queued() == 3 })
	_, err := a.Append(t.Context(), begin())
	require.ErrorIs(t, err, command.ErrOverloaded)
	close(g.leave)
	require.NoError(t, group.Wait())
	require.Equal(t, 4, w.count("SELECT count(*) FROM eventlog.events"))
}

func TestQueuedTooLongIsNotDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &probe{log: w.log}
	a := w.appender(p, command.AppenderConfig{MaxWait: 100 * time.Millisecond, InFlight: 1})
	g := newGate(p)
	var group errgroup.Group
	group.Go(func() error { _, err := a.Append(t.Context(), begin()); return err })
	<-g.entered
	_, err := a.Append(t.Context(), begin())
	require.ErrorIs(t, err, command.ErrOverloaded)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = a.Append(ctx, begin())
	require.ErrorIs(t, err, command.ErrOverloaded)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, a.Queued())
	close(g.leave)
	require.NoError(t, group.Wait(), "longer with the log than MaxWait is no reason to fail")
	require.Equal(t, 1, w.count("SELECT count(*) FROM eventlog.events"))
}

func TestCancelledWithTheLogIsStillAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &probe{log: w.log}
	a := w.appender(p, command.AppenderConfig{})
	g := newGate(p)
	ctx, cancel := context.WithCancel(t.Context())
	var group errgroup.Group
	group.Go(func() error {
		o, err := a.Append(ctx, begin())
		if err == nil && o.Verdict != eventlog.Appended {
			err = fmt.Errorf("verdict %d", o.Verdict)
		}
		return err
	})
	<-g.entered
	cancel()
	close(g.leave)
	require.NoError(t, group.Wait())
}

func TestStopDrainsWhatWasAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &probe{log: w.log}
	a := w.appender(p, command.AppenderConfig{MaxWait: patience, MaxBatch: 2, InFlight: 1})
	g := newGate(p)
	var group errgroup.Group
	for range 7 {
		group.Go(func() error { _, err := a.Append(t.Context(), begin()); return err })
	}
	held := <-g.entered // one or two
	eventually(t, func() bool { return held+a.Queued() == 7 })
	group.Go(func() error { return a.Stop(t.Context()) })
	eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := a.Append(ctx, begin())
		require.ErrorIs(t, err, command.ErrOverloaded)
		return strings.Contains(err.Error(), "shutting down")
	})
	close(g.leave)
	require.NoError(t, group.Wait())
	require.NoError(t, a.Stop(t.Context()), "twice does nothing")
	require.Equal(t, 7, w.count("SELECT count(*) FROM eventlog.events"))
}

func TestStopGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &probe{log: w.log}
	a := w.appender(p, command.AppenderConfig{MaxWait: patience, MaxBatch: 1, InFlight: 1})
	g := newGate(p)
	errs := make(chan error, 2)
	submit := func() { _, err := a.Append(t.Context(), begin()); errs <- err }
	go submit()
	<-g.entered
	go submit()
	eventually(t, func() bool { return a.Queued() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, a.Stop(ctx), context.DeadlineExceeded)
	got := []error{<-errs, <-errs}
	require.True(t, slices.ContainsFunc(got, func(err error) bool { return errors.Is(err, command.ErrUnavailable) }), "with the log: unknown")
	require.True(t, slices.ContainsFunc(got, func(err error) bool { return errors.Is(err, command.ErrOverloaded) }), "queued: not done")
}

func TestOneItemsFaultIsItsOwn(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func() error{
		"error": func() error { return errors.New("refused") },
		"panic": func() error { panic("poison") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := &probe{log: w.log}
			a := w.appender(p, command.AppenderConfig{MaxWait: patience, InFlight: 1})
			poison := begin()
			g := newGate(p)
			errs := make(chan error, 1)
			var group errgroup.Group
			group.Go(func() error { _, err := a.Append(t.Context(), begin()); return err })
			<-g.entered
			go func() { _, err := a.Append(t.Context(), poison); errs <- err }()
			for range 20 {
				group.Go(func() error { _, err := a.Append(t.Context(), begin()); return err })
			}
			eventually(t, func() bool { return a.Queued() == 21 })
			p.onBefore(func(_ context.Context, items []eventlog.Append) error {
				if slices.ContainsFunc(items, func(i eventlog.Append) bool { return i.CustomerID == poison.CustomerID }) {
					return fault()
				}
				return nil
			})
			close(g.leave)
			require.NoError(t, group.Wait())
			require.Error(t, <-errs)
			require.Equal(t, 21, w.count("SELECT count(*) FROM eventlog.events"))
		})
	}
}

// A log that never answers costs each command its own time and no more.
func TestHungLogIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &probe{log: w.log}
	a := w.appender(p, command.AppenderConfig{
		MaxWait: 100 * time.Millisecond, InFlight: 1, AttemptTimeout: 50 * time.Millisecond, ResolveFor: 200 * time.Millisecond,
	})
	g := newGate(p)
	first := make(chan error, 1)
	go func() { _, err := a.Append(t.Context(), begin()); first <- err }()
	<-g.entered
	_, err := a.Append(t.Context(), begin())
	require.ErrorIs(t, err, command.ErrOverloaded, "queued behind it: certainly not done")
	err = <-first
	require.ErrorIs(t, err, command.ErrUnavailable)
	require.NotErrorIs(t, err, command.ErrOverloaded)
	close(g.leave)
	o, err := w.appender(p, command.AppenderConfig{}).Append(t.Context(), begin())
	require.NoError(t, err)
	require.Equal(t, eventlog.Appended, o.Verdict)
}

// A log that cannot be reached is answered for soon, as what it certainly did
// not do; once there was doubt, nothing that it says later ends that.
func TestUnreachableLogIsAnsweredSoon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &probe{log: w.log}
	a := w.appender(p, command.AppenderConfig{MaxWait: patience, ResolveFor: patience})
	p.onBefore(func(context.Context, []eventlog.Append) error {
		return fmt.Errorf("%w: connection refused", eventlog.ErrUntouched)
	})
	began := time.Now()
	_, err := a.Append(t.Context(), begin())
	require.ErrorIs(t, err, eventlog.ErrUntouched)
	require.Less(t, time.Since(began), patience/4)

	item := begin()
	began = time.Now()
	_, err = w.log.AppendBatch(t.Context(), []eventlog.Append{item}) // the first call commits, and its answer is lost
	require.NoError(t, err)
	calls := 0
	p.onBefore(func(context.Context, []eventlog.Append) error {
		if calls++; calls == 1 {
			return fmt.Errorf("%w: answer lost", eventlog.ErrUnavailable)
		}
		if time.Since(began) < 2*time.Second {
			return fmt.Errorf("%w: connection refused", eventlog.ErrUntouched)
		}
		return nil
	})
	o, err := a.Append(t.Context(), item)
	require.NoError(t, err, "it was committed all along")
	require.Equal(t, eventlog.Appended, o.Verdict)
}

// Connections break again and again, before, during and after commits; each
// command is answered with its own outcome all the same, and done once.
func TestBrokenConnectionsLoseNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	killer := w.db.Pool(t, "")
	p := &probe{log: w.log}
	a := w.appender(p, command.AppenderConfig{MaxWait: patience, InFlight: 2, ResolveFor: patience})
	var hidden atomic.Int32
	p.onAfter(func(o []eventlog.Outcome, err error) ([]eventlog.Outcome, error) {
		if err == nil && rand.IntN(4) == 0 {
			hidden.Add(1)
			return nil, fmt.Errorf("%w: answer lost", eventlog.ErrUnavailable)
		}
		return o, err
	})
	stop, killed := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				killed <- nil
				return
			case <-time.After(50 * time.Millisecond):
			}
			_, err := killer.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid()`)
			if err != nil {
				killed <- err
				return
			}
		}
	}()
	const commands = 400
	var group errgroup.Group
	for range crowd {
		group.Go(func() error {
			for range commands / crowd {
				o, err := a.Append(t.Context(), begin())
				if err != nil {
					return err
				}
				if o.Verdict != eventlog.Appended || o.Version != 1 {
					return fmt.Errorf("verdict %d at version %d", o.Verdict, o.Version)
				}
			}
			return nil
		})
	}
	err := group.Wait()
	close(stop)
	require.NoError(t, err)
	require.NoError(t, <-killed)
	require.Positive(t, hidden.Load())
	w.pool.Reset() // its idle connections are dead
	require.Equal(t, commands/crowd*crowd, w.count("SELECT count(*) FROM eventlog.events"))
}

func TestConfigurationFaults(t *testing.T) {
	t.Parallel()
	_, err := command.NewAppender(nil, nil, command.AppenderConfig{MaxBatch: -1, MaxWait: -1})
	require.ErrorContains(t, err, "MaxBatch")
	require.ErrorContains(t, err, "MaxWait")
	require.ErrorContains(t, err, "required")
	_, err = command.New(command.Deps{}, command.Config{CacheFor: -1})
	require.ErrorContains(t, err, "bound is negative")
	require.ErrorContains(t, err, "missing")
}

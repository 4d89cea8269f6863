package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
)

// Observer watches a cluster during a run, past every fault: it follows the log
// by position, GET /v1/events, and the exchange for other services with a
// durable queue of its own. It keeps keys of customers before they are erased.
type Observer struct {
	cluster  *cluster.Cluster
	ring     *privacy.Keyring
	pool     *pgxpool.Pool
	baseline Baseline

	cancel context.CancelFunc
	loops  sync.WaitGroup

	mu     sync.Mutex
	kept   map[customer.ID]privacy.SubjectKey
	served []seen   // the log, as it was first seen at each position
	late   []string // what was wrong with the order it was seen in
	feed   []notice
	feedBy []string // what was wrong with pages of the feed
	got    []notice // from the queue
	gotBy  []string
	had    map[eventlog.Position]bool // from the queue
	failed int                        // looks that a fault made impossible
}

// Observe takes the baseline and begins to watch. Call it once the cluster is
// ready and before anything is written.
func Observe(ctx context.Context, c *cluster.Cluster) (*Observer, error) {
	ring, err := privacy.LoadKeyring(c.KeysFile)
	if err != nil {
		return nil, fmt.Errorf("observe: %w", err)
	}
	cfg, err := pgxpool.ParseConfig(c.EventLogURL)
	if err != nil {
		return nil, fmt.Errorf("observe: %w", err)
	}
	cfg.MaxConns = 4
	cfg.ConnConfig.RuntimeParams["application_name"] = observerName
	cfg.ConnConfig.ConnectTimeout = 2 * time.Second
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("observe: %w", err)
	}
	o := &Observer{
		cluster: c, ring: ring, pool: pool,
		kept: map[customer.ID]privacy.SubjectKey{}, had: map[eventlog.Position]bool{},
	}
	if o.baseline, err = TakeBaseline(ctx, c); err == nil {
		err = o.bind()
	}
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("observe: %w", err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	o.cancel = cancel
	o.loops.Go(func() { o.repeat(running, 20*time.Millisecond, o.lookAtLog) })
	o.loops.Go(func() { o.repeat(running, 50*time.Millisecond, o.lookAtFeed) })
	o.loops.Go(func() { o.repeat(running, 100*time.Millisecond, o.consume) })
	return o, nil
}

const observerName = "audit observer"

// repeat looks again and again, at once while there is more.
func (o *Observer) repeat(ctx context.Context, every time.Duration, look func(context.Context) (more bool, err error)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		limited, cancel := context.WithTimeout(ctx, 5*time.Second)
		more, err := look(limited)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			o.mu.Lock()
			o.failed++
			o.mu.Unlock()
			timer.Reset(5 * every)
		case more:
			timer.Reset(0)
		default:
			timer.Reset(every)
		}
	}
}

// KeepKey keeps a copy of a customer's data key, so that its events can be
// opened after its erasure. It fails when there is none (any more), and while
// the log cannot be reached.
func (o *Observer) KeepKey(ctx context.Context, customerID string) error {
	id := idOf(customerID)
	o.mu.Lock()
	_, have := o.kept[id]
	o.mu.Unlock()
	if have {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var w eventlog.WrappedKey
	err := o.pool.QueryRow(ctx, `SELECT wrapped_key, kek FROM eventlog.subject_keys WHERE customer_id = $1`, id).Scan(&w.Wrapped, &w.KEK)
	if err != nil {
		return fmt.Errorf("keep the key of %s: %w", customerID, err)
	}
	// Unwrapped now: the key it is wrapped under may be retired later.
	key, err := o.ring.Unwrap(id, w)
	if err != nil {
		return fmt.Errorf("keep the key of %s: %w", customerID, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept[id] = key
	return nil
}

// hashed is all of an event that may never change, hashed by the server.
const hashed = `decode(md5(ROW(p.lane, e.id, e.customer_id, e.version, e.event_id, e.type, e.schema_version, e.slot, e.data, e.personal, e.metadata, e.recorded_at)::text), 'hex')`

const (
	lookAfter = `SELECT p.pos, ` + hashed + ` FROM eventlog.positions p LEFT JOIN eventlog.events e ON e.id = p.event WHERE p.pos > $1 ORDER BY p.pos LIMIT 2000`
	lookUpTo  = `SELECT p.pos, ` + hashed + ` FROM eventlog.positions p LEFT JOIN eventlog.events e ON e.id = p.event WHERE p.pos <= $1 ORDER BY p.pos`
)

func scanSeen(rows pgx.Rows, into *[]seen) error {
	var (
		pos  eventlog.Position
		hash []byte
	)
	_, err := pgx.ForEachRow(rows, []any{&pos, &hash}, func() error {
		if len(hash) != len(digest{}) {
			return errors.New("an event without a hash")
		}
		*into = append(*into, seen{pos, digest(hash)})
		return nil
	})
	return err
}

func (o *Observer) lookAtLog(ctx context.Context) (more bool, err error) {
	mark := o.mark()
	rows, err := o.pool.Query(ctx, lookAfter, mark)
	if err != nil {
		return false, err
	}
	var found []seen
	if err := scanSeen(rows, &found); err != nil {
		return false, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range found {
		if s.position != mark+1 {
			o.late = append(o.late, fmt.Sprintf("position %d was served when %d was not there", s.position, mark+1))
		}
		mark = s.position
	}
	o.served = append(o.served, found...)
	return len(found) == 2000, nil
}

// mark is the highest position served.
func (o *Observer) mark() eventlog.Position {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.served) == 0 {
		return 0
	}
	return o.served[len(o.served)-1].position
}

// Stop waits until the observer has seen everything, at most for as long as ctx
// lasts, and ends. Call it when the cluster is at rest. Stopping again does nothing.
func (o *Observer) Stop(ctx context.Context) error {
	var head eventlog.Position
	err := cluster.Poll(ctx, 50*time.Millisecond, func() bool {
		if o.pool.QueryRow(ctx, `SELECT coalesce(max(pos), 0) FROM eventlog.positions`).Scan(&head) != nil {
			return false
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.had) >= int(head) && len(o.feed) >= int(head) && len(o.served) >= int(head)
	})
	o.cancel()
	o.loops.Wait()
	o.pool.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		return fmt.Errorf("the observer saw %d events in the log, %d over HTTP and %d from its queue, of %d: %w", len(o.served), len(o.feed), len(o.had), head, err)
	}
	return nil
}

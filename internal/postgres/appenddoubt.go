package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// doubts remembers the backends whose connection broke while they had an
// append: one may still run it. Nearly always that is harmless, because the
// same items handed in again wait for it, or beat it for good. The exception
// is a taken claim: its holder may free it, and the forgotten append would then
// commit what the caller was told had failed.
type doubts struct {
	mu    sync.Mutex
	since map[uint32]time.Time // by process id
}

const (
	// doubtAge is when a backend is forgotten: far above the statement timeout
	// that ends it, so that a process id given out again does no harm.
	doubtAge = time.Minute
	// maxDoubts bounds the memory; a pool never has as many connections to lose.
	maxDoubts = 1024
)

func (d *doubts) add(pid uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since == nil {
		d.since = make(map[uint32]time.Time)
	}
	if pid != 0 && len(d.since) < maxDoubts {
		d.since[pid] = time.Now()
	}
}

// pending returns the backends in doubt and forgets the old ones.
func (d *doubts) pending() []int32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var pids []int32
	for pid, since := range d.since {
		if time.Since(since) > doubtAge {
			delete(d.since, pid)
			continue
		}
		pids = append(pids, int32(pid)) //nolint:gosec // process ids are positive int32 in PostgreSQL
	}
	return pids
}

func (d *doubts) settle(pids []int32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, pid := range pids {
		delete(d.since, uint32(pid)) //nolint:gosec // came from the map
	}
}

const (
	anyAlive = `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = ANY ($1))`
	// asLogin goes back from the role that the pool works under, which has no
	// rights over backends, to the login whose backends they are.
	asLogin = `SET LOCAL ROLE NONE`
	// endBackends spares who got a process id since and is of another login. Of
	// the same login it costs one connection, which its owner makes again.
	endBackends = `
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid))
  FROM pg_stat_activity WHERE pid = ANY ($1) AND pid <> pg_backend_pid() AND usename = session_user`
)

// maxSettleRuns gives a backend that does not end when told to about five
// seconds, which its statement timeout is by default.
const maxSettleRuns = 30

// certain tells whether outcomes may be reported. If not, every earlier attempt
// has ended by now and the batch is to be run once more; the error, which wraps
// ErrUnavailable, tells that one may still run.
func (l *Log) certain(ctx context.Context, outcomes []eventlog.Outcome) (bool, error) {
	taken := func(o eventlog.Outcome) bool { return o.Verdict == eventlog.ClaimTaken }
	if !slices.ContainsFunc(outcomes, taken) {
		return true, nil
	}
	for run := 1; ; run++ {
		pids := l.doubts.pending()
		if len(pids) == 0 {
			return run == 1, nil
		}
		if run == 1 {
			l.end(ctx, pids)
		}
		var alive bool
		if err := l.pool.QueryRow(ctx, anyAlive, pids).Scan(&alive); err == nil && !alive {
			l.doubts.settle(pids)
			return false, nil
		}
		if run == maxSettleRuns || !pause(ctx, run) {
			return false, fmt.Errorf("%w: an earlier attempt may still be running", eventlog.ErrUnavailable)
		}
	}
}

// end ends backends that have lost their client. Waiting for them would do as
// well, but a server that does not learn that the client is gone keeps one that
// has nothing to do for hours, and every taken claim would wait for it. Whether
// it worked shows in who is alive.
func (l *Log) end(ctx context.Context, pids []int32) {
	_ = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, asLogin); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, endBackends, pids)
		return err
	})
}

package audit

import (
	"context"
	"encoding/hex"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
)

// principal is who everybody is in a cluster without an issuer of tokens.
const principal = "dev"

const selectStreams = `
SELECT e.customer_id, e.version, e.event_id, e.type, e.schema_version, e.data, e.personal, e.metadata, e.recorded_at, coalesce(p.pos, 0)
  FROM eventlog.events e LEFT JOIN eventlog.positions p ON p.event = e.id
 WHERE e.customer_id >= $1 AND ($2::uuid IS NULL OR e.customer_id < $2)
 ORDER BY e.customer_id, e.version`

// readLog opens the whole log. keys are those of customers erased since; asked
// are the idempotency keys that clients sent.
func readLog(
	ctx context.Context, pool *pgxpool.Pool, ring *privacy.Keyring, kept map[customer.ID]privacy.SubjectKey, asked map[string]bool,
) (*Log, error) {
	l := newLog()
	wrapped, err := readKeys(ctx, pool)
	if err != nil {
		return nil, err
	}
	for id := range wrapped {
		l.HasKey[id] = true
	}
	bounds, err := cut(ctx, pool, 8*runtime.NumCPU())
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	group, part := errgroup.WithContext(ctx)
	group.SetLimit(min(runtime.NumCPU(), 4))
	for i, first := range bounds {
		var end *uuid.UUID
		if i+1 < len(bounds) {
			end = &bounds[i+1]
		}
		group.Go(func() error {
			r := reader{ring: ring, kept: kept, wrapped: wrapped, codec: eventlog.NewCodec()}
			streams, err := r.read(part, pool, first, end)
			mu.Lock()
			defer mu.Unlock()
			for _, s := range streams {
				l.add(s)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	if err := l.readBeside(ctx, pool, ring, asked); err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	return l, nil
}

// cut divides the customers into about n ranges of as many streams each, and
// answers where each begins.
func cut(ctx context.Context, pool *pgxpool.Pool, n int) ([]uuid.UUID, error) {
	rows, err := pool.Query(ctx, `
SELECT customer_id FROM (SELECT customer_id, row_number() OVER (ORDER BY customer_id) - 1 AS n, count(*) OVER () AS all_of FROM eventlog.streams) s
 WHERE n % greatest(1, all_of / $1) = 0 ORDER BY customer_id`, n)
	if err != nil {
		return nil, err
	}
	bounds, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil || len(bounds) == 0 {
		return []uuid.UUID{uuid.Nil}, err
	}
	bounds[0] = uuid.Nil // events without a stream too
	return bounds, nil
}

func readKeys(ctx context.Context, pool *pgxpool.Pool) (map[customer.ID]eventlog.WrappedKey, error) {
	keys := map[customer.ID]eventlog.WrappedKey{}
	rows, err := pool.Query(ctx, `SELECT customer_id, wrapped_key, kek FROM eventlog.subject_keys`)
	if err != nil {
		return nil, err
	}
	var (
		id customer.ID
		k  eventlog.WrappedKey
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &k.Wrapped, &k.KEK}, func() error {
		keys[id] = eventlog.WrappedKey{Wrapped: append([]byte(nil), k.Wrapped...), KEK: k.KEK}
		return nil
	})
	return keys, err
}

// reader opens one range of customers.
type reader struct {
	ring    *privacy.Keyring
	kept    map[customer.ID]privacy.SubjectKey
	wrapped map[customer.ID]eventlog.WrappedKey
	codec   *eventlog.Codec
}

func (r reader) read(ctx context.Context, pool *pgxpool.Pool, first uuid.UUID, end *uuid.UUID) ([]*Stream, error) {
	rows, err := pool.Query(ctx, selectStreams, first, end)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var (
		streams []*Stream
		events  []logged
		key     eventlog.Opener
		at      customer.ID
	)
	finish := func() error {
		if len(events) == 0 {
			return nil
		}
		s, err := newStream(at, events)
		streams, events = append(streams, s), events[:0]
		return err
	}
	for rows.Next() {
		var (
			env eventlog.Envelope
			pos eventlog.Position
			rec time.Time
		)
		if err := rows.Scan(&env.CustomerID, &env.Version, &env.EventID, &env.Type, &env.SchemaVersion,
			(*[]byte)(&env.Data), &env.Personal, &env.Metadata, &rec, &pos); err != nil {
			return nil, err
		}
		env.RecordedAt = rec.UTC()
		if env.CustomerID != at {
			if err := finish(); err != nil {
				return nil, err
			}
			at = env.CustomerID
			if key, err = r.key(at); err != nil {
				return nil, err
			}
		}
		entry, err := r.codec.Decode(env, key)
		if err != nil {
			return nil, fmt.Errorf("version %d of %s: %w", env.Version, at, err)
		}
		changed, err := eventlog.Changed(env)
		if err != nil {
			return nil, err
		}
		events = append(events, logged{position: pos, kind: env.Type, changed: changed, entry: entry})
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return streams, finish()
}

// key opens a customer's values: with the key of today, or the one that was
// kept before the erasure; nil when there is neither.
func (r reader) key(id customer.ID) (eventlog.Opener, error) {
	if w, ok := r.wrapped[id]; ok {
		return r.ring.Unwrap(id, w)
	}
	if k, ok := r.kept[id]; ok {
		return k, nil
	}
	return nil, nil //nolint:nilnil // the codec's way to say that the key is gone
}

// readBeside reads what the log keeps beside the events.
func (l *Log) readBeside(ctx context.Context, pool *pgxpool.Pool, ring *privacy.Keyring, asked map[string]bool) error {
	byDigest := make(map[string]string, len(asked))
	for k := range asked {
		sum := ring.Digest("idempotency-key", []byte(principal), []byte(k))
		byDigest[hex.EncodeToString(sum[:])] = k
	}
	rows, err := pool.Query(ctx, `SELECT key, customer_id, version, status, command_id FROM eventlog.idempotency WHERE principal = $1`, principal)
	if err != nil {
		return err
	}
	var (
		r    Record
		text string
		id   customer.ID
		v    customer.Version
		kind int16
		sum  []byte
	)
	if _, err = pgx.ForEachRow(rows, []any{&text, &r.Customer, &r.Version, &r.Status, &r.Command}, func() error {
		if key, ok := byDigest[text]; ok {
			l.Records[key] = r
		} else {
			l.Foreign++
		}
		return nil
	}); err != nil {
		return err
	}
	if rows, err = pool.Query(ctx, `SELECT kind, digest, customer_id FROM eventlog.claims`); err != nil {
		return err
	}
	if _, err = pgx.ForEachRow(rows, []any{&kind, &sum, &id}, func() error {
		l.Claims[claim{eventlog.ClaimKind(kind), [32]byte(sum)}] = id
		return nil
	}); err != nil {
		return err
	}
	for sql, into := range map[string]map[customer.ID]customer.Version{
		`SELECT customer_id, version FROM eventlog.streams`:   l.Heads,
		`SELECT customer_id, version FROM eventlog.snapshots`: l.Snapshots,
	} {
		if rows, err = pool.Query(ctx, sql); err != nil {
			return err
		}
		if _, err = pgx.ForEachRow(rows, []any{&id, &v}, func() error {
			into[id] = v
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

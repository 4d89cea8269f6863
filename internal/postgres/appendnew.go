package postgres

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// Many new customers at once, which is what an import has, are copied into the
// log's tables in one transaction that takes all of them or none. That costs
// PostgreSQL a third of what append_batch does, which has a verdict for each.
// Whatever stands in the way of one (a claim that is taken, a value that cannot
// be stored, a connection that breaks) sends the batch down the ordinary road,
// which finds out what became of each, in the first attempt too: the event ids
// are the same.
//
// What append_batch's other users rely on holds here as well. Waiting is in the
// same order: claims by digest, then new streams. Ids are drawn under the
// streams' locks, because their rows are in before the events; xid is the
// column's default.

const (
	// newFloor is how many registrations are worth the six round trips. A group
	// of requests that people wait for is never that large.
	newFloor = 256
	// ordinaryMost is how many items append_batch is given at once when a
	// larger batch comes its way. It compares some of them with each other.
	ordinaryMost = 512
)

// allNew tells whether items may be copied.
func allNew(items []eventlog.Append) bool {
	return len(items) >= newFloor && !slices.ContainsFunc(items, func(a eventlog.Append) bool {
		return a.Expected != 0 || len(a.Events) == 0 || len(a.Free) > 0 || a.NewKey == nil || a.DestroyKey || a.Idempotency != nil
	})
}

// appendNew is append for items that are allNew.
func (l *Log) appendNew(ctx context.Context, items []eventlog.Append) ([]eventlog.Outcome, error) {
	taken := make([]bool, len(items))
	left := items
	doubt := false
	for range 2 { // when claims are held, once more without those who want them
		cause := l.copyOnce(ctx, left)
		if cause == nil {
			return l.appendOthers(ctx, items, taken, false)
		}
		doubt = errors.Is(cause, errCommitLost)
		if !isTaken(cause) {
			break
		}
		var err error
		if left, taken, err = l.unclaimed(ctx, items); err != nil || len(left) < newFloor {
			break
		}
	}
	for i := range taken {
		taken[i] = true
	}
	return l.appendOthers(ctx, items, taken, doubt)
}

// unclaimed are the items none of whose claims anybody has at the moment, and
// which the others are.
func (l *Log) unclaimed(ctx context.Context, items []eventlog.Append) (free []eventlog.Append, taken []bool, err error) {
	taken = make([]bool, len(items))
	var claims []eventlog.Claim
	for i := range items {
		claims = append(claims, items[i].Take...)
	}
	holders, err := l.ClaimHolders(ctx, claims)
	if err != nil {
		return nil, taken, err
	}
	for i := range items {
		n := len(items[i].Take)
		taken[i] = slices.ContainsFunc(holders[:n], func(id customer.ID) bool { return id != uuid.Nil })
		holders = holders[n:]
		if !taken[i] {
			free = append(free, items[i])
		}
	}
	return free, taken, nil
}

// appendOthers brings the items marked down the ordinary road; the rest is
// committed.
func (l *Log) appendOthers(ctx context.Context, items []eventlog.Append, marked []bool, doubt bool) ([]eventlog.Outcome, error) {
	out := make([]eventlog.Outcome, len(items))
	var others []eventlog.Append
	var of []int
	for i := range items {
		out[i].Version = customer.Version(len(items[i].Events))
		if marked[i] {
			others, of = append(others, items[i]), append(of, i)
		}
	}
	untouched := len(others) == len(items) && !doubt
	for len(others) > 0 {
		n := min(len(others), ordinaryMost)
		outcomes, err := l.append(ctx, others[:n], doubt)
		if err != nil {
			if !untouched {
				// Whatever err knows does not hold for all.
				err = fmt.Errorf("%w: part of a batch: %s", eventlog.ErrUnavailable, err.Error())
			}
			return nil, err
		}
		untouched = false
		for j, o := range outcomes {
			out[of[j]] = o
		}
		others, of = others[n:], of[n:]
	}
	return out, nil
}

func isTaken(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == pgerrcode.UniqueViolation && pg.TableName == "claims"
}

// errCommitLost tells that a COMMIT was sent and not answered. Nothing else
// leaves it open what became of a transaction.
var errCommitLost = errors.New("commit not answered")

// The identity and the transaction id of an event are left to the columns' defaults.
const (
	copyClaims  = `COPY eventlog.claims (kind, digest, customer_id) FROM STDIN (FORMAT binary)`
	copyStreams = `COPY eventlog.streams (customer_id, version) FROM STDIN (FORMAT binary)`
	copyKeys    = `COPY eventlog.subject_keys (customer_id, wrapped_key, kek) FROM STDIN (FORMAT binary)`
	copyEvents  = `COPY eventlog.events (customer_id, version, event_id, type, schema_version, slot, data, personal, metadata, recorded_at) FROM STDIN (FORMAT binary)`
)

// copyOnce commits all of items or none.
func (l *Log) copyOnce(ctx context.Context, items []eventlog.Append) error {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, appendTimeout)
		defer cancel()
	}
	claims, streams, keys, events := copyRows(items)
	pooled, err := l.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoConnection, err)
	}
	defer pooled.Release() // destroys a connection that is still in a transaction, which ends that
	conn := pooled.Conn().PgConn()
	if err := conn.Exec(ctx, "BEGIN").Close(); err != nil {
		return err
	}
	for _, c := range []struct {
		sql  string
		rows *copyBuffer
	}{{copyClaims, claims}, {copyStreams, streams}, {copyKeys, keys}, {copyEvents, events}} {
		if _, err := conn.CopyFrom(ctx, bytes.NewReader(c.rows.finish()), c.sql); err != nil {
			return errors.Join(err, conn.Exec(ctx, "ROLLBACK").Close())
		}
	}
	crash.Here(crash.ImportBeforeCommit)
	results, err := conn.Exec(ctx, "COMMIT").ReadAll()
	switch {
	case err != nil && faultOf(err) != faultLost:
		return err // the server's own word that it was not committed
	case err != nil:
		l.doubts.add(conn.PID())
		return fmt.Errorf("%w: %w", errCommitLost, err)
	case len(results) != 1 || results[0].CommandTag.String() != "COMMIT":
		return errors.New("commit was answered with a rollback")
	}
	crash.Here(crash.ImportAfterCommit)
	return nil
}

// copyRows lays items out in the rows of the log's tables.
func copyRows(items []eventlog.Append) (claims, streams, keys, events *copyBuffer) {
	type claim struct {
		*eventlog.Claim
		item int
	}
	all := make([]claim, 0, 2*len(items))
	for i := range items {
		for j := range items[i].Take {
			all = append(all, claim{&items[i].Take[j], i})
		}
	}
	slices.SortFunc(all, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), bytes.Compare(a.Digest[:], b.Digest[:]))
	})
	claims = newCopyBuffer(len(all) * 72)
	for _, c := range all {
		claims.row(3)
		claims.int16(int16(c.Kind))
		claims.bytes(c.Digest[:])
		claims.bytes(items[c.item].CustomerID[:])
	}
	streams, keys, events = newCopyBuffer(len(items)*34), newCopyBuffer(len(items)*150), newCopyBuffer(len(items)*1024)
	for i := range items {
		item := &items[i]
		streams.row(2)
		streams.bytes(item.CustomerID[:])
		streams.int64(int64(len(item.Events)))
		keys.row(3)
		keys.bytes(item.CustomerID[:])
		keys.bytes(item.NewKey.Wrapped)
		keys.text(item.NewKey.KEK)
		slot := int16(eventlog.SlotOf(item.CustomerID))
		for j := range item.Events {
			events.event(&item.Events[j], slot)
		}
	}
	return claims, streams, keys, events
}

// copyBuffer makes what COPY reads in its binary format: a header, rows of
// fields that each begin with their length (-1 for null), and an end. Numbers
// are big-endian.
type copyBuffer struct{ b []byte }

func newCopyBuffer(size int) *copyBuffer {
	c := &copyBuffer{b: make([]byte, 0, size+32)}
	c.b = append(c.b, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...) // no flags, no extension
	return c
}

func (c *copyBuffer) finish() []byte { return append(c.b, 0xff, 0xff) }

func (c *copyBuffer) row(fields uint16) { c.b = binary.BigEndian.AppendUint16(c.b, fields) }

func (c *copyBuffer) size(n int) {
	c.b = binary.BigEndian.AppendUint32(c.b, uint32(n)) //nolint:gosec // -1 or a length in memory
}

// bytes appends a bytea or a uuid; nil is null, as for append_batch.
func (c *copyBuffer) bytes(v []byte) {
	if v == nil {
		c.size(-1)
		return
	}
	c.size(len(v))
	c.b = append(c.b, v...)
}

func (c *copyBuffer) text(v string) {
	c.size(len(v))
	c.b = append(c.b, v...)
}

func (c *copyBuffer) json(v []byte) {
	if v == nil {
		c.size(-1)
		return
	}
	c.size(1 + len(v))
	c.b = append(c.b, 1) // the version of jsonb's format, which is text
	c.b = append(c.b, v...)
}

func (c *copyBuffer) int16(v int16) {
	c.size(2)
	c.b = binary.BigEndian.AppendUint16(c.b, uint16(v)) //nolint:gosec // the same bits
}

func (c *copyBuffer) int64(v int64) {
	c.size(8)
	c.b = binary.BigEndian.AppendUint64(c.b, uint64(v)) //nolint:gosec // the same bits
}

// time appends a timestamptz: microseconds since 2000.
func (c *copyBuffer) time(v time.Time) {
	const epoch = 946_684_800_000_000
	c.int64(v.UnixMicro() - epoch)
}

func (c *copyBuffer) event(e *eventlog.Envelope, slot int16) {
	metadata, err := json.Marshal(e.Metadata)
	if err != nil {
		panic(fmt.Sprintf("marshal metadata: %v", err)) // strings and a UUID cannot fail
	}
	c.row(10)
	c.bytes(e.CustomerID[:])
	c.int64(int64(e.Version))
	c.bytes(e.EventID[:])
	c.text(e.Type)
	c.int16(e.SchemaVersion)
	c.int16(slot)
	c.json(e.Data)
	c.bytes(e.Personal)
	c.json(metadata)
	c.time(e.RecordedAt)
}

package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

const (
	// maxAppendRuns bounds how often one batch is handed in. Races converge at
	// once, because a loser's next run sees the winner; lost connections get
	// about half a second, and a caller with more patience calls again.
	maxAppendRuns = 8
	// appendTimeout bounds a run whose caller has no deadline. It is above the
	// server's own statement timeout, so it only ends what never answers.
	appendTimeout = 10 * time.Second
)

const appendBatch = `
SELECT o_verdict, o_version, o_claim, r_item, r_digest, r_customer, r_version, r_status, r_command, r_created
  FROM eventlog.append_batch(
       $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30)`

// The verdicts of append_batch.
const (
	rowAppended = iota
	rowAppendedBefore
	rowConflicted
	rowClaimTaken
	rowReplayed
)

// AppendBatch implements eventlog.Appender in one round trip and one
// single-statement transaction. A batch whose reply was lost is handed in
// again as it is, on another connection; its event ids tell whether the first
// attempt was committed.
func (l *Log) AppendBatch(ctx context.Context, items []eventlog.Append) ([]eventlog.Outcome, error) {
	if err := checkBatch(items); err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	if len(items) == 0 {
		return nil, nil
	}
	if allNew(items) {
		return l.appendNew(ctx, items)
	}
	return l.append(ctx, items, false)
}

// append has doubt set when an earlier run may have been committed.
func (l *Log) append(ctx context.Context, items []eventlog.Append, doubt bool) ([]eventlog.Outcome, error) {
	args := appendArgs(items)
	var (
		outcomes []eventlog.Outcome
		err      error
		lost     int // runs in a row that lost their connection
	)
	for run := 1; ; run++ {
		outcomes, err = l.appendOnce(ctx, items, args)
		switch faultOf(err) {
		case faultNone:
			if certain, unsettled := l.certain(ctx, outcomes); certain {
				return outcomes, nil
			} else if unsettled != nil {
				return nil, fmt.Errorf("append: %w", unsettled)
			}
			doubt, err = true, errors.New("an earlier attempt has only just ended")
		case faultData:
			return l.appendAround(ctx, items, doubt, err)
		case faultRace:
			lost = 0
		case faultLost:
			doubt = doubt || !errors.Is(err, errNoConnection)
			if lost++; lost == 2 {
				// One broken connection is an accident; after two, the idle
				// ones are probably as dead, and each would cost a run.
				l.pool.Reset()
			}
		case faultBusy:
			if !doubt {
				return nil, fmt.Errorf("append: %w: %w", eventlog.ErrUntouched, err)
			}
			return nil, logError("append", err)
		case faultOther:
			if doubt {
				err = fmt.Errorf("%w: %w", eventlog.ErrUnavailable, err)
			}
			return nil, fmt.Errorf("append: %w", err)
		}
		if run < maxAppendRuns && pause(ctx, run) {
			continue
		}
		if !doubt {
			return nil, fmt.Errorf("append: %w after %d runs: %w", eventlog.ErrUntouched, run, err)
		}
		return nil, fmt.Errorf("append: %w after %d runs: %w", eventlog.ErrUnavailable, run, err)
	}
}

// appendAround finds the items that the database refuses by halving the batch,
// and commits the others.
func (l *Log) appendAround(ctx context.Context, items []eventlog.Append, doubt bool, cause error) ([]eventlog.Outcome, error) {
	if len(items) == 1 {
		return []eventlog.Outcome{{Verdict: eventlog.Refused, Err: refusal(cause)}}, nil
	}
	half := len(items) / 2
	first, err := l.append(ctx, items[:half], doubt)
	if err != nil {
		return nil, err
	}
	second, err := l.append(ctx, items[half:], doubt)
	if err != nil {
		// The first half is committed, so whatever err knows does not hold for all.
		return nil, fmt.Errorf("%w: second half: %s", eventlog.ErrUnavailable, err.Error())
	}
	return append(first, second...), nil
}

// appendRow is what append_batch returns.
type appendRow struct {
	verdict  []int16
	version  []int64
	claim    []int16
	item     []int32
	digest   [][]byte
	customer []pgtype.UUID
	recorded []int64
	status   []int16
	command  []pgtype.UUID
	created  []time.Time
}

// errNoConnection tells that a run ended before anything was sent.
var errNoConnection = errors.New("no connection")

func (l *Log) appendOnce(ctx context.Context, items []eventlog.Append, args []any) ([]eventlog.Outcome, error) {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, appendTimeout)
		defer cancel()
	}
	conn, err := l.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoConnection, err)
	}
	defer conn.Release()
	pid := conn.Conn().PgConn().PID()
	var r appendRow
	crash.Here(crash.CommandBeforeCommit)
	err = conn.QueryRow(ctx, appendBatch, args...).Scan(&r.verdict, &r.version, &r.claim,
		&r.item, &r.digest, &r.customer, &r.recorded, &r.status, &r.command, &r.created)
	if err != nil {
		if faultOf(err) == faultLost {
			l.doubts.add(pid)
		}
		return nil, err
	}
	crash.Here(crash.CommandAfterCommit)
	return r.outcomes(items), nil
}

func (r *appendRow) outcomes(items []eventlog.Append) []eventlog.Outcome {
	out := make([]eventlog.Outcome, len(items))
	for i, item := range items {
		switch r.verdict[i] {
		case rowAppended:
			out[i].Version = item.Expected + customer.Version(len(item.Events))
		case rowAppendedBefore:
			out[i].Version, out[i].Earlier = customer.Version(r.version[i]), true
		case rowConflicted:
			out[i] = eventlog.Outcome{Verdict: eventlog.Conflicted, Version: customer.Version(r.version[i])}
		case rowClaimTaken:
			out[i] = eventlog.Outcome{Verdict: eventlog.ClaimTaken, Claim: eventlog.ClaimKind(r.claim[i])}
		case rowReplayed:
			out[i].Verdict = eventlog.Replayed
		}
	}
	for j, number := range r.item {
		i := number - 1 // the database counts from 1
		out[i].Recorded = &eventlog.Idempotency{
			Principal:     items[i].Idempotency.Principal,
			Key:           items[i].Idempotency.Key,
			RequestDigest: [32]byte(r.digest[j]),
			CustomerID:    r.customer[j].Bytes,
			Version:       customer.Version(r.recorded[j]),
			Status:        r.status[j],
			CommandID:     r.command[j].Bytes,
			CreatedAt:     r.created[j].UTC(),
		}
	}
	return out
}

package erasures

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// State is what a log has of one customer, as far as erasing it again asks.
type State struct {
	Version customer.Version
	LastAt  time.Time // of its last event
	HasKey  bool
	Claims  []eventlog.Claim // that it holds
}

// Log is the log that a list is replayed on.
//
// States returns those of the customers named that exist. PurgeKeys deletes the
// keys that the log still has of customers it says are erased itself, with
// their snapshots, and returns how many; a table of keys may have been restored
// from an older backup than the events.
type Log interface {
	States(ctx context.Context, ids []customer.ID) (map[customer.ID]State, error)
	PurgeKeys(ctx context.Context) (int64, error)
	AppendBatch(ctx context.Context, items []eventlog.Append) ([]eventlog.Outcome, error)
}

// Summary counts what a replay came to.
type Summary struct {
	Listed  int
	Erased  int   // had a key, which is destroyed
	Already int   // had none
	Unknown int   // are not in the log
	Purged  int64 // were erased by the log itself and had a key all the same
}

const (
	// replayBatch is how many customers one transaction erases.
	replayBatch = 200
	// maxConflicts is how often somebody else may be quicker. The service should
	// not be running; then nobody is.
	maxConflicts = 10
	// Replayed is the correlation id of an erasure that was replayed.
	Replayed = "erasures-replay"
)

// Replay erases the customers of a list that a log can still read: it destroys
// their keys, frees their claims and appends Erased as it was the first time,
// but for the version. It may run again, be it cut short or not: what is erased
// stays as it is. progress is called after each batch.
func Replay(ctx context.Context, log Log, codec *eventlog.Codec, list []Erasure, progress func(done, total int)) (Summary, error) {
	s := Summary{Listed: len(list)}
	var err error
	if s.Purged, err = log.PurgeKeys(ctx); err != nil {
		return s, fmt.Errorf("purge keys of the erased: %w", err)
	}
	for done := 0; done < len(list); {
		part := list[done:min(done+replayBatch, len(list))]
		if err := replayPart(ctx, log, codec, part, &s); err != nil {
			return s, err
		}
		done += len(part)
		progress(done, len(list))
	}
	return s, nil
}

func replayPart(ctx context.Context, log Log, codec *eventlog.Codec, part []Erasure, s *Summary) error {
	for conflicts := 0; len(part) > 0; conflicts++ {
		if conflicts == maxConflicts {
			return errors.New("customers change while they are to be erased: stop the service first")
		}
		ids := make([]customer.ID, len(part))
		for i, e := range part {
			ids[i] = e.CustomerID
		}
		states, err := log.States(ctx, ids)
		if err != nil {
			return fmt.Errorf("look customers up: %w", err)
		}
		var (
			items []eventlog.Append
			of    []Erasure
		)
		for _, e := range part {
			now, known := states[e.CustomerID]
			switch {
			case !known:
				s.Unknown++
			case !now.HasKey:
				s.Already++
			default:
				item, err := erase(codec, e, now)
				if err != nil {
					return fmt.Errorf("erase %s: %w", e.CustomerID, err)
				}
				items, of = append(items, item), append(of, e)
			}
		}
		outcomes, err := log.AppendBatch(ctx, items)
		if err != nil {
			return err
		}
		part = nil
		for i, o := range outcomes {
			switch o.Verdict {
			case eventlog.Appended:
				s.Erased++
			case eventlog.Conflicted:
				part = append(part, of[i])
			default:
				return fmt.Errorf("erase %s: %s: %w", of[i].CustomerID, o.Verdict, o.Err)
			}
		}
	}
	return nil
}

// erase is what erases a customer as it was erased before.
func erase(codec *eventlog.Codec, e Erasure, now State) (eventlog.Append, error) {
	eventID, idErr := uuid.NewV7()
	commandID, commandErr := uuid.NewV7()
	if err := errors.Join(idErr, commandErr); err != nil {
		return eventlog.Append{}, err
	}
	// A log that was used after it was restored has events later than the
	// erasure; along a customer, times never go back.
	at := e.ErasedAt
	if at.Before(now.LastAt) {
		at = now.LastAt
	}
	envelope, err := codec.Encode(
		customer.Erased{At: customer.At{Time: at}, Actor: e.Actor, Reason: e.Reason, KeyID: e.KeyID},
		eventlog.Place{
			EventID: eventID, CustomerID: e.CustomerID, Version: now.Version + 1,
			Metadata: eventlog.Metadata{Actor: e.Actor, CorrelationID: Replayed, CommandID: commandID},
		}, nil)
	if err != nil {
		return eventlog.Append{}, err
	}
	return eventlog.Append{
		CustomerID: e.CustomerID, Expected: now.Version, Events: []eventlog.Envelope{envelope},
		Free: now.Claims, DestroyKey: true,
	}, nil
}

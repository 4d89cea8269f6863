package query

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// Status answers how far the read model is at this moment, at least as far as
// every token asks. Its error is *Behind, ErrOverloaded, ErrTooManyTokens,
// ErrUnavailable or ctx's own.
func (s *Service) Status(ctx context.Context, tokens []eventlog.Token, wait time.Duration) (Freshness, error) {
	if err := s.Await(ctx, tokens, wait); err != nil {
		return Freshness{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ReadTimeout)
	defer cancel()
	f, err := s.reader.Freshness(ctx)
	if err != nil {
		return Freshness{}, err
	}
	if f.Beat.IsZero() {
		f.Age = time.Since(s.born)
	}
	return f, nil
}

type (
	statusDocument struct {
		Head        eventlog.Position `json:"head"`
		LagSeconds  float64           `json:"lag_seconds"`
		LagEvents   int64             `json:"lag_events"`
		HeartbeatAt *Time             `json:"heartbeat_at"`
		Generation  int               `json:"generation"`
		Parked      int               `json:"parked"`
		Lanes       []statusLane      `json:"lanes"`
		Feed        statusFeed        `json:"feed"`
		Rebuild     *statusRebuild    `json:"rebuild"`
	}
	statusLane struct {
		Lane      eventlog.Lane     `json:"lane"`
		Applied   eventlog.Position `json:"applied"`
		LagEvents int64             `json:"lag_events"`
	}
	statusFeed struct {
		Applied eventlog.Position `json:"applied"`
	}
	statusRebuild struct {
		Generation int   `json:"generation"`
		Done       int64 `json:"done"`
		Total      int64 `json:"total"`
		StartedAt  Time  `json:"started_at"`
	}
)

// Render is the contract's JSON of how far the read model is.
func (f Freshness) Render() ([]byte, error) {
	d := statusDocument{
		Head:      f.Head,
		LagEvents: f.LagEvents(),
		// Milliseconds, as Projection-Lag has them.
		LagSeconds: math.Round(f.Lag().Seconds()*1000) / 1000,
		Generation: f.Generation,
		Parked:     f.Parked,
		Lanes:      make([]statusLane, len(f.Lanes)),
		Feed:       statusFeed{Applied: f.Feed.Applied},
	}
	if !f.Beat.IsZero() {
		beat := Time(f.Beat)
		d.HeartbeatAt = &beat
	}
	for i, l := range f.Lanes {
		d.Lanes[i] = statusLane{Lane: l.Lane, Applied: l.Applied, LagEvents: l.LagEvents()}
	}
	if r := f.Rebuild; r != nil {
		d.Rebuild = &statusRebuild{Generation: r.Generation, Done: r.Done, Total: r.Total, StartedAt: Time(r.StartedAt)}
	}
	return json.Marshal(d)
}

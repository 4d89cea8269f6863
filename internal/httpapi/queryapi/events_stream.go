package queryapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

const (
	// streamHeartbeat is how often a stream at rest sends a comment. Proxies cut
	// what is silent for 30 or 60 seconds.
	streamHeartbeat = 15 * time.Second
	// streamPatience is how long a client has to take what was written before it
	// is cut off. It comes back to where it was by Last-Event-ID.
	streamPatience = 10 * time.Second
	// streamHurry is the same while the process stops.
	streamHurry = time.Second
	// Clients that were cut off together come back over a second or two, not at
	// once.
	retryFloor, retrySpread = 1000, 1500 // ms
)

// eventStream is one client that follows.
type eventStream struct {
	ctx      context.Context //nolint:containedctx // the generated interface hands over a writer alone
	follower *query.Follower // nil for an answer without a body
	lag      time.Duration
	wait     *time.Duration
}

// follow begins a stream. Whether the feed can be read is found out before the
// status is sent.
func (s *server) follow(ctx context.Context, after eventlog.Position, wait *time.Duration) (GetEventsResponseObject, error) {
	if _, err := s.events.Page(ctx, after, 1); err != nil {
		return nil, err
	}
	answer := &eventStream{ctx: httpapi.Streaming(ctx), lag: s.events.Lag(), wait: wait}
	if ctx.Value(headOnly{}) != nil {
		return answer, nil
	}
	var err error
	if answer.follower, err = s.events.Follow(after); err != nil {
		if errors.Is(err, query.ErrOverloaded) {
			return nil, httpapi.Refuse(api.Overloaded, "As many clients follow the events as may. Come back later, or ask for pages.")
		}
		return nil, err
	}
	return answer, nil
}

// VisitGetEventsResponse writes events until the client goes, does not keep up,
// or the process stops.
func (a *eventStream) VisitGetEventsResponse(w http.ResponseWriter) error {
	h := w.Header()
	setReadHeaders(h, a.lag, a.wait)
	h.Set("Content-Type", httpapi.MediaEvents)
	h.Set("X-Accel-Buffering", "no") // or nginx keeps events to itself until it has 4 kB of them
	if a.follower == nil {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	defer a.follower.Close()
	httpapi.LeavePlace(a.ctx)
	conn := http.NewResponseController(w)
	// net/http goes on reading, to see the client go, and would take the
	// request's deadline for that.
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("stream events: %w", err)
	}
	limit := &writeLimit{conn: conn}
	defer a.follower.OnEnd(limit.hurry)()
	w.WriteHeader(http.StatusOK)
	var buf bytes.Buffer
	send := func() error {
		if err := limit.begin(); err != nil {
			return err
		}
		if _, err := w.Write(buf.Bytes()); err != nil {
			return err
		}
		return conn.Flush()
	}
	_, _ = fmt.Fprintf(&buf, "retry: %d\n\n", retryFloor+rand.IntN(retrySpread)) //nolint:gosec // jitter needs no secrecy
	for {
		// Whatever cannot be sent was not taken; there is nobody to tell.
		if send() != nil {
			return nil
		}
		buf = bytes.Buffer{} // streams at rest hold no memory for the last burst
		items, err := a.next()
		switch {
		case errors.Is(err, context.DeadlineExceeded) && a.ctx.Err() == nil:
			buf.WriteString(":\n\n")
		case err != nil:
			return nil // the client goes on elsewhere, or from where it is
		}
		for _, item := range items {
			buf.WriteString("id: ")
			buf.WriteString(strconv.FormatInt(int64(item.Position), 10))
			buf.WriteString("\ndata: ")
			buf.Write(item.Body)
			buf.WriteString("\n\n")
		}
	}
}

// writeLimit is how long the write under way may take: less once the process
// stops, for it waits for its streams.
type writeLimit struct {
	mu    sync.Mutex
	conn  *http.ResponseController
	ended bool
}

func (l *writeLimit) begin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	patience := streamPatience
	if l.ended {
		patience = streamHurry
	}
	return l.conn.SetWriteDeadline(time.Now().Add(patience))
}

func (l *writeLimit) hurry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	_ = l.conn.SetWriteDeadline(time.Now().Add(streamHurry))
}

func (a *eventStream) next() ([]query.FeedItem, error) {
	ctx, cancel := context.WithTimeout(a.ctx, streamHeartbeat)
	defer cancel()
	return a.follower.Next(ctx)
}

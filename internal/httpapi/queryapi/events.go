package queryapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// Events answers the event feed; *query.Feed is one.
type Events interface {
	Await(ctx context.Context, tokens []eventlog.Token, wait time.Duration) error
	Page(ctx context.Context, after eventlog.Position, limit int) ([]eventlog.Notice, error)
	Follow(after eventlog.Position) (*query.Follower, error)
	Lag() time.Duration
}

const (
	defaultEvents = 100
	maxEvents     = 1000
)

// GetEvents answers a page of events, or lets the client follow them.
func (s *server) GetEvents(ctx context.Context, in GetEventsRequestObject) (GetEventsResponseObject, error) {
	follow := httpapi.MediaOf(ctx) == httpapi.MediaEvents
	after, err := parsePosition("The query parameter after", in.Params.After)
	if err != nil {
		return nil, err
	}
	last, err := parsePosition("The header Last-Event-ID", in.Params.LastEventID)
	if err != nil {
		return nil, err
	}
	if in.Params.LastEventID != nil {
		after = last
	}
	limit := defaultEvents
	if in.Params.Limit != nil {
		if limit, err = strconv.Atoi(*in.Params.Limit); err != nil || limit < 1 || limit > maxEvents || (*in.Params.Limit)[0] == '+' {
			return nil, httpapi.Refuse(api.InvalidParameter, "The query parameter limit is a number from 1 to 1000.")
		}
		if follow {
			return nil, httpapi.Refuse(api.InvalidParameter, "A stream takes no limit. Leave it out.")
		}
	}
	p, err := s.patience(in.Params.ConsistencyToken, in.Params.Prefer)
	if err != nil {
		return nil, err
	}
	if err := s.events.Await(ctx, p.tokens, p.wait); err != nil {
		return nil, err
	}
	if follow {
		return s.follow(ctx, after, p.applied)
	}
	events, err := s.events.Page(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	return &eventPage{after: after, events: events, lag: s.events.Lag(), wait: p.applied}, nil
}

// parsePosition reads a position; absent, it is the one before the first.
func parsePosition(what string, text *string) (eventlog.Position, error) {
	if text == nil {
		return 0, nil
	}
	n, err := strconv.ParseInt(*text, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != *text {
		return 0, httpapi.Refuse(api.InvalidParameter, what+" is a position as the feed has them, or 0.")
	}
	return eventlog.Position(n), nil
}

// eventPage is one page of events.
type eventPage struct {
	after  eventlog.Position
	events []eventlog.Notice
	lag    time.Duration
	wait   *time.Duration
}

// VisitGetEventsResponse writes the answer.
func (a *eventPage) VisitGetEventsResponse(w http.ResponseWriter) error {
	page := struct {
		Data []eventlog.Notice `json:"data"`
		Next eventlog.Position `json:"next_after"`
	}{a.events, a.after}
	if n := len(a.events); n > 0 {
		page.Next = a.events[n-1].Position
	} else {
		page.Data = []eventlog.Notice{}
	}
	body, err := json.Marshal(page)
	if err != nil {
		return err
	}
	h := w.Header()
	setReadHeaders(h, a.lag, a.wait)
	h.Set("Content-Type", httpapi.MediaJSON)
	h.Set("Content-Length", strconv.Itoa(len(body))) // said, because the answer to HEAD has no body to count
	w.WriteHeader(http.StatusOK)
	_, err = w.Write(body)
	return err
}

type headOnly struct{}

// withoutFollowing marks a request whose answer has no body, so that no stream
// is begun that nobody can read.
func withoutFollowing(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		c.SetRequest(r.WithContext(context.WithValue(r.Context(), headOnly{}, true)))
		return next(c)
	}
}

package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	eventsPage = "1000"
	// maxEvent bounds one line of a stream: an event has no values, only names.
	maxEvent = 1 << 20
)

// Events yields the events of all customers behind a position, in order, up to
// what is there when it has caught up; 0 begins with the first. An error ends it,
// and the position of the last event is where to go on.
func (c *Customers) Events(ctx context.Context, after int64, options ...Option) iter.Seq2[*FeedEvent, error] {
	return func(yield func(*FeedEvent, error) bool) {
		for {
			page, err := readRecent[EventPage](c, options, func(edit RequestEditorFn) (*http.Response, error) {
				return c.queries.GetEvents(ctx, nil, behind(after), edit)
			})
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range page.Data {
				if !yield(&page.Data[i], nil) {
					return
				}
			}
			if len(page.Data) == 0 {
				return
			}
			after = page.NextAfter
		}
	}
}

func behind(after int64) RequestEditorFn {
	return editor([]Option{parameter("after", strconv.FormatInt(after, 10)), parameter("limit", eventsPage)})
}

// Follow yields the events of all customers behind a position, in order, first
// those that are there and then each as it happens, each once, through restarts
// of the service. It ends with ctx, whose error it yields, or when the service
// cannot be reached for as long as other requests are tried.
func (c *Customers) Follow(ctx context.Context, after int64, options ...Option) iter.Seq2[*FeedEvent, error] {
	return func(yield func(*FeedEvent, error) bool) {
		for {
			began := time.Now()
			more, err := c.follow(ctx, &after, options, yield)
			switch {
			case !more:
				return
			case ctx.Err() != nil:
				err = ctx.Err()
			case err == nil: // cut off, as streams are from time to time
				select {
				case <-time.After(max(0, firstPause-time.Since(began))):
					continue
				case <-ctx.Done():
					err = ctx.Err()
				}
			}
			yield(nil, err)
			return
		}
	}
}

// follow yields one stream's events and moves after along with them. It tells
// whether more are wanted; its error is one of asking, not of a stream that
// broke off.
func (c *Customers) follow(ctx context.Context, after *int64, options []Option, yield func(*FeedEvent, error) bool) (more bool, err error) {
	stream := []Option{header("Accept", "text/event-stream"), header("Last-Event-ID", strconv.FormatInt(*after, 10))}
	res, err := c.queries.GetEvents(ctx, nil, editor(append(stream, options...)))
	if err != nil {
		return true, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return true, failure(res)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxEvent)
	var data string
	for lines.Scan() {
		if field, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			data = field
		}
		// An empty line ends an event; one that was cut off before is asked for again.
		if data == "" || lines.Text() != "" {
			continue
		}
		var event FeedEvent
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return true, fmt.Errorf("read an event: %w", err)
		}
		data = ""
		if event.Position <= *after {
			continue
		}
		*after = event.Position
		if !yield(&event, nil) {
			return false, nil
		}
	}
	return true, nil
}

// Status tells how far the read models are.
func (c *Customers) Status(ctx context.Context, options ...Option) (*Status, error) {
	return readRecent[Status](c, options, func(edit RequestEditorFn) (*http.Response, error) {
		return c.queries.GetStatus(ctx, nil, edit)
	})
}

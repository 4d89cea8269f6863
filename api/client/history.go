package client

import (
	"context"
	"iter"
	"net/http"
	"strconv"
	"time"
)

// History yields a customer's events, oldest first, page by page as they are
// asked for, never older than what this client last did to it. After an erasure
// they have no values. An error ends it.
func (c *Customers) History(ctx context.Context, id string, options ...Option) iter.Seq2[*HistoryEvent, error] {
	return func(yield func(*HistoryEvent, error) bool) {
		var where GetHistoryParams
		for {
			page, err := read[HistoryPage](c, id, options, func(edit RequestEditorFn) (*http.Response, error) {
				return c.queries.GetHistory(ctx, id, &where, edit)
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
			if where.Cursor = next(page.NextCursor); where.Cursor == nil {
				return
			}
		}
	}
}

// At reads a customer as it was at a version.
func (c *Customers) At(ctx context.Context, id string, version int64, options ...Option) (*Customer, error) {
	return c.past(ctx, id, parameter("version", strconv.FormatInt(version, 10)), options)
}

// AsOf reads a customer as it was at a time.
func (c *Customers) AsOf(ctx context.Context, id string, at time.Time, options ...Option) (*Customer, error) {
	return c.past(ctx, id, parameter("as_of", at.UTC().Format(time.RFC3339Nano)), options)
}

func (c *Customers) past(ctx context.Context, id string, when Option, options []Option) (*Customer, error) {
	return read[Customer](c, id, append([]Option{when}, options...), func(edit RequestEditorFn) (*http.Response, error) {
		return c.queries.GetCustomer(ctx, id, nil, edit)
	})
}

func parameter(name, value string) Option {
	return func(r *http.Request) {
		q := r.URL.Query()
		q.Set(name, value)
		r.URL.RawQuery = q.Encode()
	}
}

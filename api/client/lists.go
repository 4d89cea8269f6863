package client

import (
	"context"
	"iter"
	"net/http"
)

// List yields the customers that filter admits, page by page as they are asked
// for. Cursor is where to begin, and is not changed in the caller's filter. The
// list holds what this client did last, to up to 8 customers. An error ends it.
func (c *Customers) List(ctx context.Context, filter ListCustomersParams, options ...Option) iter.Seq2[*Customer, error] {
	return pages(func() (*CustomerPage, error) {
		page, err := readRecent[CustomerPage](c, options, func(edit RequestEditorFn) (*http.Response, error) {
			return c.queries.ListCustomers(ctx, &filter, edit)
		})
		if err == nil {
			filter.Cursor = next(page.NextCursor)
		}
		return page, err
	})
}

// Search yields the customers that a search finds, as List does.
func (c *Customers) Search(ctx context.Context, search Search, options ...Option) iter.Seq2[*Customer, error] {
	return pages(func() (*CustomerPage, error) {
		page, err := readRecent[CustomerPage](c, options, func(edit RequestEditorFn) (*http.Response, error) {
			return c.queries.SearchCustomers(ctx, nil, search, edit)
		})
		if err == nil {
			search.Cursor = page.NextCursor
		}
		return page, err
	})
}

// pages yields what is on each page that turn answers, until the last one.
func pages(turn func() (*CustomerPage, error)) iter.Seq2[*Customer, error] {
	return func(yield func(*Customer, error) bool) {
		for {
			page, err := turn()
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range page.Data {
				if !yield(&page.Data[i], nil) {
					return
				}
			}
			if next(page.NextCursor) == nil {
				return
			}
		}
	}
}

// next is where a page leads, nil for the last one.
func next(cursor interface{ Get() (string, error) }) *string {
	text, err := cursor.Get()
	if err != nil || text == "" {
		return nil
	}
	return &text
}

// readRecent reads what may be about many customers, never older than what this
// client last did to those it worked on last.
func readRecent[T any](c *Customers, options []Option, send func(RequestEditorFn) (*http.Response, error)) (*T, error) {
	res, err := send(editor(append(options[:len(options):len(options)], c.recently)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	return decode[T](res)
}

package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
)

// Export yields every customer that filter admits, of one moment, as they
// arrive. It is not repeated once it has begun: an error says that customers
// are missing.
func (c *Customers) Export(ctx context.Context, filter ExportCustomersParams, options ...Option) iter.Seq2[*Customer, error] {
	return func(yield func(*Customer, error) bool) {
		stream := append([]Option{header("Accept", "application/x-ndjson")}, options...)
		res, err := c.queries.ExportCustomers(ctx, &filter, editor(append(stream, c.recently)))
		if err != nil {
			yield(nil, err)
			return
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK {
			yield(nil, failure(res))
			return
		}
		for documents := json.NewDecoder(res.Body); ; {
			one := new(Customer)
			switch err := documents.Decode(one); {
			case err == io.EOF: //nolint:errorlint // a stream that broke off wraps io.ErrUnexpectedEOF
				return
			case err != nil:
				yield(nil, fmt.Errorf("read the export: %w", err))
				return
			}
			if !yield(one, nil) {
				return
			}
		}
	}
}

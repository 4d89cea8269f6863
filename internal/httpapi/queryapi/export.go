package queryapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// exportPatience is how long a client may take for the next few hundred
// documents before its export ends. It is less than the read model waits.
const exportPatience = 30 * time.Second

// Exports streams all matches; *query.Exports is one.
type Exports interface {
	Await(ctx context.Context, tokens []eventlog.Token, wait time.Duration) error
	Run(ctx context.Context, f query.Filter, use func(context.Context, query.Snapshot) error) error
}

// ExportCustomers leaves the reading to the answer, which takes as long as the
// client does.
func (s *server) ExportCustomers(ctx context.Context, in ExportCustomersRequestObject) (ExportCustomersResponseObject, error) {
	filter, err := query.ParseFilter(query.FilterText{
		Status: in.Params.Status, Tag: in.Params.Tag, ExternalID: in.Params.ExternalId,
		CreatedAfter: in.Params.CreatedAfter, CreatedBefore: in.Params.CreatedBefore, UpdatedAfter: in.Params.UpdatedAfter,
	})
	if err != nil {
		return nil, badParameters(err)
	}
	p, err := s.patience(in.Params.ConsistencyToken, in.Params.Prefer)
	if err != nil {
		return nil, err
	}
	if err := s.exports.Await(ctx, p.tokens, p.wait); err != nil {
		return nil, err
	}
	head, _ := ctx.Value(headOnly{}).(bool)
	return &exportAnswer{
		server: s, ctx: httpapi.Streaming(ctx), filter: filter, media: httpapi.MediaOf(ctx), lag: s.queries.Lag(), applied: p.applied, head: head,
	}, nil
}

// exportAnswer is one export under way.
type exportAnswer struct {
	*server
	ctx     context.Context //nolint:containedctx // the generated interface hands over a writer alone
	filter  query.Filter
	media   string
	lag     time.Duration
	applied *time.Duration
	head    bool
}

// documents writes documents in the media type of the answer.
type documents interface {
	begin(to *bytes.Buffer)
	add(to *bytes.Buffer, document []byte) error
}

// lines is NDJSON: each document on a line, in the bytes it is answered in alone.
type lines struct{}

func (lines) begin(*bytes.Buffer) {}

func (lines) add(to *bytes.Buffer, document []byte) error {
	to.Write(document)
	to.WriteByte('\n')
	return nil
}

// VisitExportCustomersResponse streams. What goes wrong before the first byte is
// answered as a problem; after it the connection is broken, so that nobody takes
// what came for all: the status has long been sent.
func (a *exportAnswer) VisitExportCustomersResponse(w http.ResponseWriter) error {
	out := &exportWriter{exportAnswer: a, to: w, conn: http.NewResponseController(w)}
	if a.head {
		return out.send(a.ctx, nil)
	}
	// net/http goes on reading, to see the client go, and would take the deadline
	// of the request for that.
	if err := out.conn.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	count := 0
	begun := time.Now()
	err := a.exports.Run(a.ctx, a.filter, func(ctx context.Context, s query.Snapshot) (err error) {
		count, err = out.stream(ctx, s)
		return err
	})
	attrs := []slog.Attr{
		slog.Int("customers", count), slog.Int64("duration_ms", time.Since(begun).Milliseconds()),
		slog.String("trace_id", httpapi.TraceOf(a.ctx).ID),
	}
	switch {
	case err == nil:
		a.log.LogAttrs(a.ctx, slog.LevelInfo, "export ended", attrs...)
		return nil
	case !out.begun:
		return err
	default:
		a.log.LogAttrs(a.ctx, slog.LevelWarn, "export broken off", append(attrs, slog.Any("error", err))...)
		panic(http.ErrAbortHandler)
	}
}

// exportWriter writes one export to its client.
type exportWriter struct {
	*exportAnswer
	to    io.Writer
	conn  *http.ResponseController
	begun bool
}

// stream writes all of a snapshot. It holds what one step of it brings, and goes
// on when the client has taken that.
func (w *exportWriter) stream(ctx context.Context, s query.Snapshot) (count int, err error) {
	var format documents = lines{}
	if w.media == httpapi.MediaCSV {
		if format, err = newTable(ctx, s); err != nil {
			return 0, err
		}
	}
	var buf bytes.Buffer
	format.begin(&buf)
	for {
		n, err := s.Next(ctx, func(document []byte) error { return format.add(&buf, document) })
		if err != nil {
			return count, err
		}
		if err := w.send(ctx, buf.Bytes()); err != nil {
			return count, err
		}
		if count += n; n == 0 {
			return count, nil
		}
		buf.Reset()
	}
}

func (w *exportWriter) send(ctx context.Context, b []byte) error {
	if !w.begun {
		h := w.to.(http.ResponseWriter).Header() //nolint:forcetypeassert // it came as one
		setReadHeaders(h, w.lag, w.applied)
		h.Set("Content-Type", w.media)
		if w.media == httpapi.MediaCSV {
			h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
		}
		w.begun = true
	}
	until := time.Now().Add(exportPatience)
	if end, ok := ctx.Deadline(); ok && end.Before(until) {
		until = end // a write that blocks knows nothing of ctx
	}
	if err := w.conn.SetWriteDeadline(until); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	if _, err := w.to.Write(b); err != nil { // nothing to write sends the header all the same
		return fmt.Errorf("stream: %w", err)
	}
	return nil
}

// exportRefusal is what an export's own errors are answered with.
func exportRefusal(err error) *httpapi.Refusal {
	switch {
	case errors.Is(err, query.ErrExportsBusy):
		return &httpapi.Refusal{
			Code: api.Overloaded, RetryAfter: exportPatience, Detail: "As many exports are under way as may be. Wait for one to end.",
		}
	case errors.Is(err, errTooManyColumns):
		return &httpapi.Refusal{
			Code: api.NotAcceptable, Detail: "The metadata of these customers has more keys than CSV has columns here. Narrow the filters, or take application/x-ndjson.",
		}
	default:
		return nil
	}
}

package commandapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/imports"
)

const (
	// maxImports is how many imports a process works on at once; more are
	// answered 503. Each may have importBatch × importsInFlight commands queued,
	// all together half of the queue that other requests wait in as well.
	maxImports      = 4
	importBatch     = 64
	importsInFlight = 2
	// importPatience is how long an import waits for its client to send or take
	// the next bytes, and for the log to take a line, before it ends.
	importPatience = time.Minute
)

// importing is what imports share.
type importing struct {
	lines    *imports.Importer
	places   chan struct{}
	problems *httpapi.Problems
	log      *slog.Logger
}

func newImporting(commands *command.Service, log *slog.Logger) (*importing, error) {
	lines, err := imports.New(commands, DecodeLine, imports.Config{
		Batch: importBatch, InFlight: importsInFlight, Patience: importPatience,
	})
	if err != nil {
		return nil, fmt.Errorf("commandapi: %w", err)
	}
	return &importing{lines: lines, places: make(chan struct{}, maxImports), problems: NewLineProblems(), log: log}, nil
}

// NewLineProblems makes the problems of lines.
func NewLineProblems() *httpapi.Problems {
	return httpapi.NewProblems(func(err error) *httpapi.Refusal {
		if row, ok := errors.AsType[*imports.RowError](err); ok {
			return &httpapi.Refusal{Code: api.MalformedRequest, Detail: row.Detail}
		}
		if errors.Is(err, imports.ErrLineTooLong) {
			return &httpapi.Refusal{Code: api.BodyTooLarge}
		}
		return refusalOf(err)
	})
}

// ImportCustomers leaves all work to the answer: it is written while the
// request is read.
func (s *server) ImportCustomers(ctx context.Context, in ImportCustomersRequestObject) (ImportCustomersResponseObject, error) {
	return &importAnswer{
		importing: s.importing, ctx: httpapi.Streaming(ctx), body: in.Body,
		req: command.Request{
			Principal:     httpapi.PrincipalOf(ctx),
			CorrelationID: value(in.Params.XCorrelationID),
			TraceParent:   httpapi.TraceOf(ctx).Parent,
			DryRun:        value(in.Params.DryRun),
		},
	}, nil
}

// importAnswer is one import under way.
type importAnswer struct {
	*importing
	ctx  context.Context //nolint:containedctx // the generated interface hands over a writer alone
	body io.Reader
	req  command.Request
}

// lineResult is one line of the answer.
type lineResult struct {
	Line    int64            `json:"line"`
	Status  imports.Status   `json:"status"`
	ID      *uuid.UUID       `json:"id,omitempty"`
	Version customer.Version `json:"version,omitempty"`
	Problem json.RawMessage  `json:"problem,omitempty"`
}

// VisitImportCustomersResponse answers line by line. An import that cannot go
// on breaks the connection, so that nobody takes what was answered for all:
// the status has long been sent.
func (a *importAnswer) VisitImportCustomersResponse(w http.ResponseWriter) error {
	select {
	case a.places <- struct{}{}:
		defer func() { <-a.places }()
	default:
		return httpapi.Refuse(api.Overloaded, "As many imports are under way as may be. Wait for one to end.")
	}
	conn := http.NewResponseController(w)
	if err := conn.EnableFullDuplex(); err != nil {
		return fmt.Errorf("read and write at once: %w", err)
	}
	w.Header().Set("Content-Type", httpapi.MediaNDJSON)
	if a.req.DryRun {
		w.Header().Set(httpapi.HeaderDryRun, "true")
	}
	out := &importWriter{importAnswer: a, to: w, conn: conn}
	sum, err := a.lines.Run(a.ctx, imports.NewLines(&patientReader{from: a.body, conn: conn}, 0, 0), a.req, out.emit)
	if err == nil {
		_, err = out.to.Write(nil) // sends the header of an answer without lines
	}
	if err != nil {
		_ = conn.SetReadDeadline(time.Now()) // whoever is still reading is to stop
		a.log.WarnContext(a.ctx, "import broken off", "error", err, "lines", sum.Lines(), "failed", sum.Failed, "trace_id", httpapi.TraceOf(a.ctx).ID)
		panic(http.ErrAbortHandler)
	}
	a.log.InfoContext(a.ctx, "import ended", "registered", sum.Registered, "updated", sum.Updated, "unchanged", sum.Unchanged,
		"failed", sum.Failed, "trace_id", httpapi.TraceOf(a.ctx).ID)
	return nil
}

// importWriter writes results, each batch of them at once.
type importWriter struct {
	*importAnswer
	to   io.Writer
	conn *http.ResponseController
	buf  bytes.Buffer
}

func (w *importWriter) emit(results []imports.Result) error {
	w.buf.Reset()
	enc := json.NewEncoder(&w.buf)
	for i := range results {
		line, err := w.line(&results[i])
		if err != nil {
			return err
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	if err := w.conn.SetWriteDeadline(time.Now().Add(importPatience)); err != nil {
		return err
	}
	if _, err := w.to.Write(w.buf.Bytes()); err != nil {
		return err
	}
	return w.conn.Flush()
}

func (w *importWriter) line(r *imports.Result) (lineResult, error) {
	out := lineResult{Line: r.Line, Status: r.Status, Version: r.Version}
	switch {
	case r.Status == imports.Failed:
		doc, code, err := w.problems.Document(r.Err, httpapi.TraceOf(w.ctx).ID)
		if err != nil {
			return out, err
		}
		if code == api.InternalError {
			w.log.ErrorContext(w.ctx, "line of an import failed", "error", r.Err, "line", r.Line, "trace_id", httpapi.TraceOf(w.ctx).ID)
		}
		out.Problem = doc
	case r.Status == imports.Registered && w.req.DryRun:
		// It would get an id of its own, which nobody knows yet.
	default:
		out.ID = &r.ID
	}
	return out, nil
}

// patientReader gives the client time for each read, however long the whole
// takes.
type patientReader struct {
	from io.Reader
	conn *http.ResponseController
}

func (r *patientReader) Read(p []byte) (int, error) {
	if err := r.conn.SetReadDeadline(time.Now().Add(importPatience)); err != nil {
		return 0, err
	}
	n, err := r.from.Read(p)
	if errors.Is(err, io.EOF) {
		// From here on net/http reads, to see the client go, and would take the
		// deadline for that.
		_ = r.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

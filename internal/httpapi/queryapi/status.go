package queryapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
)

// GetStatus answers how far the read model is.
func (s *server) GetStatus(ctx context.Context, in GetStatusRequestObject) (GetStatusResponseObject, error) {
	p, err := s.patience(in.Params.ConsistencyToken, in.Params.Prefer)
	if err != nil {
		return nil, err
	}
	f, err := s.queries.Status(ctx, p.tokens, p.wait)
	if err != nil {
		return nil, err
	}
	body, err := f.Render()
	if err != nil {
		return nil, err
	}
	return &statusAnswer{body: body, lag: f.Lag(), applied: p.applied}, nil
}

// statusAnswer is how far the read model is.
type statusAnswer struct {
	body    []byte
	lag     time.Duration
	applied *time.Duration
}

// VisitGetStatusResponse writes the answer.
func (a *statusAnswer) VisitGetStatusResponse(w http.ResponseWriter) error {
	setReadHeaders(w.Header(), a.lag, a.applied)
	return writeJSON(w, a.body)
}

// writeJSON writes an answer that has no entity tag.
func writeJSON(w http.ResponseWriter, body []byte) error {
	w.Header().Set("Content-Type", httpapi.MediaJSON)
	// Said, because the answer to HEAD has no body to count.
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(body)
	return err
}

package httpapi

import (
	"encoding/json"

	"github.com/ebrahem-outlook/customer-service/api"
)

// Problems makes problem documents that stand inside an answer, as for one
// line of many.
type Problems struct {
	types problemTypes
	own   func(error) *Refusal
}

// NewProblems returns Problems that ask own about an error first, as
// Options.Errors.
func NewProblems(own func(error) *Refusal) *Problems {
	return &Problems{types: newProblemTypes(), own: own}
}

// Document is what err would be answered with, and its code. An empty trace id
// is left out.
func (p *Problems) Document(err error, traceID string) (json.RawMessage, api.Code, error) {
	r := refusalOf(err, p.own)
	doc, err := json.Marshal(p.types.document(r, traceID))
	return doc, r.Code, err
}

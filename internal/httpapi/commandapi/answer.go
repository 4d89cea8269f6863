package commandapi

import (
	"fmt"
	"net/http"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// commandAnswer is the success of any command.
type commandAnswer struct {
	status int
	header map[string]string
	body   []byte
}

func newCommandAnswer(r command.Result, asked asked) (*commandAnswer, error) {
	prefer := httpapi.ParsePrefer(asked.Prefer)
	a := &commandAnswer{status: r.Status, header: map[string]string{"ETag": httpapi.ETag(r.Data.Version)}}
	if value(asked.DryRun) {
		a.header[httpapi.HeaderDryRun] = "true"
	} else {
		// What was not written has nothing to wait for.
		a.header[httpapi.HeaderToken] = eventlog.Token{CustomerID: r.Data.ID, Version: r.Data.Version}.String()
	}
	// An answer that never has a body is minimal, whatever was preferred.
	if prefer.Return == "minimal" || prefer.Return != "" && a.status != http.StatusNoContent {
		a.header[httpapi.HeaderPreferenceApplied] = "return=" + prefer.Return
	}
	if asked.location != nil {
		a.header["Location"] = asked.location(r.Data)
	}
	if a.status == http.StatusNoContent || prefer.Return == "minimal" {
		return a, nil
	}
	render := query.Render
	if asked.render != nil {
		render = asked.render
	}
	var err error
	a.body, err = render(r.Data)
	return a, err
}

func (a *commandAnswer) write(w http.ResponseWriter) error {
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.body != nil {
		w.Header().Set("Content-Type", httpapi.MediaJSON)
	}
	w.WriteHeader(a.status)
	_, err := w.Write(a.body)
	return err
}

func customerAt(d customer.Data) string { return "/v1/customers/" + d.ID.String() }

// lastAddressAt is where the address is that was added last: what a command
// that adds one has created, whenever it is answered.
func lastAddressAt(d customer.Data) string {
	if len(d.Addresses) == 0 {
		return customerAt(d)
	}
	return customerAt(d) + "/addresses/" + d.Addresses[len(d.Addresses)-1].ID.String()
}

// renderErasure gives the erasure record as the contract shows it.
func renderErasure(d customer.Data) ([]byte, error) {
	if d.Erasure == nil {
		return nil, fmt.Errorf("customer %s has no erasure record", d.ID)
	}
	return query.Erasure{ID: d.ID, Version: d.Version, Erasure: *d.Erasure}.Render()
}

// VisitRegisterCustomerResponse writes the answer.
func (a *commandAnswer) VisitRegisterCustomerResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitChangeCustomerResponse writes the answer.
func (a *commandAnswer) VisitChangeCustomerResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitDeleteCustomerResponse writes the answer.
func (a *commandAnswer) VisitDeleteCustomerResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitAddAddressResponse writes the answer.
func (a *commandAnswer) VisitAddAddressResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitChangeAddressResponse writes the answer.
func (a *commandAnswer) VisitChangeAddressResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitRemoveAddressResponse writes the answer.
func (a *commandAnswer) VisitRemoveAddressResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitAddTagResponse writes the answer.
func (a *commandAnswer) VisitAddTagResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitRemoveTagResponse writes the answer.
func (a *commandAnswer) VisitRemoveTagResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitSetConsentResponse writes the answer.
func (a *commandAnswer) VisitSetConsentResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitSuspendCustomerResponse writes the answer.
func (a *commandAnswer) VisitSuspendCustomerResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitReinstateCustomerResponse writes the answer.
func (a *commandAnswer) VisitReinstateCustomerResponse(w http.ResponseWriter) error {
	return a.write(w)
}

// VisitRestoreCustomerResponse writes the answer.
func (a *commandAnswer) VisitRestoreCustomerResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitEraseCustomerResponse writes the answer.
func (a *commandAnswer) VisitEraseCustomerResponse(w http.ResponseWriter) error { return a.write(w) }

package audit

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

func documentOf(state customer.State) []byte {
	b, err := query.Render(state.Data())
	if err != nil {
		return nil
	}
	return b
}

// checkSent is P7 apart from the product's events: what a client sent and got
// acknowledged is what the customer is at the version answered. That later
// events leave it alone unless they name it is what checkChanged holds.
func checkSent(log *Log, e effects) Verdict {
	v := Verdict{Promise: "P7", Check: "what was sent and acknowledged is in the customer at the version answered", Unit: "fields"}
	commands := 0
	for op, f := range e.of {
		if op.Outcome != history.OK || op.Kind == history.Import || op.Repeats != 0 {
			continue
		}
		at := log.At(f.customer, f.to)
		if at == nil || !log.Streams[f.customer].Opened {
			continue
		}
		commands++
		for _, wrong := range sent(&v, op, at.State.Data()) {
			v.Violate("%s was acknowledged as version %d, at which %s", tell(op), f.to, wrong)
		}
	}
	slices.Sort(v.Violations)
	v.Note = fmt.Sprintf("of %d commands", commands)
	return v
}

// sent tells what of a command's body is not in a customer.
func sent(v *Verdict, op *history.Op, d customer.Data) (wrong []string) {
	expect := func(ok bool, format string, args ...any) {
		v.Checked++
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	path, _, _ := strings.Cut(op.Path, "?")
	last := path[strings.LastIndexByte(path, '/')+1:]
	switch op.Kind {
	case history.Register, history.Change:
		var body struct {
			FirstName  *string `json:"first_name"`
			LastName   *string `json:"last_name"`
			Email      *string `json:"email"`
			Phone      *string `json:"phone"`
			Locale     *string `json:"locale"`
			ExternalID *string `json:"external_id"`
			Metadata   map[string]*string
			Tags       []string
		}
		if json.Unmarshal(op.Body, &body) != nil {
			return []string{"its body cannot be read"}
		}
		text := func(name string, sent *string, is string) {
			if sent != nil {
				expect(same(*sent, is), "%s is another one", name)
			}
		}
		text("first_name", body.FirstName, string(d.FirstName))
		text("last_name", body.LastName, string(d.LastName))
		text("email", body.Email, string(d.Email))
		text("phone", body.Phone, string(d.Phone))
		text("locale", body.Locale, string(d.Locale))
		text("external_id", body.ExternalID, string(d.ExternalID))
		for k, value := range body.Metadata {
			is, there := d.Metadata[k]
			if value == nil {
				expect(!there, "metadata %q is still there", k)
			} else {
				expect(same(*value, is), "metadata %q is another one", k)
			}
		}
		for _, tag := range body.Tags {
			expect(slices.Contains(d.Tags, customer.Tag(tag)), "tag %q is missing", tag)
		}
	case history.AddTag:
		expect(slices.Contains(d.Tags, customer.Tag(last)), "tag %q is missing", last)
	case history.RemoveTag:
		expect(!slices.Contains(d.Tags, customer.Tag(last)), "tag %q is still there", last)
	case history.Consent:
		var body struct {
			Granted bool
			Source  string
		}
		c, there := d.Consents[customer.Channel(last)]
		ok := json.Unmarshal(op.Body, &body) == nil
		expect(ok && there && c.Granted == body.Granted && same(body.Source, c.Source), "the consent to %s is another one", last)
	case history.AddAddress, history.ChangeAddress:
		var body struct{ Line1, City string }
		ok := json.Unmarshal(op.Body, &body) == nil
		expect(ok && slices.ContainsFunc(d.Addresses, func(a customer.Address) bool {
			return same(body.Line1, a.Line1) && same(body.City, a.City) && (op.Kind == history.AddAddress || a.ID.String() == last)
		}), "the address is missing")
	case history.RemoveAddress:
		expect(!slices.ContainsFunc(d.Addresses, func(a customer.Address) bool { return a.ID.String() == last }), "the address is still there")
	case history.Suspend:
		expect(d.Status == customer.StatusSuspended, "it is %s", d.Status)
	case history.Reinstate:
		expect(d.Status == customer.StatusActive, "it is %s", d.Status)
	case history.Delete:
		expect(d.Status == customer.StatusDeleted, "it is %s", d.Status)
	case history.Restore:
		expect(live(d.Status), "it is %s", d.Status)
	case history.Erase:
		expect(d.Status == customer.StatusErased, "it is %s", d.Status)
	default:
	}
	return wrong
}

// same compares a text as sent with the text as kept: trimmed and in NFC.
func same(sent, kept string) bool {
	if sent == kept {
		return true
	}
	name, err := customer.ParseName(sent)
	return err == nil && string(name) == kept
}

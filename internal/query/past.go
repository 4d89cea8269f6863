package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// What a read of the past can come to besides what reads come to anyway.
var (
	// ErrNoVersion tells that the customer has not come to the version asked for.
	ErrNoVersion = errors.New("customer has no such version")
	// ErrBeforeRegistration tells that the customer was not there yet.
	ErrBeforeRegistration = errors.New("customer was not registered yet")
	// ErrFuture tells that a time is still to come: what is then nobody knows.
	ErrFuture = errors.New("time is in the future")
	// ErrHistory tells that a customer's history has not all events, or says of
	// one what cannot be. It is a fault of the read model.
	ErrHistory = errors.New("history does not join")
)

type (
	// Moment is which of a customer's versions is meant: Version, or when that is
	// 0 the last one that occurred no later than AsOf.
	Moment struct {
		Version customer.Version
		AsOf    time.Time
	}

	// Present is what a customer is now.
	Present struct {
		Version   customer.Version
		Status    customer.Status
		UpdatedAt time.Time
	}

	// PastRow is one step to a past version: a document as an event left it, or
	// what an event changed.
	PastRow struct {
		Version  customer.Version
		Keyframe []byte    // the whole document; what follows is nil then
		At       time.Time // when the event occurred
		Changes  []Change
	}
)

// At answers a customer as it was at a moment, in the bytes that Get answered
// then, if it has all that every token asks. Its error is ErrNotFound,
// ErrNoVersion, ErrBeforeRegistration, ErrFuture, ErrDeleted for a version that
// a deletion made, ErrErased for every moment of an erased customer, or as with
// Service.Get *Behind, ErrOverloaded, ErrTooManyTokens, ErrUnavailable or ctx's own.
//
// A version that the read model has not come to is answered ErrNoVersion at
// once: nobody can tell it from one that will never be. Whoever knows that it
// exists has its token.
func (a *Archive) At(ctx context.Context, id customer.ID, m Moment, tokens []eventlog.Token, wait time.Duration) (Entry, error) {
	if err := a.service.Await(ctx, tokens, wait); err != nil {
		return Entry{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.service.cfg.ReadTimeout)
	defer cancel()
	future := m.Version == 0 && m.AsOf.After(a.now())
	p := past{doc: Document{ID: id}}
	now, err := a.reader.Past(ctx, id, m, p.visit)
	switch {
	case errors.Is(err, ErrNotFound) && future:
		return Entry{}, ErrFuture
	case err != nil:
		return Entry{}, err
	case now.Status == customer.StatusErased:
		return Entry{Version: now.Version}, ErrErased
	case future && m.AsOf.After(now.UpdatedAt):
		// Command processes' clocks may be ahead of this one, and updated_at is
		// always a time that can be asked for.
		return Entry{}, ErrFuture
	case p.doc.Version == 0 && m.Version == 0:
		return Entry{}, ErrBeforeRegistration
	case p.doc.Version == 0 || m.Version != 0 && p.doc.Version != m.Version:
		return Entry{}, ErrNoVersion
	}
	return p.entry()
}

// past puts a document together.
type past struct {
	doc Document
	raw []byte // doc's bytes, while nothing has changed since them
}

// entry is what it came to, with an error like Entry.Err's.
func (p *past) entry() (Entry, error) {
	e := Entry{Version: p.doc.Version, Status: p.doc.Status}
	if !e.Live() {
		return e, e.Err()
	}
	if e.Body = p.raw; e.Body != nil {
		return e, nil
	}
	var err error
	if e.Body, err = json.Marshal(p.doc); err != nil {
		return Entry{}, fmt.Errorf("render customer %s: %w", p.doc.ID, err)
	}
	return e, nil
}

func (p *past) visit(row PastRow) error {
	if row.Keyframe != nil {
		d, err := Parse(row.Keyframe)
		if err != nil || d.ID != p.doc.ID || d.Version != row.Version {
			return fmt.Errorf("version %d of %s: %w", row.Version, p.doc.ID, ErrDocument)
		}
		p.doc, p.raw = NewDocument(d), row.Keyframe
		return nil
	}
	if row.Version != p.doc.Version+1 {
		return fmt.Errorf("version %d of %s: %w", row.Version, p.doc.ID, ErrHistory)
	}
	if row.Version == 1 {
		p.doc = NewDocument(customer.Data{ID: p.doc.ID, CreatedAt: row.At})
	}
	p.doc.Version, p.doc.UpdatedAt, p.raw = row.Version, Time(row.At), nil
	for _, c := range row.Changes {
		if !p.doc.change(c) {
			return fmt.Errorf("version %d of %s: %w", row.Version, p.doc.ID, ErrHistory)
		}
	}
	return nil
}

// change makes one field what c says it became. It is the inverse of how the
// projection writes an event's changes down, and tells whether it knew how.
func (d *Document) change(c Change) bool {
	group, key, nested := strings.Cut(c.Field, ".")
	switch {
	case nested && group == "addresses":
		return d.changeAddress(key, c.New)
	case nested && group == "metadata":
		return changeKey(d.Metadata, key, c.New)
	case nested && group == "consents":
		return changeKey(d.Consents, key, c.New)
	}
	switch c.Field {
	case "status":
		var s *customer.Status
		ok := become(&s, c.New)
		d.Status = value[customer.Status]((*string)(s))
		return ok
	case "first_name":
		return become(&d.FirstName, c.New)
	case "last_name":
		return become(&d.LastName, c.New)
	case "email":
		return become(&d.Email, c.New)
	case "phone":
		return become(&d.Phone, c.New)
	case "locale":
		return become(&d.Locale, c.New)
	case "external_id":
		return become(&d.ExternalID, c.New)
	case "tags":
		return become(&d.Tags, c.New) && d.Tags != nil
	case "reason": // of what happened, and no part of the customer
		return true
	default:
		return false
	}
}

// changeAddress replaces an address where it is, or adds it behind the others.
func (d *Document) changeAddress(key string, to json.RawMessage) bool {
	var a *Address
	id, err := uuid.Parse(key)
	if err != nil || !become(&a, to) || a != nil && (a.ID != id || a.DefaultFor == nil) {
		return false
	}
	at := slices.IndexFunc(d.Addresses, func(a Address) bool { return a.ID == id })
	switch {
	case a != nil && at >= 0:
		d.Addresses[at] = *a
	case a != nil:
		d.Addresses = append(d.Addresses, *a)
	case at >= 0:
		d.Addresses = slices.Delete(d.Addresses, at, at+1)
	}
	return true
}

func changeKey[V any](m map[string]V, key string, to json.RawMessage) bool {
	var v *V
	if !become(&v, to) {
		return false
	}
	delete(m, key)
	if v != nil {
		m[key] = *v
	}
	return true
}

// become reads a value anew; null makes it nil. What is wrong is not said: the
// cause would quote the value.
func become[T any](field *T, to json.RawMessage) bool {
	var v T
	if json.Unmarshal(to, &v) != nil {
		return false
	}
	*field = v
	return true
}

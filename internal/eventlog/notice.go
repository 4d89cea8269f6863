package eventlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

const (
	// NoticeTopic is what notices are published and consumed under. It is one
	// topic because they are in one order.
	NoticeTopic = "events"
	// NoticeContentType is the media type of a notice's body.
	NoticeContentType = "application/json"
	// NoticeSource says where notices come from, as CloudEvents asks.
	NoticeSource = batchSource
)

// ErrMalformedNotice tells that a message is no notice.
var ErrMalformedNotice = errors.New("malformed notice")

// Notice is what everybody may know of an event: that it happened, to whom and
// when, and the names of the fields it changed. It has no value of any field and
// nothing that describes a person. It is all that other services are told, in
// the same form on the broker and over HTTP.
type Notice struct {
	Position   Position
	ID         uuid.UUID
	Type       string // as in customer.registered
	CustomerID customer.ID
	Version    customer.Version
	Changed    []string // as the HTTP contract names fields; may be empty
	Time       time.Time
	// TraceParent is the W3C trace context of the command, if it had one. It
	// travels beside the body and is not kept.
	TraceParent string
}

// Token is the consistency token of the customer with this event.
func (n Notice) Token() Token { return Token{CustomerID: n.CustomerID, Version: n.Version} }

type noticeJSON struct {
	Position   Position         `json:"position"`
	ID         uuid.UUID        `json:"id"`
	Type       string           `json:"type"`
	CustomerID customer.ID      `json:"customer_id"`
	Version    customer.Version `json:"version"`
	Changed    []string         `json:"changed"`
	Time       time.Time        `json:"time"`
	Token      string           `json:"token"`
}

// MarshalJSON writes the public form. The same notice always gives the same bytes.
func (n Notice) MarshalJSON() ([]byte, error) {
	if n.Changed == nil {
		n.Changed = []string{}
	}
	return json.Marshal(noticeJSON{
		Position: n.Position, ID: n.ID, Type: n.Type, CustomerID: n.CustomerID, Version: n.Version,
		Changed: n.Changed, Time: n.Time.UTC(), Token: n.Token().String(),
	})
}

// UnmarshalJSON reads what MarshalJSON wrote. Members it does not know are
// passed over, for the public form may grow; anything else is ErrMalformedNotice.
func (n *Notice) UnmarshalJSON(body []byte) error {
	var in noticeJSON
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&in); err != nil {
		return ErrMalformedNotice // the cause quotes what it could not read
	}
	out := Notice{
		Position: in.Position, ID: in.ID, Type: in.Type, CustomerID: in.CustomerID, Version: in.Version,
		Changed: in.Changed, Time: in.Time.UTC(),
	}
	if err := out.validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformedNotice, err)
	}
	if in.Token != out.Token().String() {
		return fmt.Errorf("%w: its token is another customer's or version's", ErrMalformedNotice)
	}
	*n = out
	return nil
}

func (n Notice) validate() error {
	switch {
	case n.Position < 1 || n.Version < 1:
		return errors.New("no position or version")
	case n.ID == uuid.Nil || n.CustomerID == customer.ID{} || n.Type == "":
		return errors.New("no id, customer or type")
	case n.Changed == nil || slices.Contains(n.Changed, ""):
		return errors.New("no list of changed fields")
	case n.Time.IsZero():
		return errors.New("no time")
	}
	return nil
}

// NoticeReader reads the log as everybody may know it.
//
// ReadNotices returns up to limit notices after a position, in the global order
// and without holes. It reads nothing that is sealed.
type NoticeReader interface {
	ReadNotices(ctx context.Context, after Position, limit int) ([]Notice, error)
}

// Package history is what clients remember of a run: every call, what was
// sent, what came back and when, written down before and after, so that it can
// be held against the service's own records afterwards. It must not know the
// service beyond its HTTP contract.
package history

import "encoding/json"

// Kind says what a call was.
type Kind string

// Commands, in the names of the contract's routes.
const (
	Register      Kind = "register"
	Change        Kind = "change" // PATCH
	AddAddress    Kind = "add-address"
	ChangeAddress Kind = "change-address"
	RemoveAddress Kind = "remove-address"
	AddTag        Kind = "add-tag"
	RemoveTag     Kind = "remove-tag"
	Consent       Kind = "consent"
	Suspend       Kind = "suspend"
	Reinstate     Kind = "reinstate"
	Delete        Kind = "delete"
	Restore       Kind = "restore"
	Erase         Kind = "erase"
	Import        Kind = "import" // one op a line of the file
)

// Reads.
const (
	Get     Kind = "get"      // GET /v1/customers/{id}, with or without a token
	GetPast Kind = "get-past" // ?version=
	History Kind = "history"
	List    Kind = "list" // one op a page
	Search  Kind = "search"
)

// Outcome is what a client knows of a call once it has ended.
type Outcome string

const (
	// OK is an answer of 2xx or 304, and 410 to a read.
	OK Outcome = "ok"
	// Refused promises that nothing happened and never will: the last answer was
	// a 4xx but 409 idempotency-in-flight, or 503 overloaded, or there was none
	// because nothing could be sent; and no attempt before it was left open. Of
	// a read it is any answer but those of OK.
	Refused Outcome = "refused"
	// Unknown is no answer, or one that leaves it open: a lost connection, a
	// timeout, a 5xx. The command may take effect at any later time. So is a
	// refusal after an attempt that was left open: that one may have happened
	// before, or still be under way elsewhere.
	Unknown Outcome = "unknown"
	// Pending is a call that the history ends in the middle of; as Unknown.
	Pending Outcome = "pending"
)

// Op is one call by one client. A command is sent with the same
// Idempotency-Key until its outcome is known or the client gives up; Call is
// the first time it was sent and Return the last answer. Times are nanoseconds
// since the run began, by a clock that never goes back.
type Op struct {
	ID      int64 `json:"id"`      // in the order of Call, from 1
	Client  int   `json:"client"`  // from 1; 0 sends probes between faults
	Session int   `json:"session"` // reads of one session never go back; 0 for one that takes part in none
	Kind    Kind  `json:"kind"`

	Customer string `json:"customer,omitempty"` // empty for a registration until it is answered
	Email    string `json:"email,omitempty"`    // asked for, in the form that is compared
	Key      string `json:"key,omitempty"`      // Idempotency-Key
	IfMatch  int64  `json:"if_match,omitempty"` // 0: not sent
	// IfNoneMatch is the version of If-None-Match, 0 when it was not sent.
	IfNoneMatch int64           `json:"if_none_match,omitempty"`
	Token       string          `json:"token,omitempty"` // Consistency-Token sent
	Path        string          `json:"path,omitempty"`  // with its query, but for a page's cursor
	Body        json.RawMessage `json:"body,omitempty"`  // sent
	DryRun      bool            `json:"dry_run,omitempty"`
	// Repeats is the op, answered OK, whose Key this one sends once more on
	// purpose. It must answer the same again, or 410 after an erasure; Spoiled,
	// which is with another Body, it must be refused. It has no effect of its own.
	Repeats int64 `json:"repeats,omitempty"`
	Spoiled bool  `json:"spoiled,omitempty"`

	Call     int64   `json:"call"`
	Return   int64   `json:"return,omitempty"`
	Attempts int     `json:"attempts,omitempty"`
	Outcome  Outcome `json:"outcome,omitempty"`

	Status      int    `json:"status,omitempty"`  // of the last answer; 0 for none
	Code        string `json:"code,omitempty"`    // of its problem
	Version     int64  `json:"version,omitempty"` // by its ETag
	AnswerToken string `json:"answer_token,omitempty"`
	Process     string `json:"process,omitempty"` // which answered, as in query-api-2
	Error       string `json:"error,omitempty"`   // of a lost call

	// Answer is the body of a read and of a command that answers a customer,
	// whole. Pages keep id and version of each item instead, in Items.
	Answer json.RawMessage `json:"answer,omitempty"`
	Items  []Item          `json:"items,omitempty"`
	Walk   int64           `json:"walk,omitempty"` // of which walk over pages this page is, 0 for none
	Last   bool            `json:"last,omitempty"` // page without a next one
}

// Item is one customer on a page.
type Item struct {
	Customer string `json:"c"`
	Version  int64  `json:"v"`
}

// Command tells whether the op can append to the log.
func (o *Op) Command() bool {
	switch o.Kind {
	case Get, GetPast, History, List, Search:
		return false
	default:
		return !o.DryRun
	}
}

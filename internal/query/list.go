package query

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// Limits of the contract on pages.
const (
	DefaultPage = 20
	MaxPage     = 100
)

// listTimeout is what the read model has for a page; a search for what half the
// customers have sorts half a million. Its statements end by themselves at 5 s.
const listTimeout = 4 * time.Second

// maxEmptyPages bounds how many empty pages one answer passes over.
const maxEmptyPages = 20

type (
	// ListRequest asks for a page. A cursor belongs to the filter, the sort, the
	// principal and the purpose it was given for; the limit may change.
	ListRequest struct {
		Purpose   string // of the list: what else than a list or a search there may be
		Principal string
		Filter    Filter
		Sort      Sort
		Limit     int
		Cursor    string // empty for the first page
		Tokens    []eventlog.Token
		Wait      time.Duration
	}

	// List is a page: the contract's documents, and the cursor of the next page or
	// nothing. A page may have fewer documents than asked for and yet a next one.
	List struct {
		Documents [][]byte
		Next      string
	}

	// PageRequest asks a ListReader for what comes after a place; nil is the
	// beginning.
	PageRequest struct {
		Filter Filter
		Sort   Sort
		Limit  int
		After  *Place
	}

	// Page is what a ListReader answers. Next is nil on the last page.
	Page struct {
		Documents [][]byte
		Next      *Place
	}

	// Place is how far a walk over the pages is: behind one customer in the order.
	Place struct {
		At   time.Time // by which the customer was sorted, or
		Name string
		ID   customer.ID
		Walk *Walk // of orders in which customers move; else nil
	}

	// Walk is what keeps a walk over moving customers right. Positions are by lane.
	//
	// Began is what the read model had when the walk began. A customer that has not
	// moved since is met in the order. One that has is met once at most: as soon as
	// its first move is seen, if the walk had not come to where it was before, and
	// never in the order. Seen says which moves have been looked at.
	Walk struct {
		Began, Seen []eventlog.Position
		Newest      time.Time // no customer that has not moved since was changed later
	}
)

// ListReader reads lists from the read model.
//
// Page answers up to Limit living customers that the filter admits. In the order
// of their registration, the pages after one another have each customer that was
// there all the time once, and none twice. In the other orders, in which customers
// move, the same holds by what Walk says; customers that were not there when the
// walk began may be left out. Its error is ErrInvalidCursor for a place that can
// be none of its own.
//
// Complete tells whether every living customer can be found. CursorKey is a
// secret of 32 bytes that all who read the same read model share. Every other
// error wraps ErrUnavailable.
type ListReader interface {
	Page(ctx context.Context, q PageRequest) (Page, error)
	Complete(ctx context.Context) (bool, error)
	CursorKey(ctx context.Context) ([]byte, error)
}

// Lists answers lists and searches.
type Lists struct {
	service  *Service
	reader   ListReader
	complete atomic.Bool
	sealed   atomic.Pointer[sealer]
}

// NewLists reads through reader, and waits for tokens and follows freshness with
// service.
func NewLists(service *Service, reader ListReader) *Lists {
	return &Lists{service: service, reader: reader}
}

// List answers a page, at least as new as every token asks. Its error is
// ErrInvalidCursor, or as with Service.Get *Behind, ErrOverloaded,
// ErrTooManyTokens, ErrUnavailable or ctx's own.
func (l *Lists) List(ctx context.Context, r ListRequest) (List, error) {
	binding := r.binding()
	q := PageRequest{Filter: r.Filter, Sort: r.Sort, Limit: min(max(r.Limit, 1), MaxPage)}
	reading, cancel := context.WithTimeout(ctx, l.service.cfg.ReadTimeout)
	defer cancel()
	if r.Cursor != "" {
		var err error
		if q.After, err = l.open(reading, r.Cursor, binding); err != nil {
			return List{}, err
		}
	}
	if err := l.service.Await(ctx, r.Tokens, r.Wait); err != nil {
		return List{}, err
	}
	// The time spent waiting is not the read model's.
	reading, cancelPage := context.WithTimeout(ctx, listTimeout)
	defer cancelPage()
	if err := l.mustBeComplete(reading); err != nil {
		return List{}, err
	}
	var page Page
	// Nobody may have moved into a page's way, and then it is empty.
	for range maxEmptyPages {
		var err error
		if page, err = l.reader.Page(reading, q); err != nil {
			return List{}, err
		}
		if len(page.Documents) > 0 || page.Next == nil {
			break
		}
		q.After = page.Next
	}
	list := List{Documents: page.Documents}
	if page.Next != nil {
		var err error
		if list.Next, err = l.seal(reading, *page.Next, binding); err != nil {
			return List{}, err
		}
	}
	return list, nil
}

// mustBeComplete keeps lists from leaving out who was projected before there
// were any. What is complete stays so.
func (l *Lists) mustBeComplete(ctx context.Context) error {
	if l.complete.Load() {
		return nil
	}
	switch complete, err := l.reader.Complete(ctx); {
	case err != nil:
		return err
	case !complete:
		return fmt.Errorf("%w: its lists are being filled", ErrUnavailable)
	}
	l.complete.Store(true)
	return nil
}

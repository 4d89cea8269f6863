package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// ErrExportsBusy tells that as many exports are under way as may be.
var ErrExportsBusy = errors.New("too many exports are under way")

// Exporter reads every customer of a filter from one snapshot of the read model.
//
// Export calls use with a snapshot, which ends with it: nothing that was
// committed after it began is seen. It returns use's error as it is; its own
// wrap ErrUnavailable.
type Exporter interface {
	Export(ctx context.Context, f Filter, use func(Snapshot) error) error
}

// Snapshot is the customers of a filter at one moment.
//
// Next visits some more of their documents, in order of id, and tells how many;
// none is the end. What visit is given is valid until it returns.
//
// MetadataKeys answers the keys of their metadata, in order of bytes and at most
// limit of them. It reads all customers once.
//
// Their errors wrap ErrUnavailable, but for visit's, which is returned as it is.
type Snapshot interface {
	Next(ctx context.Context, visit func(document []byte) error) (int, error)
	MetadataKeys(ctx context.Context, limit int) ([]string, error)
}

// ExportConfig bounds exports. Zero values take the defaults named.
type ExportConfig struct {
	// Concurrent is how many are under way at once. Each holds a connection to
	// the read model, a snapshot that keeps it from being cleaned up behind it, and
	// a few hundred documents; 2.
	Concurrent int
	// Longest is how long one may take. It also bounds what an export can delay:
	// a rebuild cannot put its tables in place while one reads the old; 15 min.
	Longest time.Duration
}

func (c ExportConfig) withDefaults() ExportConfig {
	if c.Concurrent == 0 {
		c.Concurrent = 2
	}
	if c.Longest == 0 {
		c.Longest = 15 * time.Minute
	}
	return c
}

func (c ExportConfig) validate() error {
	if c.Concurrent < 1 || c.Longest < 0 {
		return fmt.Errorf("query: %d exports at once of %s at most", c.Concurrent, c.Longest)
	}
	return nil
}

// Exports streams all customers of a filter.
type Exports struct {
	service *Service
	reader  Exporter
	places  chan struct{} // one for each export under way
	longest time.Duration
}

// NewExports reads through reader and waits for tokens with service.
func NewExports(service *Service, reader Exporter, c ExportConfig) (*Exports, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &Exports{service: service, reader: reader, places: make(chan struct{}, c.Concurrent), longest: c.Longest}, nil
}

// Await returns once the read model has all that tokens ask; its errors are
// Service.Await's.
func (e *Exports) Await(ctx context.Context, tokens []eventlog.Token, wait time.Duration) error {
	return e.service.Await(ctx, tokens, wait)
}

// Run calls use with a snapshot of the customers f admits, taken now. Its error
// is use's, ErrExportsBusy, ErrUnavailable, or ctx's own, which is
// context.DeadlineExceeded also for one that took too long.
func (e *Exports) Run(ctx context.Context, f Filter, use func(context.Context, Snapshot) error) error {
	select {
	case e.places <- struct{}{}:
		defer func() { <-e.places }()
	default:
		return ErrExportsBusy
	}
	ctx, cancel := context.WithTimeout(ctx, e.longest)
	defer cancel()
	return e.reader.Export(ctx, f, func(s Snapshot) error { return use(ctx, s) })
}

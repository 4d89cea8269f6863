package imports

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/crash"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// Customers is what lines are carried out with; *command.Service is one.
type Customers interface {
	Register(context.Context, command.Request, customer.Registration) (command.Result, error)
	RegisterAll(context.Context, command.Request, []customer.Registration) []command.Registered
	Merge(context.Context, command.Request, customer.ID, command.Merge) (command.Result, error)
	Holders(context.Context, []command.Names) ([]command.Holders, error)
}

// Line is what one line asks for: to be registered as it stands, or merged
// into the customer that has its names.
type Line struct {
	Registration customer.Registration
	Merge        command.Merge
}

// Decode reads one line. Its error is the line's result.
type Decode func(text []byte) (Line, error)

// Record is one line of a file.
type Record struct {
	Line int64  // its number, from 1; blank ones count
	Last int64  // the number of its last line: a table's row may have several
	End  int64  // how many bytes of the file end with it
	Text []byte // for Decode, and not changed by anyone
	Err  error  // what is wrong with it as a line; then it is not decoded
}

// Source gives records in order, then io.EOF. Any other error ends the import.
type Source interface {
	Next() (Record, error)
}

// Status is what became of a line.
type Status string

// The statuses; part of the HTTP contract.
const (
	Registered Status = "registered"
	Updated    Status = "updated"
	Unchanged  Status = "unchanged"
	Failed     Status = "failed"
)

// Result is what became of a record.
type Result struct {
	Record
	Status  Status
	ID      customer.ID
	Version customer.Version
	Err     error // with Failed
}

// Summary counts results.
type Summary struct{ Registered, Updated, Unchanged, Failed int64 }

// Lines is how many results there were.
func (s Summary) Lines() int64 { return s.Registered + s.Updated + s.Unchanged + s.Failed }

// Add counts one more result.
func (s *Summary) Add(status Status) {
	switch status {
	case Registered:
		s.Registered++
	case Updated:
		s.Updated++
	case Unchanged:
		s.Unchanged++
	case Failed:
		s.Failed++
	}
}

// Config bounds an import. A zero field means its default.
type Config struct {
	// Batch is how many lines are looked up and decided together at most.
	// Default 512. There is no timer: a batch is what has arrived while the
	// ones before were under way, so a lone line waits for nothing.
	Batch int
	// BatchBytes bounds the text of a batch. Default 1 MiB.
	BatchBytes int
	// InFlight is how many batches are under way, or wait for their results to
	// be taken. Default 16, so that commits are large. The Appender behind
	// Customers must let Batch × InFlight commands queue, or lines will be
	// pausing for each other.
	InFlight int
	// Patience is how long a line is tried again while the log is overloaded or
	// unavailable, before the whole import ends. Default 30 s.
	Patience time.Duration
	// Waiting, if set, is told why lines are tried again, each time they are.
	// It must not block.
	Waiting func(error)
}

func (c *Config) fill() error {
	if c.Batch == 0 {
		c.Batch = 512
	}
	if c.BatchBytes == 0 {
		c.BatchBytes = 1 << 20
	}
	if c.InFlight == 0 {
		c.InFlight = 16
	}
	if c.Patience == 0 {
		c.Patience = 30 * time.Second
	}
	if c.Batch < 0 || c.BatchBytes < 0 || c.InFlight < 0 || c.Patience < 0 {
		return errors.New("imports: a bound is negative")
	}
	return nil
}

// Importer carries files out.
type Importer struct {
	customers Customers
	decode    Decode
	cfg       Config
}

// New returns an Importer. Any number of imports may run on it at once.
func New(customers Customers, decode Decode, cfg Config) (*Importer, error) {
	err := cfg.fill()
	if customers == nil || decode == nil {
		err = errors.Join(err, errors.New("imports: customers or decode missing"))
	}
	if err != nil {
		return nil, err
	}
	return &Importer{customers: customers, decode: decode, cfg: cfg}, nil
}

// Run carries out every record of src as asked for by req, and hands emit the
// results in the order of the records, at once when they are known and never
// two calls at a time. What emit returns an error for ends the import.
//
// A line's fault is its result and ends nothing. Run's own error says why it
// went no further: src's or emit's error, ctx's, or command.ErrUnavailable and
// command.ErrOverloaded after Config.Patience. Up to Batch × InFlight lines
// behind the last result may have been carried out all the same; since each
// line is an upsert, they can be sent again.
//
// When Run returns early, src.Next may still be running. The caller must see
// to it that it returns.
func (im *Importer) Run(ctx context.Context, src Source, req command.Request, emit func([]Result) error) (Summary, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run{Importer: im, req: req, cancel: cancel, held: newHeld(), slots: make(chan struct{}, im.cfg.InFlight)}
	r.eager.Store(!req.DryRun)
	batches := make(chan *batch, im.cfg.InFlight)
	go r.dispatch(ctx, r.read(ctx, src), batches)

	var (
		sum    Summary
		ending error
	)
	for b := range batches {
		<-b.done
		settled := b.settled()
		if ending == nil && len(settled) > 0 {
			if err := emit(settled); err != nil {
				ending = err
				cancel(err)
			}
			for _, res := range settled {
				sum.Add(res.Status)
			}
		}
		if ending == nil && b.err != nil {
			ending = b.err
			cancel(b.err)
		}
		<-r.slots
		crash.Here(crash.ImportBetweenBatches)
	}
	if ending == nil && ctx.Err() != nil {
		ending = context.Cause(ctx)
	}
	if ending != nil {
		return sum, fmt.Errorf("import: %w", ending)
	}
	return sum, nil
}

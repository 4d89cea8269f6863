package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

const (
	// RecoveryLimit is how long after a fault the service may take to be whole
	// again, as promised.
	RecoveryLimit = 30 * time.Second
	// patience is how much longer it is waited for, so that the next fault
	// strikes a service that works.
	patience = 90 * time.Second
	// actionLimit bounds every injection and every healing. RabbitMQ needs half
	// a minute to start on a busy machine.
	actionLimit = 2 * time.Minute
)

// Config is what a run is made of.
type Config struct {
	Seed    uint64
	Faults  int
	Cluster *cluster.Cluster
	Links   *Links // nil when the cluster has none

	// Probe writes and reads the write back, and is nil once that worked.
	Probe func(context.Context) error
	// Now is the run's clock in nanoseconds, as history.Recorder.Now. By default
	// it begins with Run.
	Now func() int64
	// Log gets a line a fault.
	Log io.Writer

	// Catalogue replaces the usual one, and Extra is added to it.
	Catalogue, Extra []Fault
	// Always are kinds of which one comes even if there are fewer faults than
	// kinds.
	Always []string
}

func (c *Config) prepare() error {
	if c.Catalogue == nil {
		c.Catalogue = Catalogue(c.Cluster, c.Links)
	}
	c.Catalogue = append(c.Catalogue[:len(c.Catalogue):len(c.Catalogue)], c.Extra...)
	for i := range c.Catalogue {
		if f := &c.Catalogue[i]; len(f.Targets) == 0 || f.Inject == nil {
			return fmt.Errorf("fault %s has no targets or no Inject", f.name())
		}
	}
	if c.Faults < 1 || len(c.Catalogue) == 0 || c.Probe == nil {
		return errors.New("a run needs faults, a catalogue and a probe")
	}
	if c.Log == nil {
		c.Log = io.Discard
	}
	if c.Now == nil {
		began := time.Now()
		c.Now = func() int64 { return int64(time.Since(began)) }
	}
	if c.Links == nil {
		return nil
	}
	return c.Links.Err()
}

// Run injects faults into a running cluster and returns what it did. Its error
// says that a fault could not be injected or healed, that the service did not
// recover at all, or that ctx ended; what was broken has been put right by then.
// That the service took too long or misbehaved under a fault is in the records.
func Run(ctx context.Context, c Config) ([]Record, error) {
	if err := c.prepare(); err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	r := &run{Config: c}
	if err := r.begin(ctx); err != nil {
		return nil, fmt.Errorf("chaos: before the first fault: %w", err)
	}
	fmt.Fprintf(c.Log, "seed %d: %d faults of %d kinds\n", c.Seed, c.Faults, len(c.Catalogue))
	for _, s := range schedule(c.Seed, c.Catalogue, c.Faults, c.Always) {
		err := r.step(ctx, s)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return r.records, err
		}
		pause(ctx, s.rest)
	}
	return r.records, nil
}

type run struct {
	Config
	records []Record
}

func (r *run) now() time.Duration { return time.Duration(r.Now()) }

// begin waits until the service works and RabbitMQ can stand a fault.
func (r *run) begin(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, RecoveryLimit)
	defer cancel()
	if err := r.well(limited); err != nil {
		return err
	}
	if len(r.Cluster.Processes()) == 0 {
		return nil
	}
	return settle(ctx, r.Cluster)
}

// step injects one fault, or two that overlap, heals and waits for recovery.
func (r *run) step(ctx context.Context, s step) error {
	records := make([]Record, len(s.faults))
	injections := make([]*Injection, len(s.faults))
	errs := make([]error, len(s.faults))
	var under sync.WaitGroup
	for i, p := range s.faults {
		records[i] = Record{Number: p.number, Fault: p.fault.Kind, Target: p.target}
		if other := 1 - i; len(s.faults) == 2 {
			records[i].With = s.faults[other].number
		}
		in := &Injection{Target: p.target, For: p.lasts, Rand: rand.New(rand.NewPCG(p.seed, 0))} //nolint:gosec // reproducible, not secret
		in.ctx, in.end = context.WithCancel(ctx)
		defer in.end()
		injections[i] = in
		under.Go(func() {
			if !pause(ctx, p.after) {
				return
			}
			records[i].Began = r.now()
			errs[i] = inject(ctx, p, in)
		})
	}
	under.Wait()
	healed := r.now()
	for i := range records {
		if err := errs[i]; err != nil {
			records[i].Error = err.Error()
		}
		records[i].Healed = healed
	}
	err := errors.Join(errs...)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = r.recover(ctx, injections, records)
	}
	for i, in := range injections {
		records[i].Detail = strings.Join(in.detail, ", ")
		records[i].Missed = strings.Join(in.missed, "; ")
		fmt.Fprintln(r.Log, r.line(records[i], s.faults[i].lasts))
	}
	r.records = append(r.records, records...)
	return err
}

// inject breaks, waits and heals. It heals in any case.
func inject(ctx context.Context, p planned, in *Injection) error {
	bounded, cancel := context.WithTimeout(ctx, actionLimit)
	defer cancel()
	err := p.fault.Inject(bounded, in)
	if err == nil {
		pause(ctx, p.lasts)
	}
	healing, cancel := context.WithTimeout(context.WithoutCancel(ctx), actionLimit)
	defer cancel()
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("inject %s into %s: %w", p.fault.Kind, p.target, err)
	} else {
		err = nil
	}
	if healErr := in.heal(healing); healErr != nil {
		err = errors.Join(err, fmt.Errorf("heal %s of %s: %w", p.fault.Kind, p.target, healErr))
	}
	return err
}

// recover waits until all is well again, and for what the faults want settled.
func (r *run) recover(ctx context.Context, injections []*Injection, records []Record) error {
	last := injections[len(injections)-1]
	for _, p := range r.Cluster.Processes() {
		if exit := p.Exit(); exit != "" {
			last.Violate("%s ended by itself: %s", p.Name, exit)
		}
	}
	limited, cancel := context.WithTimeout(ctx, RecoveryLimit)
	defer cancel()
	err := r.well(limited)
	if err != nil && ctx.Err() == nil {
		last.Violate("not whole within %s: %v", RecoveryLimit, err)
		longer, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		err = r.well(longer)
	}
	if err != nil {
		return fmt.Errorf("the service did not recover within %s of fault %d: %w", RecoveryLimit+patience, records[0].Number, err)
	}
	recovered := r.now()
	for i := range records {
		records[i].Recovered = recovered
	}
	settling, cancel := context.WithTimeout(ctx, actionLimit)
	defer cancel()
	for _, in := range injections {
		for _, settle := range in.settle {
			if err := settle(settling); err != nil {
				return fmt.Errorf("wait for fault %d to settle: %w", records[0].Number, err)
			}
		}
	}
	return nil
}

// well waits until every process is ready and the probe succeeds. A process that
// ended is started again, as a supervisor would.
func (r *run) well(ctx context.Context) error {
	last := errors.New("nothing was asked")
	err := cluster.Poll(ctx, 50*time.Millisecond, func() bool {
		for _, p := range r.Cluster.Processes() {
			if last = p.Start(); last != nil {
				return false
			}
			if last = ready(ctx, p); last != nil {
				return false
			}
		}
		last = r.Probe(ctx)
		return last == nil
	})
	if err != nil {
		return last
	}
	return nil
}

func ready(ctx context.Context, p *cluster.Process) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL()+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers /readyz with %d", p.Name, res.StatusCode)
	}
	return nil
}

func (r *run) line(rec Record, lasts time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "fault %d/%d %s %s %.1f s", rec.Number, r.Faults, rec.Fault, rec.Target, lasts.Seconds())
	if rec.Detail != "" {
		fmt.Fprintf(&b, " (%s)", rec.Detail)
	}
	if rec.With != 0 {
		fmt.Fprintf(&b, " with fault %d", rec.With)
	}
	switch {
	case rec.Error != "":
		fmt.Fprintf(&b, ": FAILED: %s", rec.Error)
	case rec.Recovered == 0:
		b.WriteString(": not recovered")
	default:
		fmt.Fprintf(&b, ": recovered %.1f s after", rec.Recovery().Seconds())
	}
	if rec.Missed != "" {
		fmt.Fprintf(&b, ": MISSED: %s", rec.Missed)
	}
	return b.String()
}

// Package workload is many clients of the service at once: they register,
// change, delete, erase and import customers, many of them the same ones and
// with the same e-mail addresses, read them back, and write down all of it in a
// history. It judges nothing but whether an answer is one that the contract has
// for the request; and it must not know the service beyond that contract.
package workload

import (
	"context"
	"sync"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
)

// Endpoint is a process that answers.
type Endpoint struct {
	Name string // as in query-api-2
	URL  string // as in http://127.0.0.1:8081
}

// Config says who does how much. A zero field means its default.
type Config struct {
	// Seed decides what each client means to do. What comes of it depends on
	// the others and on time.
	Seed uint64
	// Clients default to 24.
	Clients int
	// Rate is how many ops a second are begun at most, over all clients. Default
	// 600: on two cores it leaves the service the most of them.
	Rate float64
	// Hot is how many customers all clients contend for. Default 32.
	Hot int
	// Commands and Reads are the processes there are at the moment, at least one
	// of each.
	Commands, Reads func() []Endpoint
	// Recorder takes the history.
	Recorder *history.Recorder
	// KeepKey is called with a customer's id before an erasure of it is sent, so
	// that what was erased can be checked later. When it fails the erasure is
	// not sent. Without it there are no erasures.
	KeepKey func(ctx context.Context, customerID string) error
}

func (c Config) withDefaults() Config {
	if c.Clients == 0 {
		c.Clients = 24
	}
	if c.Rate == 0 {
		c.Rate = 600
	}
	if c.Hot == 0 {
		c.Hot = 32
	}
	return c
}

// stopWithin bounds Stop: the longest patience and the attempt that it ends in.
const stopWithin = maxPatience + 2*commandTimeout

// Workload is clients at work.
type Workload struct {
	cfg   Config
	world *world
	stats *counters
	pace  *pace

	stopping  chan struct{}
	stop      sync.Once
	cancel    context.CancelFunc
	clients   sync.WaitGroup
	probeTurn sync.Mutex
	probes    *client
}

// Start lets the clients begin. They go on until Stop or the end of ctx.
func Start(ctx context.Context, cfg Config) *Workload {
	cfg = cfg.withDefaults()
	ctx, cancel := context.WithCancel(ctx)
	w := &Workload{
		cfg: cfg, world: newWorld(cfg.Seed, cfg.Hot), stats: newCounters(), pace: newPace(cfg.Rate),
		stopping: make(chan struct{}), cancel: cancel,
	}
	w.probes = newClient(w, prober)
	for number := 1; number <= cfg.Clients; number++ {
		c := newClient(w, number)
		w.clients.Go(func() { c.run(ctx) })
	}
	return w
}

// Stop lets every client finish the op under way, for a bounded time, and waits
// for them. What is still under way then is unknown.
func (w *Workload) Stop() {
	w.stop.Do(func() { close(w.stopping) })
	ended := make(chan struct{})
	go func() {
		w.clients.Wait()
		close(ended)
	}()
	timer := time.NewTimer(stopWithin)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
	w.cancel()
	<-ended
}

// Stats are the figures so far.
func (w *Workload) Stats() Stats { return w.stats.snapshot() }

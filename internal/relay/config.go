package relay

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// Deps are what a Relay works with.
type Deps struct {
	Leases      Leases
	Sequence    Sequence
	Checkpoints Checkpoints
	Log         LaneReader
	Feed        message.Publisher // Publish returns nil once the broker has stored the messages
	Logger      *slog.Logger

	// Notices and Integration tell other services of each event: what is read
	// from one is published through the other. Without both nobody is told.
	Notices     eventlog.NoticeReader
	Integration message.Publisher
}

// Config is how a Relay works. Zero values take the defaults named.
type Config struct {
	Holder string // names this process in the lease; unique
	Lanes  int    // eventlog.DefaultLanes

	// LeaseTTL is how long a leader that vanished without a word delays its
	// successor: 3 s. It is renewed three times as often.
	LeaseTTL time.Duration
	// PollBusy and PollIdle are the rests between ticks after one that found
	// events, and in the long run without any: 5 ms and 50 ms.
	PollBusy, PollIdle time.Duration
	// TickLimit is how many events one transaction sequences: 10,000, which
	// takes 0.1 to 0.2 s.
	TickLimit int

	// BatchEvents and BatchBytes bound one message: 256 and 1 MiB.
	BatchEvents, BatchBytes int
	// Window is how many messages of a lane are sent before their confirms are
	// awaited: 4.
	Window int
}

// laneSweep is how often a lane looks for events nobody told it of.
const laneSweep = time.Second

func (c Config) withDefaults() Config {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	rest := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	set(&c.Lanes, eventlog.DefaultLanes)
	rest(&c.LeaseTTL, 3*time.Second)
	rest(&c.PollBusy, 5*time.Millisecond)
	rest(&c.PollIdle, 50*time.Millisecond)
	set(&c.TickLimit, 10_000)
	set(&c.BatchEvents, 256)
	set(&c.BatchBytes, 1<<20)
	set(&c.Window, 4)
	return c
}

func (c Config) validate(d Deps) error {
	var errs []error
	for name, missing := range map[string]bool{
		"Leases": d.Leases == nil, "Sequence": d.Sequence == nil, "Checkpoints": d.Checkpoints == nil,
		"Log": d.Log == nil, "Feed": d.Feed == nil, "Logger": d.Logger == nil,
	} {
		if missing {
			errs = append(errs, fmt.Errorf("relay: %s is missing", name))
		}
	}
	if (d.Notices == nil) != (d.Integration == nil) {
		errs = append(errs, errors.New("relay: of Notices and Integration one is missing"))
	}
	if c.Holder == "" {
		errs = append(errs, errors.New("relay: the holder has no name"))
	}
	if c.Lanes < 1 || c.Lanes > eventlog.Slots {
		errs = append(errs, fmt.Errorf("relay: %d lanes, want 1 to %d", c.Lanes, eventlog.Slots))
	}
	if c.LeaseTTL < 100*time.Millisecond || c.PollBusy < 0 || c.PollIdle < c.PollBusy {
		errs = append(errs, errors.New("relay: the lease lasts under 100 ms, or idle polling is quicker than busy polling"))
	}
	if c.TickLimit < 1 || c.BatchEvents < 1 || c.BatchBytes < 1 || c.Window < 1 {
		errs = append(errs, errors.New("relay: a limit is below 1"))
	}
	return errors.Join(errs...)
}

package chaos

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

// drainLimit is how long a process may take to end after SIGTERM: by default it
// goes on for 0.5 s, and then gives requests and background work 10 s each.
const drainLimit = 21 * time.Second

// processFaults strike one of the service's own processes, seldom both of a kind.
func processFaults(c *cluster.Cluster) []Fault {
	var faults []Fault
	both := make(map[string]group)
	var kinds []string
	for _, g := range groups(c) {
		program := "every " + g[0].Program
		both[program], kinds = g, append(kinds, program)
		faults = append(faults,
			Fault{Kind: "kill", Targets: g.names(), Inject: func(_ context.Context, in *Injection) error {
				kill(in, g.find(in.Target))
				return nil
			}},
			Fault{Kind: "pause", Targets: g.names(), Inject: func(_ context.Context, in *Injection) error {
				return freeze(in, g.find(in.Target))
			}},
			Fault{
				Kind: "restart", Targets: g.names(), Alone: true, // so that its exit code is its own
				Least: 10 * time.Millisecond, Most: time.Second,
				Inject: func(_ context.Context, in *Injection) error {
					drain(in, g.find(in.Target))
					return nil
				},
			})
	}
	return append(faults, Fault{
		Kind: "kill", Targets: kinds, Alone: true,
		Inject: func(_ context.Context, in *Injection) error {
			for _, p := range both[in.Target] {
				kill(in, p)
			}
			return nil
		},
	})
}

func kill(in *Injection, p *cluster.Process) {
	in.Undo(func(context.Context) error { return p.Start() })
	p.Kill()
}

func freeze(in *Injection, p *cluster.Process) error {
	in.Undo(func(context.Context) error {
		if !p.Running() {
			return nil // a paused one cannot end by itself; recovery starts it again and says so
		}
		return p.Resume()
	})
	return p.Pause()
}

func drain(in *Injection, p *cluster.Process) {
	in.Undo(func(context.Context) error { return p.Start() })
	began := time.Now()
	code, err := p.Terminate(drainLimit)
	switch {
	case err != nil:
		in.Violate("%v", err)
	case code != 0:
		in.Violate("%s exited with %d after SIGTERM", p.Name, code)
	default:
		in.Say("drained in %.1f s", time.Since(began).Seconds())
	}
}

// serviceFaults strike PostgreSQL, RabbitMQ and Redis as processes.
func serviceFaults(stack *devstack.Stack) []Fault {
	var faults []Fault
	for _, s := range []*devstack.Service{stack.Postgres(), stack.RabbitMQ(), stack.Redis()} {
		target := []string{string(s.Kind())}
		faults = append(faults,
			Fault{Kind: "kill", Targets: target, Most: 4 * time.Second, Inject: down(s, s.Kill)},
			Fault{Kind: "restart", Targets: target, Most: 2 * time.Second, Inject: down(s, s.Stop)},
			Fault{Kind: "pause", Targets: target, Inject: func(_ context.Context, in *Injection) error {
				in.Undo(func(context.Context) error { return s.Resume() })
				return s.Pause()
			}})
	}
	return faults
}

// down ends a service in some way and starts it again.
func down(s *devstack.Service, end func() error) func(context.Context, *Injection) error {
	return func(_ context.Context, in *Injection) error {
		in.Undo(s.Start)
		return end()
	}
}

// leaderFaults make two processes believe that they lead.
func leaderFaults(c *cluster.Cluster) []Fault {
	if len(c.Commands) < 2 {
		return nil
	}
	return []Fault{{
		Kind: "two-leaders", Targets: []string{"command-api"},
		Touches: func(string) []string { return append(group(c.Commands).names(), string(devstack.Postgres)) },
		// Beyond the lease's 3 s, by up to as long as it takes to be surprised.
		Least: 500 * time.Millisecond, Most: 4 * time.Second,
		Inject: func(ctx context.Context, in *Injection) error { return usurp(ctx, in, c) },
	}}
}

// selectLease yields who leads the relay; there is one duty.
const selectLease = `SELECT holder, epoch FROM eventlog.leases WHERE duty = 'relay'`

// usurp pauses the leader until another has taken over; it then goes on as if
// it still led.
func usurp(ctx context.Context, in *Injection, c *cluster.Cluster) error {
	var leader *cluster.Process
	var epoch int64
	err := cluster.Poll(ctx, 50*time.Millisecond, func() bool {
		var holder string
		if c.EventLog().QueryRow(ctx, selectLease).Scan(&holder, &epoch) != nil {
			return false
		}
		for _, p := range c.Commands {
			if p.Running() && leads(holder, p.Pid()) {
				leader = p
			}
		}
		return leader != nil
	})
	if err != nil {
		return fmt.Errorf("no running command-api holds the relay's lease: %w", err)
	}
	if err := freeze(in, leader); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, RecoveryLimit)
	defer cancel()
	began, now := time.Now(), epoch
	err = cluster.Poll(limited, 50*time.Millisecond, func() bool {
		var holder string
		return c.EventLog().QueryRow(limited, selectLease).Scan(&holder, &now) == nil && now > epoch
	})
	if err != nil {
		in.Violate("nobody took the relay over from %s within %s", leader.Name, RecoveryLimit)
		return nil
	}
	in.Say("%s paused at epoch %d, overtaken after %.1f s", leader.Name, epoch, time.Since(began).Seconds())
	return nil
}

// leads tells whether a holder, as in host-PID-random, is process pid.
func leads(holder string, pid int) bool {
	words := strings.Split(holder, "-")
	return len(words) >= 3 && words[len(words)-2] == strconv.Itoa(pid)
}

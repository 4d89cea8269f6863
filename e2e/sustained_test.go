package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

const (
	sustainedRate = 2000 // registrations a second
	sampleEvery   = 250 * time.Millisecond
)

// At 2,000 registrations a second the sequencer, both relays and the projector
// keep up: what is committed and not yet readable, or not yet told to other
// services, does not grow, and no process's memory does. The load is open: it does not wait for answers. It
// lasts 20 s, or what E2E_SUSTAINED says, as in 1m.
//
// The load comes from the machine that is measured, and others may use it too.
// So a time that failed is repeated, twice at most; what holds in a quiet one
// holds.
func TestKeepsUpWith2000RegistrationsASecond(t *testing.T) {
	lasting := 20 * time.Second
	if asked := os.Getenv("E2E_SUSTAINED"); asked != "" {
		var err error
		lasting, err = time.ParseDuration(asked)
		require.NoError(t, err, "E2E_SUSTAINED")
	}
	c := cluster.New(t, stack, cluster.Size{})
	client := c.NewClient()
	warmUp(t, client)
	var faults []string
	for try := 1; try <= 3; try++ {
		if faults = sustained(t, c, client, lasting); len(faults) == 0 {
			break
		}
		t.Logf("try %d: %s", try, strings.Join(faults, "; "))
	}
	require.Empty(t, faults)
	requireReadModelEqualsLog(t, c)
}

// sustained says in which ways the service did not keep up.
func sustained(t *testing.T, c *cluster.Cluster, client *cluster.Client, lasting time.Duration) (faults []string) {
	t.Helper()
	ctx := cluster.Within(t, 3*lasting)
	latencies := make([]time.Duration, int(sustainedRate*lasting.Seconds()))
	statuses := make([]int, len(latencies))
	sampled, stop := sample(ctx, c)
	began := time.Now()
	openLoop(ctx, len(latencies), sustainedRate, 400, func(i int, due time.Time) {
		a, err := client.Write(ctx, http.MethodPost, "/v1/customers", newPerson().json())
		latencies[i] = time.Since(due)
		statuses[i] = a.Status
		if err != nil {
			statuses[i] = -1
		}
	})
	took := time.Since(began)
	stop()
	samples := <-sampled

	refused := 0
	for _, s := range statuses {
		if s != http.StatusCreated {
			refused++
		}
	}
	slices.Sort(latencies)
	t.Logf("%d registrations in %s: %.0f/s, %d refused; latency from when each was due: p50 %s, p99 %s",
		len(latencies)-refused, took.Round(time.Millisecond), float64(len(latencies)-refused)/took.Seconds(), refused,
		latencies[len(latencies)/2], latencies[len(latencies)*99/100])
	if took > lasting*21/20 {
		faults = append(faults, fmt.Sprintf("the rate was not held: %s for a load of %s", took, lasting))
	}
	if refused > len(latencies)/1000 {
		faults = append(faults, fmt.Sprintf("%d registrations were refused", refused))
	}
	faults = append(faults, growingLags(t, samples)...)
	return append(faults, growingMemory(t, c, samples)...)
}

// warmUp lets pools, caches and just-in-time compiled plans settle.
func warmUp(t *testing.T, client *cluster.Client) {
	t.Helper()
	ctx := cluster.Within(t, time.Minute)
	openLoop(ctx, 5*sustainedRate, sustainedRate, 400, func(int, time.Time) {
		_, _ = client.Write(ctx, http.MethodPost, "/v1/customers", newPerson().json())
	})
}

// openLoop calls do n times, rate a second, whether earlier calls have ended
// or not, on at most workers goroutines.
func openLoop(ctx context.Context, n, rate, workers int, do func(i int, due time.Time)) {
	began, due := time.Now(), make(chan int, n)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := range due {
				do(i, began.Add(time.Duration(i)*time.Second/time.Duration(rate)))
			}
		})
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for i := 0; i < n && ctx.Err() == nil; <-ticker.C {
		for ; i < n && time.Since(began) >= time.Duration(i)*time.Second/time.Duration(rate); i++ {
			due <- i
		}
	}
	close(due)
	group.Wait()
}

type snapshot struct {
	at       time.Duration
	behind   int64 // events committed and not yet readable
	untold   int64 // events in order that customer.events has not confirmed
	unlisted int64 // and that GET /v1/events does not have
	memory   []int64
}

func sample(ctx context.Context, c *cluster.Cluster) (<-chan []snapshot, func()) {
	ctx, stop := context.WithCancel(ctx)
	out := make(chan []snapshot, 1)
	go func() {
		var all []snapshot
		began := time.Now()
		_ = cluster.Poll(ctx, sampleEvery, func() bool {
			s := snapshot{at: time.Since(began)}
			var err error
			if s.behind, err = behind(ctx, c); err == nil {
				s.untold, s.unlisted, err = unpublished(ctx, c)
			}
			if err == nil {
				for _, p := range c.Processes() {
					s.memory = append(s.memory, p.ResidentMiB())
				}
				all = append(all, s)
			}
			return false
		})
		out <- all
	}()
	return out, stop
}

// behind counts the events that are in the log and not in the read model.
func behind(ctx context.Context, c *cluster.Cluster) (int64, error) {
	var readable, committed int64
	// The read model first: what is written in between makes the figure larger, never smaller.
	if err := c.ReadModel().QueryRow(ctx, `SELECT coalesce(sum(version), 0) FROM readmodel.documents`).Scan(&readable); err != nil {
		return 0, err
	}
	if err := c.EventLog().QueryRow(ctx, `SELECT coalesce(sum(version), 0) FROM eventlog.streams`).Scan(&committed); err != nil {
		return 0, err
	}
	return committed - readable, nil
}

// unpublished counts the events that have a position and that neither
// customer.events nor GET /v1/events has.
func unpublished(ctx context.Context, c *cluster.Cluster) (untold, unlisted int64, err error) {
	var told, listed, head int64
	if err = c.EventLog().QueryRow(ctx, `SELECT pos FROM eventlog.relay_checkpoints WHERE relay = 'integration'`).Scan(&told); err != nil {
		return 0, 0, err
	}
	if err = c.ReadModel().QueryRow(ctx, `SELECT position FROM readmodel.events_checkpoint`).Scan(&listed); err != nil {
		return 0, 0, err
	}
	err = c.EventLog().QueryRow(ctx, `SELECT max(pos) FROM eventlog.positions`).Scan(&head)
	return head - told, head - listed, err
}

// growingLags holds everything that follows the log to growingLag.
func growingLags(t *testing.T, samples []snapshot) (faults []string) {
	t.Helper()
	require.Greater(t, len(samples), 30, "the run was not watched")
	for what, of := range map[string]func(snapshot) int64{
		"committed and not yet readable":    func(s snapshot) int64 { return s.behind },
		"not confirmed by customer.events":  func(s snapshot) int64 { return s.untold },
		"not yet in the feed of /v1/events": func(s snapshot) int64 { return s.unlisted },
	} {
		var lags []int64
		for _, s := range samples {
			lags = append(lags, of(s))
		}
		faults = append(faults, growingLag(t, what, lags)...)
	}
	return faults
}

// growingLag compares the last third of the time with the middle one.
func growingLag(t *testing.T, what string, lags []int64) (faults []string) {
	t.Helper()
	third := len(lags) / 3
	middle, last := median(lags[third:2*third]), median(lags[2*third:])
	t.Logf("events %s: median of the middle third %d, of the last third %d, most %d (%.0f ms of the load)",
		what, middle, last, slices.Max(lags), float64(last)*1000/sustainedRate)
	if last >= sustainedRate {
		faults = append(faults, "more than a second of writes "+what)
	}
	if last > 2*middle+sustainedRate/10 {
		faults = append(faults, "more and more "+what)
	}
	return faults
}

func growingMemory(t *testing.T, c *cluster.Cluster, samples []snapshot) (faults []string) {
	t.Helper()
	third := len(samples) / 3
	for i, p := range c.Processes() {
		var resident []int64
		for _, s := range samples {
			resident = append(resident, s.memory[i])
		}
		middle, last := median(resident[third:2*third]), median(resident[2*third:])
		t.Logf("%s: resident median of the middle third %d MiB, of the last third %d MiB, peak %d MiB", p.Name, middle, last, p.PeakMiB())
		if last > middle*5/4+16 {
			faults = append(faults, p.Name+" grows")
		}
		if p.PeakMiB() >= 512 {
			faults = append(faults, p.Name+" is large")
		}
	}
	return faults
}

func median(values []int64) int64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

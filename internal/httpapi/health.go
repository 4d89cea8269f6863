package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/internal/lifecycle"
)

// Dependency is something a process cannot do its work without.
type Dependency struct {
	Name string
	// Probe returns nil when the thing is there.
	Probe func(context.Context) error
	// Explain turns Probe's error into what anybody may read. Without it, or
	// when it returns nothing, the answer is that the thing does not answer.
	Explain func(error) string
}

const (
	probeEvery    = time.Second
	probeTimeout  = 2 * time.Second
	probeOnceDown = 500 * time.Millisecond // recovery is noticed sooner
)

// Health probes in the background, so that nobody who asks for readiness can
// load a dependency, and logs what goes and comes back. It is a
// lifecycle.Service; until its first round has ended the process is not ready.
type Health struct {
	checks []Dependency
	log    *slog.Logger
	loop   *lifecycle.Loop

	mu      sync.RWMutex
	probed  bool
	failing map[string]string // reasons, by check
}

// NewHealth returns a Health that probes checks once it is started.
func NewHealth(log *slog.Logger, checks ...Dependency) *Health {
	h := &Health{checks: checks, log: log, failing: make(map[string]string)}
	h.loop = lifecycle.NewLoop("health", log, h.once)
	return h
}

// Start begins to probe.
func (h *Health) Start(ctx context.Context) error { return h.loop.Start(ctx) }

// Stop ends probing.
func (h *Health) Stop(ctx context.Context) error { return h.loop.Stop(ctx) }

func (h *Health) once(ctx context.Context) (time.Duration, error) {
	rest := probeEvery
	for _, check := range h.checks {
		probe, cancel := context.WithTimeout(ctx, probeTimeout)
		err := check.Probe(probe)
		cancel()
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err != nil {
			rest = probeOnceDown
		}
		h.note(ctx, check, err)
	}
	h.mu.Lock()
	h.probed = true
	h.mu.Unlock()
	return rest, nil
}

func (h *Health) note(ctx context.Context, check Dependency, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, failed := h.failing[check.Name]
	if err == nil {
		delete(h.failing, check.Name)
		switch {
		case failed:
			h.log.InfoContext(ctx, "dependency is back", "check", check.Name)
		case !h.probed:
			h.log.InfoContext(ctx, "dependency is there", "check", check.Name)
		}
		return
	}
	reason := "does not answer"
	if check.Explain != nil {
		if explained := check.Explain(err); explained != "" {
			reason = explained
		}
	}
	h.failing[check.Name] = reason
	if !failed || before != reason {
		h.log.WarnContext(ctx, "waiting for a dependency", "check", check.Name, "reason", reason)
	}
}

type failure struct {
	Check  string `json:"check"`
	Reason string `json:"reason"`
}

// report is what is wrong, in the order of the checks.
func (h *Health) report() []failure {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if !h.probed {
		return []failure{{Check: "start", Reason: "the first checks have not ended"}}
	}
	var out []failure
	for _, check := range h.checks {
		if reason, failed := h.failing[check.Name]; failed {
			out = append(out, failure{check.Name, reason})
		}
	}
	return out
}

type healthAnswer struct {
	Status  string    `json:"status"`
	Failing []failure `json:"failing,omitempty"`
}

func livez(c echo.Context) error { return c.JSON(http.StatusOK, healthAnswer{Status: "ok"}) }

func (e *edge) readyz(h *Health) echo.HandlerFunc {
	return func(c echo.Context) error {
		failing := h.report()
		if e.draining.Load() {
			failing = append(failing, failure{"process", "the process is stopping"})
		}
		if len(failing) > 0 {
			return c.JSON(http.StatusServiceUnavailable, healthAnswer{Status: "unavailable", Failing: failing})
		}
		return c.JSON(http.StatusOK, healthAnswer{Status: "ok"})
	}
}

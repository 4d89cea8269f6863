package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/labstack/echo/v4"
)

// Options are what every App needs. Log, Health and Auth are required.
type Options struct {
	Log    *slog.Logger
	Health *Health
	Auth   Authenticate
	// MaxInFlight is how many requests are worked on at once before more are
	// turned away; 512 unless said. A request holds about 100 KiB at most.
	MaxInFlight int

	Check  Check                // of bodies, for an API that has some
	Errors func(error) *Refusal // the API's own errors; nil for what it does not know
}

// App is one process's HTTP handler.
type App struct {
	echo     *echo.Echo
	draining *atomic.Bool
}

// ServeHTTP answers one request.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.echo.ServeHTTP(w, r) }

// Guarded gives the middlewares of operations: load, authentication, and what
// the route itself refuses.
type Guarded func(map[string]Route) map[string][]echo.MiddlewareFunc

// New returns an App that serves its health and the contract, and what mount
// adds to it; mount may be nil.
func New(o Options, mount func(*echo.Echo, Guarded)) (*App, error) {
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 512
	}
	if o.Log == nil || o.Health == nil || o.Auth == nil || o.MaxInFlight < 1 {
		return nil, errors.New("httpapi: log, health, authentication or in-flight limit missing")
	}
	ed := &edge{
		log: o.Log, problems: newProblemTypes(), own: o.Errors, inFlight: make(chan struct{}, o.MaxInFlight), draining: new(atomic.Bool),
	}
	e := echo.New()
	e.Binder = binder{o.Check}
	e.HTTPErrorHandler = func(err error, c echo.Context) { ed.answer(c, err) }
	e.Pre(ed.trace(), framed)
	// Health and the contract answer however busy the rest is.
	if mount == nil {
		mount = func(*echo.Echo, Guarded) {}
	}
	mount(e, func(routes map[string]Route) map[string][]echo.MiddlewareFunc {
		out := make(map[string][]echo.MiddlewareFunc, len(routes))
		for operation, rt := range routes {
			out[operation] = []echo.MiddlewareFunc{ed.limit, authenticated(o.Auth), rt.guard}
		}
		return out
	})
	health := Route{Offers: []string{MediaJSON}}
	addRead(e, "/livez", livez, health.guard)
	addRead(e, "/readyz", ed.readyz(o.Health), health.guard)
	if err := addDocs(e); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	return &App{echo: e, draining: ed.draining}, nil
}

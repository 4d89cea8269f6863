package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/internal/httpapi/commandapi"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/queryapi"
)

// Options are what every App needs. All but MaxInFlight are required.
type Options struct {
	Log    *slog.Logger
	Health *Health
	Auth   Authenticate
	// MaxInFlight is how many requests are worked on at once before more are
	// turned away; 512 unless said. A request holds about 100 KiB at most.
	MaxInFlight int
}

// App is one process's HTTP handler.
type App struct {
	echo     *echo.Echo
	draining *atomic.Bool
}

// ServeHTTP answers one request.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.echo.ServeHTTP(w, r) }

// NewCommandAPI serves commands.
func NewCommandAPI(commands Commands, digester Digester, o Options) (*App, error) {
	if commands == nil || digester == nil {
		return nil, errors.New("httpapi: commands or digester missing")
	}
	return newApp(o, func(e *echo.Echo, m []echo.MiddlewareFunc) {
		handler := commandapi.NewStrictHandler(&commandServer{commands: commands, digester: digester}, nil)
		commandapi.RegisterHandlersWithOptions(e, handler, commandapi.RegisterHandlersOptions{OperationMiddlewares: guarded(commandRoutes(), m)})
	})
}

// NewQueryAPI serves reads, which wait for defaultWait unless they say
// otherwise.
func NewQueryAPI(queries Queries, defaultWait time.Duration, o Options) (*App, error) {
	if queries == nil {
		return nil, errors.New("httpapi: queries missing")
	}
	return newApp(o, func(e *echo.Echo, m []echo.MiddlewareFunc) {
		handler := queryapi.NewStrictHandler(&queryServer{queries: queries, defaultWait: defaultWait}, nil)
		middlewares := guarded(queryRoutes(), m)
		queryapi.RegisterHandlersWithOptions(e, handler, queryapi.RegisterHandlersOptions{OperationMiddlewares: middlewares})
		w := queryapi.ServerInterfaceWrapper{Handler: handler}
		e.HEAD("/v1/customers/:id", w.GetCustomer, middlewares["getCustomer"]...)
	})
}

// NewHealthApp serves nothing but a process's health.
func NewHealthApp(o Options) (*App, error) {
	return newApp(o, func(*echo.Echo, []echo.MiddlewareFunc) {})
}

func guarded(routes map[string]route, before []echo.MiddlewareFunc) map[string][]echo.MiddlewareFunc {
	out := make(map[string][]echo.MiddlewareFunc, len(routes))
	for operation, rt := range routes {
		out[operation] = append(append([]echo.MiddlewareFunc(nil), before...), rt.guard)
	}
	return out
}

func newApp(o Options, add func(*echo.Echo, []echo.MiddlewareFunc)) (*App, error) {
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 512
	}
	if o.Log == nil || o.Health == nil || o.Auth == nil || o.MaxInFlight < 1 {
		return nil, errors.New("httpapi: log, health, authentication or in-flight limit missing")
	}
	ed := &edge{
		log: o.Log, problems: newProblemTypes(), inFlight: make(chan struct{}, o.MaxInFlight), draining: new(atomic.Bool),
	}
	e := echo.New()
	e.Binder = binder{}
	e.HTTPErrorHandler = func(err error, c echo.Context) { ed.answer(c, err) }
	e.Pre(ed.trace(), framed)
	// Health and the contract answer however busy the rest is.
	add(e, []echo.MiddlewareFunc{ed.limit, authenticated(o.Auth)})
	health := route{offers: mediaJSON}
	addRead(e, "/livez", livez, health.guard)
	addRead(e, "/readyz", ed.readyz(o.Health), health.guard)
	if err := addDocs(e); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	return &App{echo: e, draining: ed.draining}, nil
}

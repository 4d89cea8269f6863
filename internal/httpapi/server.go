package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Limits on a connection. They bound what a slow or silent client can hold.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 15 * time.Second
	idleTimeout       = time.Minute
)

// ServerConfig is how a Server listens.
type ServerConfig struct {
	Addr string
	// LoopbackOnly refuses to serve an address that other machines can reach.
	LoopbackOnly bool
	// DrainDelay is how long a stopping server goes on accepting: balancers
	// need a moment to see that it is not ready any more.
	DrainDelay time.Duration
	// DrainTimeout is how long requests under way have to end.
	DrainTimeout time.Duration
}

// Server serves one handler. It is a lifecycle.Service.
type Server struct {
	cfg  ServerConfig
	log  *slog.Logger
	http *http.Server
	// draining is set while the server stops. The API's handler shares it.
	draining *atomic.Bool

	mu   sync.Mutex
	addr net.Addr
	done chan struct{}
}

// ErrNotLoopback tells that an address can be reached from other machines.
var ErrNotLoopback = errors.New("not a loopback address")

// NewServer returns a server that does not listen yet.
func NewServer(app *App, log *slog.Logger, cfg ServerConfig) *Server {
	return &Server{
		cfg: cfg, log: log, draining: app.draining,
		http: &http.Server{
			Handler:           app,
			ReadHeaderTimeout: readHeaderTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			ConnContext:       withFraming,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
	}
}

// Start listens and serves.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		return nil
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.cfg.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.cfg.Addr, err)
	}
	if tcp, ok := ln.Addr().(*net.TCPAddr); s.cfg.LoopbackOnly && (!ok || !tcp.IP.IsLoopback()) {
		return errors.Join(fmt.Errorf("listen on %s: %w", s.cfg.Addr, ErrNotLoopback), ln.Close())
	}
	s.addr, s.done = ln.Addr(), make(chan struct{})
	s.log.InfoContext(ctx, "listening", "addr", s.addr.String())
	go func() {
		defer close(s.done)
		if err := s.http.Serve(framedListener{ln, s.log}); !errors.Is(err, http.ErrServerClosed) {
			s.log.ErrorContext(ctx, "server ended", "error", err)
		}
	}()
	return nil
}

// OnDrain adds what is run, in a goroutine of its own, when a stopping server
// takes no more connections: the end of streams, which would not end by
// themselves.
func (s *Server) OnDrain(f func()) { s.http.RegisterOnShutdown(f) }

// Addr is where the server listens, nil before Start.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Stop says that the process is not ready any more, goes on accepting for the
// drain delay, and then waits for the requests under way.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	done := s.done
	s.mu.Unlock()
	if done == nil {
		return nil
	}
	if !s.draining.Swap(true) && s.cfg.DrainDelay > 0 {
		delay := time.NewTimer(s.cfg.DrainDelay)
		defer delay.Stop()
		select {
		case <-delay.C:
		case <-ctx.Done():
		}
	}
	drain, cancel := context.WithTimeout(ctx, s.cfg.DrainTimeout)
	defer cancel()
	if err := s.http.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("drain: %w", err), s.http.Close())
	}
	<-done
	return nil
}

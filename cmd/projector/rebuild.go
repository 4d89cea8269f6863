package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
	"github.com/ebrahem-outlook/customer-service/internal/projection"
	"github.com/ebrahem-outlook/customer-service/migrations"
)

// rebuildStatement is for statements that make an index or drop a table.
const rebuildStatement = 24 * time.Hour

type rebuild struct {
	config.EventLog
	config.ReadModel
	config.Keys
	Lanes   config.Int `name:"lanes" env:"LANES" default:"8" min:"1" max:"1024" placeholder:"N" help:"How many lanes the feed has; the same in every process. Default ${default}."`
	Workers config.Int `default:"4" min:"1" max:"64" placeholder:"N" help:"Ranges of customers folded at once. Each takes up to three database connections. Default ${default}."`
	Restart bool       `xor:"how" help:"Give up what an earlier run left and begin anew."`
	Abandon bool       `xor:"how" help:"Give up what an earlier run left, and end. What is live stays."`
	Verify  string     `default:"rows" enum:"rows,full,none" placeholder:"HOW" help:"How the new tables are verified before the switch: rows holds every row to what was written and one in a hundred to the log folded anew, full all of them; none switches without. Default ${default}."`
	KeepOld bool       `help:"Leave the tables that were live before in the schema readmodel_old. No erasure reaches them: drop them soon."`
	DropOld bool       `xor:"how" help:"Drop the tables that an earlier run kept, and end."`
	config.Log
}

// Help says what the flags do not.
func (r *rebuild) Help() string {
	return `Fills new tables from the event log while the present ones serve, verifies them, and puts them in the
place of the present ones in one transaction. Reads and writes go on throughout. Run it as the login that migrates, because
it makes tables.

A run that was killed leaves its tables: the same command goes on with them. Until then no erasure reaches them, so go on
or use --abandon. Tables that were live before are dropped as soon as nobody reads them.`
}

// Run rebuilds, or goes on with what an earlier run left.
func (r *rebuild) Run(ctx context.Context) (err error) {
	log := r.Logger(os.Stderr, "projector")
	collectSeldom()
	p, err := r.open(ctx, log)
	if err != nil {
		return err
	}
	defer p.close()
	next, err := postgres.OpenRebuild(ctx, p.model, r.Lanes.Value)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, next.Close(context.WithoutCancel(ctx))) }()
	switch {
	case r.DropOld:
		return next.DropOld(ctx)
	case r.Abandon:
		return next.Discard(ctx)
	case r.Restart:
		if err := next.Discard(ctx); err != nil {
			return err
		}
	}
	task, err := projection.NewRebuild(projection.Deps{
		Log: p.events, Codec: eventlog.NewCodec(), Keyring: p.keyring, Logger: log,
	}, next, p.events, projection.RebuildConfig{Lanes: r.Lanes.Value, Workers: r.Workers.Value, Check: projection.Check(r.Verify)})
	if err != nil {
		return err
	}
	return r.carryOut(ctx, task, next, log)
}

func (r *rebuild) carryOut(ctx context.Context, task *projection.Rebuild, next *postgres.Rebuild, log *slog.Logger) error {
	began := time.Now()
	if err := task.Prepare(ctx); err != nil {
		if errors.Is(err, postgres.ErrMigrated) {
			return fmt.Errorf("%w: run it with --restart", err)
		}
		return err
	}
	p := task.Progress()
	message := "rebuild begun"
	if p.Resumed {
		message = "rebuild goes on"
	}
	log.InfoContext(ctx, message, "generation", p.Generation, "done", p.Done, "total", p.Total) //nolint:sloglint // one of two constants
	shown := newShown(os.Stderr, log)
	shown.follow(ctx, task.Progress)
	err := task.Run(ctx)
	shown.end()
	if differs := (*projection.DiffersError)(nil); errors.As(err, &differs) {
		printDifferences(os.Stdout, differs.Report)
	}
	if err != nil {
		return fmt.Errorf("%w; what is live is as it was, and the same command goes on from here", err)
	}
	if !r.KeepOld {
		if err := next.DropOld(ctx); err != nil {
			return fmt.Errorf("the new tables are live, but the old ones were not dropped; use --drop-old: %w", err)
		}
	}
	log.InfoContext(ctx, "rebuild ended", "generation", p.Generation, "events", p.Total, "seconds", time.Since(began).Seconds())
	return nil
}

// rebuildParts are what a rebuild works with.
type rebuildParts struct {
	log, model *pgxpool.Pool
	events     *postgres.Log
	keyring    *privacy.Keyring
}

func (r *rebuild) open(ctx context.Context, log *slog.Logger) (*rebuildParts, error) {
	keyring, err := privacy.LoadKeyring(string(r.KeysFile))
	if err != nil {
		return nil, fmt.Errorf("KEYS_FILE (--keys-file): %w", err)
	}
	p := &rebuildParts{keyring: keyring}
	conns := 2*r.Workers.Value + 4 // the events of a part and their keys; the lanes; the lock
	if p.log, err = postgres.OpenPool(ctx, postgres.PoolConfig{
		URL: r.EventLogURL.Reveal(), Role: postgres.RoleProjector, ApplicationName: "projector rebuild", MaxConns: conns,
	}); err != nil {
		return nil, fmt.Errorf("EVENTLOG_DATABASE_URL (--eventlog-database-url): %w", err)
	}
	if p.model, err = postgres.OpenPool(ctx, postgres.PoolConfig{
		URL: r.ReadModelURL.Reveal(), ApplicationName: "projector rebuild", MaxConns: conns,
		StatementTimeout: rebuildStatement, IdleInTransactionTimeout: rebuildStatement,
	}); err != nil {
		p.close()
		return nil, fmt.Errorf("READMODEL_DATABASE_URL (--readmodel-database-url): %w", err)
	}
	p.events = postgres.NewLog(p.log)
	if err := postgres.CheckVersion(ctx, p.model, migrations.ReadModel()); err != nil {
		p.close()
		return nil, err
	}
	log.DebugContext(ctx, "connected")
	return p, nil
}

func (p *rebuildParts) close() {
	p.log.Close()
	if p.model != nil {
		p.model.Close()
	}
}

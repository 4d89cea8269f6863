package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/lifecycle"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/privacy/erasures"
	"github.com/ebrahem-outlook/customer-service/migrations"
)

const (
	// forgetPeriod is how often a process asks who was erased by others.
	forgetPeriod = 5 * time.Second
	// forgetRounds is how many times it forgets each of them: a command that was
	// under way when the first round came may have put its customer back.
	forgetRounds = 4
)

// forgetting makes a process forget the customers that others erase. It costs
// one look-up in a small index a period; without it, an erased customer's key
// would stay in memory until the cache's own time is up.
func forgetting(log *slog.Logger, events *postgres.Log, commands *command.Service) *lifecycle.Loop {
	var asked []int64 // the marks of the last rounds, the oldest first
	return lifecycle.NewLoop("forgetting the erased", log, func(ctx context.Context) (time.Duration, error) {
		var from, last int64
		if len(asked) > 0 {
			from, last = asked[0], asked[len(asked)-1]
		}
		ids, next, err := events.ErasedSince(ctx, from)
		if err != nil {
			return 0, err
		}
		if next < last { // another server, restored or taken over
			commands.ForgetAll()
			asked = nil
		}
		commands.Forget(ids...)
		if asked = append(asked, next); len(asked) > forgetRounds {
			asked = asked[1:]
		}
		return forgetPeriod, nil
	})
}

// task is what every task beside the serving process takes.
type task struct {
	config.EventLog
	config.Log
}

// open connects to the log for one task, and checks its schema.
func (t task) open(ctx context.Context) (*pgxpool.Pool, error) {
	pool, err := postgres.OpenPool(ctx, postgres.PoolConfig{
		URL: t.EventLogURL.Reveal(), Role: postgres.RoleCommand, ApplicationName: "command-api task", MaxConns: 2,
		StatementTimeout: postgres.RareTimeout,
	})
	if err != nil {
		return nil, fmt.Errorf("EVENTLOG_DATABASE_URL (--eventlog-database-url): %w", err)
	}
	if err := postgres.CheckVersion(ctx, pool, migrations.EventLog()); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

type erasuresExport struct {
	task
	Out string `name:"out" placeholder:"FILE" help:"Where to write the list; standard output if not given. A file that is there is replaced in one step."`
}

// Run writes the list of erasures.
func (e *erasuresExport) Run(ctx context.Context) error {
	pool, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	write := func(out io.Writer) (int, error) {
		list := erasures.NewWriter(out)
		if err := postgres.NewErasures(pool).Each(ctx, eventlog.NewCodec(), list.Write); err != nil {
			return 0, err
		}
		return list.Count(), list.Close()
	}
	if e.Out == "" {
		_, err := write(os.Stdout)
		return err
	}
	var count int
	err = replaceFile(e.Out, func(out io.Writer) (err error) {
		count, err = write(out)
		return err
	})
	if err != nil {
		return fmt.Errorf("write the list of erasures: %w", err)
	}
	_, _ = fmt.Fprintf(os.Stderr, "%s: %d erasures. Keep it apart from the database and its backups.\n", e.Out, count)
	return nil
}

// replaceFile puts what write writes in the place of a file, all or nothing.
func replaceFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

type erasuresReplay struct {
	task
	File string `arg:"" help:"List that 'erasures export' wrote, or several one after the other; - for standard input."`
}

// Run erases again whom a restored log has forgotten were erased.
func (e *erasuresReplay) Run(ctx context.Context) error {
	list, err := e.read()
	if err != nil {
		return err
	}
	pool, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	shown := time.Now()
	s, err := erasures.Replay(ctx, postgres.NewErasures(pool), eventlog.NewCodec(), list, func(done, total int) {
		if time.Since(shown) > time.Second || done == total {
			shown = time.Now()
			_, _ = fmt.Fprintf(os.Stderr, "%d of %d erasures\n", done, total)
		}
	})
	if err != nil {
		return fmt.Errorf("%w; %d customers were erased before that, and running it again goes on", err, s.Erased)
	}
	_, err = fmt.Fprintf(os.Stdout, "listed %d: erased now %d, without a key already %d, not in this log %d; keys that the log had of customers it had erased: %d deleted\n",
		s.Listed, s.Erased, s.Already, s.Unknown, s.Purged)
	return err
}

func (e *erasuresReplay) read() ([]erasures.Erasure, error) {
	in, name := os.Stdin, "standard input"
	if e.File != "-" {
		f, err := os.Open(e.File)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in, name = f, e.File
	}
	list, err := erasures.Read(in)
	if err != nil {
		return nil, fmt.Errorf("%s is not a list of erasures, and nothing was done:\n%w", name, err)
	}
	return list, nil
}

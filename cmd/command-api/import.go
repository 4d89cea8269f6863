package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/mattn/go-isatty"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/commandapi"
	"github.com/ebrahem-outlook/customer-service/internal/imports"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
	"github.com/ebrahem-outlook/customer-service/migrations"
)

const (
	importConns = 16
	// importPatience is how long an import waits for a log that does not answer.
	importPatience = 2 * time.Minute
	// importGC trades memory, of which an import needs little, for time.
	importGC = 400
	// awaitEvery is how often a log is asked that did not answer at the start.
	awaitEvery = time.Second
)

// importFile is the command that imports a file, in this very process, into
// the log.
type importFile struct {
	File    string `arg:"" name:"file" placeholder:"FILE" help:"What to import: customers as NDJSON, or as CSV if the name ends in .csv. - reads standard input, which cannot be resumed."`
	CSV     bool   `name:"csv" help:"The file is CSV, whatever its name."`
	DryRun  bool   `name:"dry-run" help:"Check every line and say what it would do; write nothing to the log."`
	Restart bool   `name:"restart" help:"Begin anew, whatever a run before has done. Nobody is imported twice by it."`
	Rejects string `name:"rejects" placeholder:"FILE" help:"Where rejected lines go, with the reason for each. They are personal data: the file is for its owner alone. Default FILE.rejects.ndjson."`
	Actor   string `name:"actor" default:"import" placeholder:"NAME" help:"Who is recorded as having done it. Default ${default}."`
	config.EventLog
	config.Keys
	config.Log
}

// Help says what flags cannot.
func (*importFile) Help() string {
	return `A line whose external_id, else e-mail address, belongs to a customer updates it; any other registers one.
Progress is kept in FILE.progress: after a kill the same command goes on, and nobody is imported twice.
A line that is rejected goes to the rejects with its reason, and the others land.

CSV is UTF-8 with commas and a header: email (required), first_name, last_name, phone, locale, external_id;
tags (a;b); metadata.KEY; address.line1, .line2, .city, .state, .postal_code, .country, .label, .default_for
(shipping;billing); consent.CHANNEL (true or false), consent.CHANNEL.source, consent.CHANNEL.wording.
An empty cell says nothing of its field. docs/import.md has examples.

The exit code is 0 when every line landed, 1 when some were rejected or the import could not end, 2 for faulty settings.`
}

var errRejected = errors.New("lines were rejected")

// Run imports the file.
func (i *importFile) Run(ctx context.Context) (err error) {
	log := i.Logger(os.Stderr, "command-api")
	debug.SetGCPercent(importGC)
	in, err := i.open()
	if err != nil {
		return err
	}
	defer in.close()
	shown := newShown(os.Stderr, isatty.IsTerminal(os.Stderr.Fd()), log, in)
	importer, closeLog, err := i.importer(ctx, log, func(err error) { shown.waiting(ctx, err) })
	if err != nil {
		return in.unfinished(err)
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	if err := in.trimRejects(); err != nil {
		return err
	}
	in.begun = time.Now()
	_, err = importer.Run(ctx, in.source, command.Request{Principal: i.Actor, DryRun: i.DryRun}, func(results []imports.Result) error {
		if err := in.done(results); err != nil {
			return err
		}
		shown.update(ctx)
		return nil
	})
	shown.end(ctx, err)
	if err != nil {
		return in.unfinished(errors.Join(err, in.save()))
	}
	if err := in.finish(); err != nil {
		return err
	}
	if in.progress.Failed > 0 {
		return fmt.Errorf("%d %w: %s has each with its reason; correct them there or where they came from, and import them again",
			in.progress.Failed, errRejected, in.rejectsPath)
	}
	return nil
}

// importer is the write side in this process.
func (i *importFile) importer(ctx context.Context, log *slog.Logger, waiting func(error)) (*imports.Importer, func() error, error) {
	keyring, err := privacy.LoadKeyring(string(i.KeysFile))
	if err != nil {
		return nil, nil, fmt.Errorf("KEYS_FILE (--keys-file): %w", err)
	}
	pool, err := postgres.OpenPool(ctx, postgres.PoolConfig{
		URL: i.EventLogURL.Reveal(), Role: postgres.RoleCommand, ApplicationName: "command-api import", MaxConns: importConns,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("EVENTLOG_DATABASE_URL (--eventlog-database-url): %w", err)
	}
	if err := await(ctx, pool, waiting); err != nil {
		pool.Close()
		return nil, nil, err
	}
	events := postgres.NewLog(pool)
	appender, appenderErr := command.NewAppender(events, log, imports.Appending())
	if appenderErr != nil {
		pool.Close()
		return nil, nil, appenderErr
	}
	customers, customersErr := command.New(command.Deps{
		Log: events, Claims: events, Appender: appender, Codec: eventlog.NewCodec(), Keys: keyring, Now: time.Now,
	}, command.Config{})
	if customersErr != nil {
		pool.Close()
		return nil, nil, customersErr
	}
	importer, importerErr := imports.New(customers, commandapi.DecodeLine, imports.Config{Patience: importPatience, Waiting: waiting})
	if err := errors.Join(importerErr, appender.Start(ctx)); err != nil {
		pool.Close()
		return nil, nil, err
	}
	return importer, func() error {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err := appender.Stop(stopping)
		customers.Close()
		pool.Close()
		return err
	}, nil
}

// await waits for a log that does not answer yet.
func await(ctx context.Context, pool *pgxpool.Pool, waiting func(error)) error {
	again := time.NewTicker(awaitEvery)
	defer again.Stop()
	for begun := time.Now(); ; {
		err := postgres.CheckVersion(ctx, pool, migrations.EventLog())
		if _, behind := errors.AsType[*postgres.BehindError](err); err == nil || behind {
			return err
		}
		if time.Since(begun) > importPatience {
			return fmt.Errorf("the event log did not answer for %s: %w", importPatience, err)
		}
		waiting(err)
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

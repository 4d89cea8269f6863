package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

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
	importer, closeLog, err := i.importer(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	shown := newShown(os.Stderr, isatty.IsTerminal(os.Stderr.Fd()), log, in)
	defer shown.end(ctx)
	_, err = importer.Run(ctx, in.source, command.Request{Principal: i.Actor, DryRun: i.DryRun}, func(results []imports.Result) error {
		if err := in.done(results); err != nil {
			return err
		}
		shown.update(ctx)
		return nil
	})
	if err != nil {
		err = errors.Join(err, in.save())
		if in.progressPath != "" {
			err = fmt.Errorf("%w\nrun the same command again to go on behind line %d", err, in.progress.Line)
		}
		return err
	}
	if err := in.finish(); err != nil {
		return err
	}
	if in.progress.Failed > 0 {
		return fmt.Errorf("%d %w: see %s", in.progress.Failed, errRejected, in.rejectsPath)
	}
	return nil
}

// importer is the write side in this process.
func (i *importFile) importer(ctx context.Context, log *slog.Logger) (*imports.Importer, func() error, error) {
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
	if err := postgres.CheckVersion(ctx, pool, migrations.EventLog()); err != nil {
		pool.Close()
		return nil, nil, fmt.Errorf("event log: %w", err)
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
	importer, importerErr := imports.New(customers, commandapi.DecodeLine, imports.Config{Patience: importPatience})
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

// open opens the file behind what runs before have done of it.
func (i *importFile) open() (*input, error) {
	in := &input{problems: commandapi.NewLineProblems(), rejectsPath: i.Rejects, begun: time.Now()}
	stdin := i.File == "-"
	if in.rejectsPath == "" {
		in.rejectsPath = i.File + ".rejects.ndjson"
		if stdin {
			in.rejectsPath = "stdin.rejects.ndjson"
		}
		if i.DryRun {
			in.rejectsPath = strings.TrimSuffix(in.rejectsPath, ".ndjson") + ".dry-run.ndjson"
		}
	}
	var from io.Reader = os.Stdin
	if !stdin {
		file, err := os.Open(i.File)
		if err != nil {
			return nil, err
		}
		from, in.file = file, file
		if in.fingerprint, err = fingerprintOf(file); err != nil {
			in.close()
			return nil, err
		}
		if !i.DryRun {
			in.progressPath = i.File + ".progress"
		}
	}
	table := i.CSV || strings.EqualFold(filepath.Ext(i.File), ".csv")
	if err := errors.Join(in.resume(i.Restart), in.begin(from, table)); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
	"github.com/ebrahem-outlook/customer-service/internal/privacy/erasures"
)

// runTask runs one of the tasks beside serving, as its command line does.
func runTask(t *testing.T, args ...string) error {
	t.Helper()
	var cli struct {
		Keys struct {
			Add    keysAdd    `cmd:""`
			Rotate keysRotate `cmd:""`
			Rewrap keysRewrap `cmd:""`
			Status keysStatus `cmd:""`
			Retire keysRetire `cmd:""`
		} `cmd:""`
		Erasures struct {
			Export erasuresExport `cmd:""`
			Replay erasuresReplay `cmd:""`
		} `cmd:""`
	}
	chosen, err := config.Parse(&cli, "command-api", "", args, new(bytes.Buffer))
	require.NoError(t, err)
	chosen.BindTo(t.Context(), (*context.Context)(nil))
	return chosen.Run()
}

func TestErasuresAreExportedAndReplayedWhileServing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gone, other := w.full(t), w.full(t)
	first := w.Do(t, "POST", "/v1/customers/"+gone.ID+"/erase", `{"reason": "request 4711"}`)
	require.Equal(t, 200, first.StatusCode, "%s", first.Body)

	database := "--eventlog-database-url=" + w.db.URL
	list := filepath.Join(t.TempDir(), "erasures.ndjson")
	require.NoError(t, os.WriteFile(list, []byte("yesterday's"), 0o644))
	require.NoError(t, runTask(t, "erasures", "export", database, "--out="+list))
	info, err := os.Stat(list)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	text, err := os.ReadFile(list)
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(text), "\n"), "an erasure, and how many there are: %s", text)

	// A log in which the other customer still lives, although the list has her,
	// is one that was restored.
	named := strings.ReplaceAll(string(text), gone.ID, other.ID)
	cut := filepath.Join(t.TempDir(), "cut.ndjson")
	require.NoError(t, os.WriteFile(cut, []byte(named[:strings.IndexByte(named, '\n')+1]), 0o600))
	err = runTask(t, "erasures", "replay", database, cut)
	require.ErrorContains(t, err, "nothing was done")
	require.ErrorContains(t, runTask(t, "erasures", "replay", database, cut+".not"), "no such file")
	w.must(t, 200, "PUT", "/v1/customers/"+other.ID+"/tags/alive", "")

	whole := filepath.Join(t.TempDir(), "whole.ndjson")
	require.NoError(t, os.WriteFile(whole, []byte(named+string(text)), 0o600))
	for range 2 {
		require.NoError(t, runTask(t, "erasures", "replay", database, whole))
		refused := w.Do(t, "PUT", "/v1/customers/"+other.ID+"/tags/back", "")
		require.Equal(t, 410, refused.StatusCode, "also from who had the customer in memory: %s", refused.Body)
		require.Equal(t, "customer-erased", refused.Problem(t).Code)
	}
	var was, is erasure
	first.JSON(t, &was)
	w.Do(t, "POST", "/v1/customers/"+other.ID+"/erase", `{"reason": "again"}`).JSON(t, &is)
	require.Equal(t, []any{was.Actor, was.Reason, was.KeyID}, []any{is.Actor, is.Reason, is.KeyID}, "as it was the first time")
	require.False(t, is.ErasedAt.Before(was.ErasedAt))
	var left int
	require.NoError(t, w.db.Pool(t, "").QueryRow(t.Context(), "SELECT (SELECT count(*) FROM eventlog.subject_keys) + (SELECT count(*) FROM eventlog.claims)").Scan(&left))
	require.Zero(t, left)

	require.NoError(t, runTask(t, "erasures", "export", database, "--out="+list))
	file, err := os.Open(list)
	require.NoError(t, err)
	defer file.Close()
	again, err := erasures.Read(file)
	require.NoError(t, err)
	require.Len(t, again, 2)
}

// loads notes from which version customers are read.
type loads struct {
	eventlog.Loader
	mu    sync.Mutex
	after []customer.Version
}

func (l *loads) Load(ctx context.Context, id customer.ID, after customer.Version) (eventlog.Stream, error) {
	l.mu.Lock()
	l.after = append(l.after, after)
	l.mu.Unlock()
	return l.Loader.Load(ctx, id, after)
}

// Whom another process erased, key and all, is not kept in this one's memory.
func TestAProcessForgetsWhomOthersErase(t *testing.T) {
	t.Parallel()
	db := postgrestest.EventLog(t)
	ctx, log := t.Context(), slog.New(slog.DiscardHandler)
	path := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, privacy.InitKeyring(path))
	ring, err := privacy.LoadKeyring(path)
	require.NoError(t, err)
	events := postgres.NewLog(db.Pool(t, postgres.RoleCommand))
	appender, err := command.NewAppender(events, log, command.AppenderConfig{})
	require.NoError(t, err)
	require.NoError(t, appender.Start(ctx))
	t.Cleanup(func() { require.NoError(t, appender.Stop(context.WithoutCancel(ctx))) })
	process := func() (*command.Service, *loads) {
		l := &loads{Loader: events}
		s, err := command.New(command.Deps{Log: l, Claims: events, Appender: appender, Codec: eventlog.NewCodec(), Keys: ring, Now: time.Now}, command.Config{})
		require.NoError(t, err)
		t.Cleanup(s.Close)
		return s, l
	}
	here, read := process()
	elsewhere, _ := process()
	asking := command.Request{Principal: "tester"}
	registered := func() customer.ID {
		r, err := here.Register(ctx, asking, customer.Registration{FirstName: "Ada", Email: customer.Email(uuid.NewString() + "@example.com")})
		require.NoError(t, err)
		return r.Data.ID
	}
	gone, stays := registered(), registered()
	_, err = elsewhere.Erase(ctx, asking, gone, "asked for")
	require.NoError(t, err)

	forget := forgetting(log, events, here)
	require.NoError(t, forget.Start(ctx))
	t.Cleanup(func() { require.NoError(t, forget.Stop(context.WithoutCancel(ctx))) })
	require.Eventually(t, func() bool {
		forget.Wake()
		read.mu.Lock()
		read.after = nil
		read.mu.Unlock()
		_, err := here.Tag(ctx, asking, gone, "vip")
		require.ErrorIs(t, err, customer.ErrErased)
		return read.after[0] == 0 // it knows nothing to go on from
	}, 15*time.Second, 20*time.Millisecond)
	read.after = nil
	_, err = here.Tag(ctx, asking, stays, "vip")
	require.NoError(t, err)
	require.Empty(t, read.after, "nobody else is forgotten")
}

func TestKeysAreRotatedWhileServing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.full(t)
	on := "/v1/customers/" + d.ID
	flags := []string{"--eventlog-database-url=" + w.db.URL, "--keys-file=" + w.keys}
	keks := func() (names []string) {
		rows, err := w.db.Pool(t, "").Query(t.Context(), "SELECT DISTINCT kek FROM eventlog.subject_keys")
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var name string
			require.NoError(t, rows.Scan(&name))
			names = append(names, name)
		}
		return names
	}
	before := keks()
	require.NoError(t, runTask(t, append([]string{"keys", "retire"}, flags...)...), "there is nothing to retire")
	require.NoError(t, runTask(t, "keys", "add", "--keys-file="+w.keys))
	require.Equal(t, before, keks(), "a key that was added wraps nothing")
	require.NoError(t, runTask(t, append([]string{"keys", "rotate"}, flags...)...))
	after := keks()
	require.Len(t, after, 1)
	require.NotEqual(t, before, after)
	w.must(t, 200, "PUT", on+"/tags/rotated", "")
	require.NoError(t, runTask(t, append([]string{"keys", "retire"}, flags...)...))
	require.NoError(t, runTask(t, append([]string{"keys", "status"}, flags...)...))
	w.must(t, 200, "PUT", on+"/tags/retired", "")
	require.Equal(t, after, keks())

	content, err := os.ReadFile(w.keys)
	require.NoError(t, err)
	var ring map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(content, &ring))
	require.NotContains(t, string(content), strings.TrimPrefix(before[0], "file:"), "the old key is gone")

	// With a keyring that lacks what the log names, whoever looks is told.
	other := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, privacy.InitKeyring(other))
	require.ErrorContains(t, runTask(t, "keys", "status", flags[0], "--keys-file="+other), "the keyring has no "+after[0])
	require.Error(t, runTask(t, "keys", "rewrap", flags[0], "--keys-file="+other))
	w.must(t, 200, "PUT", on+"/tags/unharmed", "")
}

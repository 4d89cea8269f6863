package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// script is a directory with a program that says which it is and what NAME is,
// and then runs until SIGTERM.
func script(t *testing.T, which string) string {
	t.Helper()
	dir := t.TempDir()
	text := "#!/bin/sh\ntrap 'exit 3' TERM\necho " + which + " $NAME\nwhile :; do sleep 0.02; done\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "program"), []byte(text), 0o700))
	return dir
}

func TestProcessChangesItsProgramAndEnvironmentBetweenRuns(t *testing.T) {
	t.Parallel()
	adopted := 0
	p := &Process{
		Name: "program-1", Program: "program", Log: filepath.Join(t.TempDir(), "log"), env: os.Environ(),
		adopt: func(int) (func() error, error) {
			adopted++
			return func() error { adopted--; return nil }, nil
		},
	}
	t.Cleanup(p.Kill)
	says := func(text string) {
		t.Helper()
		require.NoError(t, Poll(Within(t, 10*time.Second), 5*time.Millisecond, func() bool { return strings.HasSuffix(p.Tail(10), text) }), p.Tail(10))
	}
	require.False(t, p.Running())
	require.Empty(t, p.Exit())

	p.Use(script(t, "first"))
	require.NoError(t, p.Start())
	require.NoError(t, p.Start(), "one that runs is left alone")
	says("first")
	require.True(t, p.Running())
	require.Equal(t, 1, adopted)
	files, _ := p.Files()
	require.GreaterOrEqual(t, files, 3)

	p.Use(script(t, "second"))
	p.Setenv("NAME=a", "NAME=b")
	require.NoError(t, p.Pause())
	require.NoError(t, p.Resume())
	code, err := p.Terminate(10 * time.Second)
	require.NoError(t, err)
	require.Equal(t, 3, code)
	require.Equal(t, "exit status 3", p.Exit())
	require.Zero(t, adopted)

	require.NoError(t, p.Start())
	says("second b")
	require.NoError(t, p.Pause())
	p.Kill()
	require.Equal(t, "signal: killed", p.Exit())
	require.False(t, p.Running())
}

func TestRepositoryIsFoundFromAnyPackage(t *testing.T) {
	t.Parallel()
	root, err := Repository()
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(root, "go.work"))
	require.FileExists(t, filepath.Join(root, "e2e", "cluster", "process_test.go"))
}

package crash_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
)

// build builds a package of the module with tags and returns the binary.
func build(t *testing.T, pkg, tags string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "binary")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", tags, "-o", out, pkg)
	cmd.Dir = filepath.Join("..", "..")
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)
	return out
}

// The processes as they are shipped know neither where a point would be armed
// nor the name of any; built for a run with faults they do.
func TestOnlyTaggedBinariesHavePoints(t *testing.T) {
	t.Parallel()
	for _, pkg := range []string{"./cmd/command-api", "./cmd/projector"} {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			shipped, err := os.ReadFile(build(t, pkg, ""))
			require.NoError(t, err)
			tagged, err := os.ReadFile(build(t, pkg, "crashpoints"))
			require.NoError(t, err)
			words := []string{crash.DirVariable}
			for _, p := range crash.Points() {
				words = append(words, p.String())
			}
			for _, word := range words {
				require.False(t, bytes.Contains(shipped, []byte(word)), word)
				require.True(t, bytes.Contains(tagged, []byte(word)), word)
			}
		})
	}
}

// Each point has a name of its own and is passed in one place of the product.
func TestEachPointIsPlacedOnce(t *testing.T) {
	t.Parallel()
	placed := map[string]int{}
	require.NoError(t, filepath.WalkDir(filepath.Join("..", ".."), func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "e2e" || entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".") && entry.Name() != "..") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`crash\.Here\(crash\.(\w+)\)`).FindAllSubmatch(text, -1) {
			placed[string(m[1])]++
		}
		return err
	}))
	names := map[string]bool{}
	for _, p := range crash.Points() {
		require.NotEmpty(t, p.String())
		names[p.String()] = true
	}
	require.Len(t, names, len(crash.Points()), "two points share a name")
	require.Len(t, placed, len(crash.Points()), "%v", placed)
	for name, n := range placed {
		require.Equal(t, 1, n, "crash.%s is to be in one place", name)
	}
}

// Of any number of processes that pass an armed point one dies, at once and
// without running what it deferred; the file says which.
func TestAnArmedPointKillsOneProcess(t *testing.T) {
	t.Parallel()
	binary, dir := build(t, "./internal/crash/testdata/passer", "crashpoints"), t.TempDir()
	armed := filepath.Join(dir, crash.FeedAfterConfirm.String())
	require.NoError(t, os.WriteFile(armed, nil, 0o600))
	var (
		all    sync.WaitGroup
		killed [8]bool
		said   [8]string
	)
	for i := range killed {
		all.Go(func() {
			cmd := exec.CommandContext(t.Context(), binary)
			cmd.Env = append(os.Environ(), crash.DirVariable+"="+dir)
			out, err := cmd.CombinedOutput()
			said[i] = string(out)
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				status, _ := exit.Sys().(syscall.WaitStatus)
				killed[i] = status.Signaled() && status.Signal() == syscall.SIGKILL
			}
		})
	}
	all.Wait()
	deaths := 0
	for i := range killed {
		if killed[i] {
			deaths++
			require.Empty(t, said[i])
			continue
		}
		require.Equal(t, "passed\ndeferred\n", said[i])
	}
	require.Equal(t, 1, deaths)
	require.NoFileExists(t, armed)
	left, err := filepath.Glob(armed + ".died-*")
	require.NoError(t, err)
	require.Len(t, left, 1)
}

package chaos

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
)

func TestCrashPointsTellWhoDied(t *testing.T) {
	t.Parallel()
	c, err := NewCrashPoints(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, c.arm(crash.FeedAfterConfirm))
	pid, err := c.disarm(crash.FeedAfterConfirm)
	require.NoError(t, err)
	require.Zero(t, pid)
	require.Equal(t, []string{"feed-after-confirm"}, c.Unreached())

	require.NoError(t, c.arm(crash.FeedAfterConfirm))
	require.NoError(t, os.Rename(c.file(crash.FeedAfterConfirm), c.file(crash.FeedAfterConfirm)+".died-4711")) // as who dies does
	pid, err = c.victim(crash.FeedAfterConfirm)
	require.NoError(t, err)
	require.Equal(t, 4711, pid)
	pid, err = c.disarm(crash.FeedAfterConfirm)
	require.NoError(t, err)
	require.Equal(t, 4711, pid)
	require.Empty(t, c.Unreached())
	require.Equal(t, 1, c.Died()["feed-after-confirm"])
	pid, err = c.disarm(crash.FeedAfterConfirm)
	require.NoError(t, err)
	require.Zero(t, pid, "nobody dies twice")
}

// Every point is passed by serving processes or by a task.
func TestEveryPointCanStrike(t *testing.T) {
	t.Parallel()
	can := map[crash.Point]bool{}
	for _, points := range passing {
		for _, p := range points {
			can[p] = true
		}
	}
	a := &Activities{dir: t.TempDir()}
	imports, err := a.newImport(&Injection{Rand: rand.New(rand.NewPCG(1, 0))})
	require.NoError(t, err)
	for _, one := range []task{a.rebuild(), a.verify(), a.rotate(), imports} {
		for _, p := range one.points {
			can[p] = true
		}
	}
	for _, p := range crash.Points() {
		require.True(t, can[p], "%s is in no catalogue", p)
	}
}

func TestPreviousVersion(t *testing.T) {
	t.Parallel()
	root, n := t.TempDir(), 0
	in := func(args ...string) {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "git %v: %s", args, out)
	}
	commit := func(file string) string {
		n++
		path := filepath.Join(root, file)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte{byte('a' + n)}, 0o600))
		in("add", ".")
		in("commit", "-q", "-m", file)
		head, err := git(t.Context(), root, "rev-parse", "HEAD")
		require.NoError(t, err)
		return head
	}
	in("init", "-q", "-b", "main")
	first := commit("cmd/main.go")
	commit("docs/it.md")
	commit("internal/it_test.go")
	_, err := previous(t.Context(), root, "")
	require.ErrorIs(t, err, ErrNoPrevious, "nothing ever shipped anything else")
	before := commit("README.md")
	commit("migrations/1.sql")
	got, err := previous(t.Context(), root, "")
	require.NoError(t, err)
	require.Equal(t, before, got, "the commit before")
	commit("docs/more.md")
	got, err = previous(t.Context(), root, "")
	require.NoError(t, err)
	require.Equal(t, before, got, "the last one that shipped something else")
	in("tag", "v1", first)
	got, err = previous(t.Context(), root, "")
	require.NoError(t, err)
	require.Equal(t, first, got, "the newest tag")
	got, err = previous(t.Context(), root, before)
	require.NoError(t, err)
	require.Equal(t, before, got, "the one named")
	_, err = previous(t.Context(), root, "nonsense")
	require.ErrorContains(t, err, "nonsense is no commit here")
}

// Where disks can be made one becomes full, is freed, and is taken over from
// whoever left it.
func TestSmallDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := NewSmallDisk(dir, 8<<20)
	if errors.Is(err, ErrNoSmallDisk) {
		t.Logf("the fault is not in the catalogue of this machine: %v", err)
		return
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Unmount()) })
	file := filepath.Join(d.Dir(), "data")
	text := make([]byte, 64<<10)
	require.NoError(t, d.Fill())
	require.ErrorIs(t, os.WriteFile(file, text, 0o600), syscall.ENOSPC)
	left, err := NewSmallDisk(dir, 4<<20)
	require.NoError(t, err)
	require.Equal(t, d.Dir(), left.Dir())
	require.NoError(t, os.WriteFile(file, text, 0o600), "it was freed when it was taken over")
	require.NoError(t, left.Free(), "freeing what is not full is no error")
	require.NoError(t, left.Unmount())
	require.NoFileExists(t, file)
	require.NoError(t, left.Unmount(), "twice is no error")
}

package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// ErrNoPrevious tells that there is no earlier version to compare with, as in a
// checkout without history.
var ErrNoPrevious = errors.New("no previous version")

// shipped is what a version of the service is made of.
var shipped = []string{"cmd", "internal", "migrations", "api", "go.mod", "go.sum", ":(exclude)*_test.go", ":(exclude)internal/devstack"}

// searched is how many commits are looked through for a previous version where
// none was named, tagged or published.
const searched = 500

// Version is an earlier version of the service, built.
type Version struct {
	Commit string // abbreviated
	Title  string // the commit's first line
	Dir    string // of its programs
}

// BuildPrevious builds the version that the working tree at root follows: the
// commit named if any is, else the first of origin/main, main, the newest tag
// and the commit before that ships something else, else the last commit that did.
func BuildPrevious(ctx context.Context, root, named string) (Version, error) {
	commit, err := previous(ctx, root, named)
	if err != nil {
		return Version{}, err
	}
	short, err := git(ctx, root, "rev-parse", "--short", commit)
	if err != nil {
		return Version{}, err
	}
	title, err := git(ctx, root, "log", "-1", "--format=%s", commit)
	if err != nil {
		return Version{}, err
	}
	home := filepath.Join(root, ".local", "previous-"+short)
	v := Version{Commit: short, Title: title, Dir: filepath.Join(home, "bin")}
	source, built := filepath.Join(home, "source"), filepath.Join(home, "built")
	if _, err := os.Stat(built); err == nil {
		return v, nil // a commit does not change
	}
	if err := errors.Join(os.RemoveAll(home), os.MkdirAll(source, 0o755)); err != nil {
		return Version{}, err
	}
	archive := filepath.Join(home, "source.tar")
	if _, err := git(ctx, root, "archive", "--format=tar", "-o", archive, commit); err != nil {
		return Version{}, err
	}
	if out, err := exec.CommandContext(ctx, "tar", "-xf", archive, "-C", source).CombinedOutput(); err != nil {
		return Version{}, fmt.Errorf("unpack %s: %w: %s", short, err, out)
	}
	if err := BuildWithCrashPoints(ctx, source, v.Dir); err != nil {
		return Version{}, err
	}
	return v, errors.Join(os.RemoveAll(source), os.Remove(archive), os.WriteFile(built, nil, 0o600))
}

func previous(ctx context.Context, root, named string) (string, error) {
	if named != "" {
		commit, err := git(ctx, root, "rev-parse", "-q", "--verify", named+"^{commit}")
		if err != nil {
			return "", fmt.Errorf("%s is no commit here: %w", named, err)
		}
		return commit, nil
	}
	candidates := []string{"origin/main", "main"}
	if tag, err := git(ctx, root, "describe", "--tags", "--abbrev=0"); err == nil {
		candidates = append(candidates, tag)
	}
	if earlier, err := git(ctx, root, append([]string{"log", fmt.Sprintf("-%d", searched), "--format=%H^", "--"}, shipped...)...); err == nil {
		candidates = append(append(candidates, "HEAD^"), strings.Fields(earlier)...)
	}
	for _, c := range candidates {
		commit, err := git(ctx, root, "rev-parse", "-q", "--verify", c+"^{commit}")
		if err != nil {
			continue
		}
		if _, err := git(ctx, root, append([]string{"diff", "--quiet", commit, "--"}, shipped...)...); err != nil {
			return commit, nil // it differs from the working tree
		}
	}
	return "", fmt.Errorf("%w: the history here has none that ships anything else; name a commit", ErrNoPrevious)
}

func git(ctx context.Context, root string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		said := ""
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			said = ": " + strings.TrimSpace(string(exit.Stderr))
		}
		return "", fmt.Errorf("git %s: %w%s", args[0], err, said)
	}
	return strings.TrimSpace(string(out)), nil
}

// UpgradeFault puts another version's programs in place of the present ones, one
// process at a time, and back again when it is healed, while all goes on. The
// schemas stay those of the newer version, as after a real upgrade that is taken
// back.
func UpgradeFault(c *cluster.Cluster, present string, other Version) Fault {
	return Fault{
		Kind: "rolling-upgrade", Targets: []string{"every process"}, Alone: true, Least: time.Second,
		Inject: func(ctx context.Context, in *Injection) error {
			in.Say("to %s and back", other.Commit)
			in.Undo(func(ctx context.Context) error { return roll(ctx, in, c, present) })
			return roll(ctx, in, c, other.Dir)
		},
	}
}

// roll replaces every process by the program in dir. A process that does not
// become ready is a violation: an operator would have to stop there.
func roll(ctx context.Context, in *Injection, c *cluster.Cluster, dir string) error {
	began := time.Now()
	for _, p := range c.Processes() {
		code, err := p.Terminate(drainLimit)
		switch {
		case err != nil:
			in.Violate("%v", err)
		case code != 0:
			in.Violate("%s exited with %d after SIGTERM", p.Name, code)
		}
		p.Use(dir)
		if err := p.Start(); err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, RecoveryLimit)
		err = p.WaitReady(limited)
		cancel()
		if err != nil {
			in.Violate("%s of %s is not ready: %v", p.Name, filepath.Base(filepath.Dir(dir)), err)
		}
	}
	in.Say("rolled in %.1f s", time.Since(began).Seconds())
	return nil
}

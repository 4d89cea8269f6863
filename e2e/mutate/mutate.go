// Package mutate builds the three processes with a bug planted in them, so that
// a run of faults can show that it would have caught it. The working tree is
// left as it is: the compiler is handed other texts for some of its files,
// migrations included.
//
// It knows the product's source by heart. An edit whose text is no longer there
// exactly once fails to apply, and whoever changed that source says anew how
// the bug would look now.
package mutate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Edit replaces one text by another in a file, whose path is from the root of
// the repository. Old must be there exactly once.
type Edit struct{ File, Old, New string }

// Mutation is one planted bug.
type Mutation struct {
	Name  string
	Edits []Edit
	// Programs run the changed code: command-api, projector, query-api. One that
	// has it too and does not run it is left as it is.
	Programs []string
	// Faults bring it about; with none of them, load alone does.
	Faults []Fault
	// Strikes is how many faults it gets, if more than other bugs: of what one
	// fault brings about, the customer's next change leaves nothing to be seen.
	Strikes int
	// Expect are the promises of which it has to break one.
	Expect []string
	// Why says what the bug is and, where there is more than one defence, which
	// others had to go as well for anybody to notice.
	Why string
}

// Fault names faults of package chaos: those of a kind, with the targets that a
// pattern of [path.Match] fits.
type Fault struct{ Kind, Target string }

// Fits tells whether f names a fault of a kind that strikes target.
func (f Fault) Fits(kind, target string) bool {
	fits, err := path.Match(f.Target, target)
	return err == nil && fits && f.Kind == kind
}

// All returns every planted bug.
func All() []Mutation {
	return slices.Concat(appending(), deciding(), sequencing(), relaying(), projecting(), caching(), erasing())
}

// StaleError tells that an edit no longer fits the source.
type StaleError struct {
	Mutation string
	Edit     Edit
	Found    int
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("planted bug %s is stale: its text occurs %d times in %s, want once.\n"+
		"The source changed, so say in e2e/mutate what the same bug looks like now, then run the bug: "+
		"cd e2e && go test ./mutate && go test -run 'TestMutations/%s$' ./reliability\nThe text:\n%s",
		e.Mutation, e.Found, e.Edit.File, e.Mutation, e.Edit.Old)
}

// Apply returns the files m changes, by path from root, as they are with it.
func Apply(m Mutation, root fs.FS) (map[string]string, error) {
	if len(m.Edits) == 0 {
		return nil, fmt.Errorf("planted bug %s changes nothing", m.Name)
	}
	texts := map[string]string{}
	for _, e := range m.Edits {
		text, known := texts[e.File]
		if !known {
			raw, err := fs.ReadFile(root, e.File)
			if err != nil {
				return nil, fmt.Errorf("planted bug %s: %w", m.Name, err)
			}
			text = string(raw)
		}
		if n := strings.Count(text, e.Old); n != 1 || e.Old == e.New {
			return nil, &StaleError{Mutation: m.Name, Edit: e, Found: n}
		}
		texts[e.File] = strings.Replace(text, e.Old, e.New, 1)
	}
	return texts, nil
}

// Programs are those of a cluster.
func Programs() []string { return []string{"command-api", "projector", "query-api"} }

// Build makes dir a directory of the three programs: m's with m, from the
// working tree at root, and the others those of the directory usual. All have
// crash points. What m does not change comes from the build cache.
func Build(ctx context.Context, m Mutation, root, usual, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // programs, for anybody to run
		return err
	}
	args := []string{"-tags", "crashpoints", "-buildvcs=false", "-o", dir + string(filepath.Separator)}
	for _, program := range Programs() {
		at := filepath.Join(dir, program)
		if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if slices.Contains(m.Programs, program) {
			args = append(args, "./cmd/"+program)
		} else if err := os.Symlink(filepath.Join(usual, program), at); err != nil {
			return err
		}
	}
	return compile(ctx, m, root, args...)
}

// Check compiles what all of them change and nothing else. Those that change
// different files are compiled together, so that it costs a few compilations
// and not as many as there are bugs.
func Check(ctx context.Context, all []Mutation, root string) error {
	var together []Mutation
	for _, m := range all {
		i := slices.IndexFunc(together, func(other Mutation) bool { return !m.touches(other) })
		if i < 0 {
			together = append(together, Mutation{Name: m.Name, Edits: slices.Clone(m.Edits)})
			continue
		}
		together[i].Name += ", " + m.Name
		together[i].Edits = append(together[i].Edits, m.Edits...)
	}
	var errs []error
	for _, m := range together {
		errs = append(errs, compile(ctx, m, root, m.packages()...))
	}
	return errors.Join(errs...)
}

func (m Mutation) touches(other Mutation) bool {
	return slices.ContainsFunc(m.Edits, func(e Edit) bool {
		return slices.ContainsFunc(other.Edits, func(o Edit) bool { return o.File == e.File })
	})
}

// packages are those of m's Go files, as go build names them.
func (m Mutation) packages() []string {
	var all []string
	for _, e := range m.Edits {
		if strings.HasSuffix(e.File, ".go") {
			all = append(all, "./"+path.Dir(e.File))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func compile(ctx context.Context, m Mutation, root string, args ...string) (err error) {
	texts, err := Apply(m, os.DirFS(root))
	if err != nil || len(args) == 0 {
		return err
	}
	dir, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, text := range texts {
		at := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			return err
		}
		overlay.Replace[filepath.Join(root, file)] = at
	}
	raw, err := json.Marshal(overlay)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-overlay", file}, args...)...) //nolint:gosec // our own arguments
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build planted bug %s: %w\n%s", m.Name, err, out)
	}
	return nil
}

package mutate_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/mutate"
)

// Each planted bug still fits the source and compiles, so that a run with it
// fails for the bug and for nothing else.
func TestEveryBugCanBePlanted(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, m := range mutate.All() {
		require.False(t, seen[m.Name], "two planted bugs are called %s", m.Name)
		seen[m.Name] = true
		t.Run(m.Name, func(t *testing.T) {
			require.Regexp(t, `^[a-z0-9]+(-[a-z0-9]+)*$`, m.Name)
			require.NotEmpty(t, m.Why)
			require.NotEmpty(t, m.Programs)
			require.Subset(t, mutate.Programs(), m.Programs)
			require.NotEmpty(t, m.Expect)
			for _, promise := range m.Expect {
				require.Regexp(t, `^P(1[0-2]|[1-9])$`, promise)
			}
			_, err := mutate.Apply(m, os.DirFS(root))
			require.NoError(t, err)
		})
	}
	require.GreaterOrEqual(t, len(seen), 14)
	require.NoError(t, mutate.Check(t.Context(), mutate.All(), root))
}

// A bug whose source has changed says so instead of planting something else.
func TestStale(t *testing.T) {
	t.Parallel()
	root := os.DirFS("testdata")
	m := mutate.Mutation{Name: "m", Edits: []mutate.Edit{{File: "source.txt", Old: "once", New: "never"}}}
	texts, err := mutate.Apply(m, root)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"source.txt": "never twice twice\n"}, texts)

	for _, old := range []string{"twice", "gone"} {
		m.Edits[0].Old = old
		_, err := mutate.Apply(m, root)
		require.ErrorAs(t, err, new(*mutate.StaleError))
		require.ErrorContains(t, err, "planted bug m is stale")
	}
	m.Edits = []mutate.Edit{{File: "source.txt", Old: "once", New: "thrice"}, {File: "source.txt", Old: "thrice twice", New: "done"}}
	texts, err = mutate.Apply(m, root)
	require.NoError(t, err)
	require.Equal(t, "done twice\n", texts["source.txt"])
}

package erasures_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/privacy/erasures"
)

func some(n int) (all []erasures.Erasure) {
	for i := range n {
		all = append(all, erasures.Erasure{
			CustomerID: uuid.Must(uuid.NewV7()), Version: 3, ErasedAt: time.Date(2026, 1, 15, 10, 31, 7, 500_000_000+i*1000, time.UTC),
			Actor: "privacy-desk", Reason: "request \"4711\"\n", KeyID: "5feceb66ffc86f38d952786c6d696c79",
		})
	}
	return all
}

func written(t testing.TB, all []erasures.Erasure) string {
	t.Helper()
	var out bytes.Buffer
	w := erasures.NewWriter(&out)
	for _, e := range all {
		require.NoError(t, w.Write(e))
	}
	require.NoError(t, w.Close())
	require.Equal(t, len(all), w.Count())
	return out.String()
}

func TestAListReadsAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 1000} {
		all := some(n)
		read, err := erasures.Read(strings.NewReader(written(t, all)))
		require.NoError(t, err)
		require.Equal(t, all, read)
	}
	first, second := some(3), some(2)
	second[1] = first[0]
	second[1].Reason = "told again"
	read, err := erasures.Read(strings.NewReader(written(t, first) + written(t, second)))
	require.NoError(t, err)
	require.Equal(t, append(first, second[0]), read, "one after the other, and of each customer the first line")
}

func TestGarbageIsRefusedLineByLine(t *testing.T) {
	t.Parallel()
	lines := strings.SplitAfter(written(t, some(3)), "\n")
	good := strings.Join(lines, "")
	for name, row := range map[string]struct{ text, want string }{
		"nothing":             {"", "line 1: is missing"},
		"cut between lines":   {strings.Join(lines[:2], ""), "line 3: is missing"},
		"cut within a line":   {good[:len(lines[0])+30], "line 2: is not an erasure"},
		"a line lost":         {lines[0] + lines[2] + lines[3], "line 3: says 3 erasures, and 2 came before it"},
		"more after the end":  {good + lines[0], "line 6: is missing"},
		"a dump":              {lines[0] + "COPY canary\n" + lines[3], "line 2: is not an erasure"},
		"an empty line":       {lines[0] + "\n" + lines[3], "line 2: is not an erasure"},
		"two in a line":       {strings.TrimSpace(lines[0]) + lines[1] + lines[3], "line 1: is not an erasure"},
		"another object":      {`{"id":"canary"}` + "\n", "line 1: is not an erasure"},
		"null":                {"null\n" + lines[3], "line 1: has no"},
		"a field missing":     {strings.Replace(lines[0], `"reason"`, `"reasons"`, 1) + lines[3], "line 1: is not an erasure"},
		"no customer":         {fmt.Sprintf(`{"customer_id":%q,"version":1,"erased_at":"2026-01-15T10:31:07Z","actor":"","reason":"","key_id":""}`+"\n", uuid.Nil) + lines[3], "line 1: customer_id names nobody"},
		"no version":          {strings.Replace(lines[0], `"version":3`, `"version":0`, 1), "line 1: version is not positive"},
		"no time":             {strings.Replace(lines[0], "2026-01-15T", "canary", 1), "line 1: is not an erasure"},
		"a line without end":  {strings.Repeat("x", 70_000), "line 1: is too long"},
		"nothing but garbage": {strings.Repeat("canary\n", 50), "further lines were not looked at"},
	} {
		list, err := erasures.Read(strings.NewReader(row.text))
		require.ErrorContains(t, err, row.want, name)
		require.NotContains(t, err.Error(), "canary", name)
		require.Empty(t, list, name)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(written(f, some(2)))
	f.Add(`{"erasures":0}`)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := erasures.Read(strings.NewReader(text))
		if err != nil {
			require.Empty(t, list)
			return
		}
		again, err := erasures.Read(strings.NewReader(written(t, list)))
		require.NoError(t, err)
		require.Equal(t, len(list), len(again))
	})
}

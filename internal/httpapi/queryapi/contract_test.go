package queryapi

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/httpapitest"
)

func TestGuardsFollowTheContract(t *testing.T) {
	t.Parallel()
	httpapitest.CheckGuards(t, "queries", routes())
}

func TestTokens(t *testing.T) {
	t.Parallel()
	one := eventlog.Token{CustomerID: uuid.Must(uuid.NewV7()), Version: 3}.String()
	for field, want := range map[string]int{
		one: 1, one + ", " + one: 2, one + "," + one: 2, strings.TrimSuffix(strings.Repeat(one+",", 8), ","): 8,
		strings.TrimSuffix(strings.Repeat(one+",", 9), ","): -1, "": -1, ",": -1, one + ",": -1, "garbage": -1, one + "x": -1, `"` + one + `"`: -1, one[:len(one)-1]: -1,
	} {
		tokens, err := parseTokens(&field)
		require.Equal(t, want < 0, err != nil, field)
		require.Len(t, tokens, max(want, 0), field)
	}
	none, err := parseTokens(nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestIfNoneMatch(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]bool{`"4"`: true, `W/"4"`: true, `"1", W/"4"`: true, `*`: true, `"5"`: false, `"04"`: false, `"abc"`: false} {
		has, err := parseIfNoneMatch(&field)
		require.NoError(t, err, field)
		require.Equal(t, want, has(4), field)
	}
	for _, field := range []string{"4", "", `"4`, `"4" "5"`} {
		_, err := parseIfNoneMatch(&field)
		require.Error(t, err, field)
	}
}

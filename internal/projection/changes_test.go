package projection

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChangesAreWrittenAsTheLibraryWritesThem(t *testing.T) {
	t.Parallel()
	texts := []string{"", "email", "metadata.a b", `metadata."q"`, `back\slash`, "a<b>&c", "tab\t", "é", "\u2028", "\x7f", "broken \xff", "日本語"}
	for _, text := range texts {
		var failed error
		changes := []Change{
			{Field: text, Old: quoted(&failed, text), New: quoted(&failed, text+"x")},
			{Field: "tags", New: json.RawMessage(`["a"]`)},
		}
		require.NoError(t, failed)
		for _, some := range [][]Change{changes, changes[:1], {}} {
			want, err := json.Marshal(some)
			require.NoError(t, err)
			got, err := AppendChanges(nil, some)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
		}
		if text != "" {
			want, err := json.Marshal(text)
			require.NoError(t, err)
			require.Equal(t, string(want), string(quoted(&failed, text)))
		}
	}
}

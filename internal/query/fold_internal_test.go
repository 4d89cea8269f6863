package query

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFoldingPrintableTextTakesTheShortWay(t *testing.T) {
	t.Parallel()
	for a := rune(' '); a <= '~'; a++ {
		for b := rune(' '); b <= '~'; b++ {
			text := "A" + string(a) + string(b)
			require.Equal(t, foldOnce(text), Fold(text))
		}
	}
}

package query

import (
	"math/rand/v2"
	"testing"

	"github.com/nyaruka/phonenumbers"
	"github.com/stretchr/testify/require"
)

// TestPhonesAreWhatTheLibrarySays tries an example of each kind in each region,
// as it is and with digits changed.
func TestPhonesAreWhatTheLibrarySays(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same numbers each time
	try := func(text string) {
		want, err := phonenumbers.Parse(text, "")
		got, ok := parsePhone(text)
		require.Equal(t, err == nil, ok, text)
		if !ok {
			return
		}
		require.Equal(t, phonenumbers.GetNationalSignificantNumber(want), phonenumbers.GetNationalSignificantNumber(got), text)
		require.Equal(t, phonenumbers.Format(want, phonenumbers.NATIONAL), phonenumbers.Format(got, phonenumbers.NATIONAL), text)
	}
	for region := range phonenumbers.GetSupportedRegions() {
		for kind := phonenumbers.FIXED_LINE; kind <= phonenumbers.VOICEMAIL; kind++ {
			example := phonenumbers.GetExampleNumberForType(region, kind)
			if example == nil {
				continue
			}
			text := phonenumbers.Format(example, phonenumbers.E164)
			try(text)
			for range 8 {
				changed := []byte(text)
				for range 1 + random.IntN(4) {
					changed[1+random.IntN(len(changed)-1)] = byte('0' + random.IntN(10))
				}
				try(string(changed))
			}
			try(text[:len(text)-2])
			try(text + "0")
		}
	}
	for _, text := range []string{"", "+", "+1", "+4", "1", "+999123456", "abc", "+1415555267x"} {
		try(text)
	}
}

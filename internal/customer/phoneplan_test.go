package customer

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nyaruka/phonenumbers"
)

// byLibrary is what ParsePhone says of a number in E.164 without inUse.
func byLibrary(text string) (Phone, bool) {
	number, err := phonenumbers.Parse(text, "")
	if err != nil || !phonenumbers.IsValidNumber(number) {
		return "", false
	}
	return Phone(phonenumbers.Format(number, phonenumbers.E164)), true
}

// TestInUseSaysWhatTheLibrarySays tries numbers near those in use: an example
// of each kind in each region, with digits changed, added and left out, and
// random ones under each calling code.
func TestInUseSaysWhatTheLibrarySays(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same numbers each time
	digit := func() byte { return byte('0' + random.IntN(10)) }
	digits := func(n int) (out []byte) {
		for range n {
			out = append(out, digit())
		}
		return out
	}
	var tried, taken, valid int
	try := func(text string) {
		want, ok := byLibrary(text)
		tried++
		if ok && string(want) == text {
			valid++
		}
		if !inUse(text) {
			return
		}
		taken++
		if !ok || string(want) != text {
			t.Errorf("%s is in use, and for the library %q, %t", text, want, ok)
		}
	}
	for region := range phonenumbers.GetSupportedRegions() {
		for kind := phonenumbers.FIXED_LINE; kind <= phonenumbers.VOICEMAIL; kind++ {
			example := phonenumbers.GetExampleNumberForType(region, kind)
			if example == nil {
				continue
			}
			text := phonenumbers.Format(example, phonenumbers.E164)
			try(text)
			for range 12 {
				changed := []byte(text)
				for range 1 + random.IntN(4) {
					changed[1+random.IntN(len(changed)-1)] = digit()
				}
				try(string(changed))
				try(text[:2+random.IntN(len(text)-2)] + string(digits(random.IntN(8))))
			}
		}
	}
	for code := range phonenumbers.GetSupportedCallingCodes() {
		for range 60 {
			try(fmt.Sprintf("+%d%s", code, digits(1+random.IntN(15))))
		}
	}
	for range 2000 {
		try("+" + string(digits(1+random.IntN(18))))
	}
	t.Logf("%d tried, %d valid, %d of them told without the library", tried, valid, taken)
	if valid < tried/20 || taken*10 < valid*9 {
		t.Errorf("%d tried, %d valid, only %d of them told without the library", tried, valid, taken)
	}
}

func FuzzInUse(f *testing.F) {
	for _, seed := range []string{"+14155552671", "+442079460000", "+390669820", "+80012345678", "+5491123456789", "+1", "+", "", "+0", "+999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !inUse(text) {
			return
		}
		if want, ok := byLibrary(text); !ok || string(want) != text {
			t.Fatalf("%q is in use, and for the library %q, %t", text, want, ok)
		}
	})
}

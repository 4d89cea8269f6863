package customer

import (
	"testing"

	"github.com/nyaruka/phonenumbers"
)

// A number of each kind from each region, as people there write it for abroad,
// is taken, and its E.164 form is the same number.
func TestParsePhoneOfEveryRegion(t *testing.T) {
	t.Parallel()
	for region := range phonenumbers.GetSupportedRegions() {
		for _, kind := range []phonenumbers.PhoneNumberType{phonenumbers.FIXED_LINE, phonenumbers.MOBILE} {
			example := phonenumbers.GetExampleNumberForType(region, kind)
			if example == nil {
				continue
			}
			want := Phone(phonenumbers.Format(example, phonenumbers.E164))
			for _, text := range []string{phonenumbers.Format(example, phonenumbers.INTERNATIONAL), string(want)} {
				if got, err := ParsePhone(text); err != nil || got != want {
					t.Errorf("%s: %q is %q, %v; want %q", region, text, got, err, want)
				}
			}
		}
	}
}

package customer

import (
	"reflect"
	"strings"
	"testing"

	"golang.org/x/text/language"
)

func TestNewAddress(t *testing.T) {
	t.Parallel()
	got, err := NewAddress(addressID(1), AddressFields{
		Line1: " 10 Downing Street ", City: "London", PostalCode: "sw1a 2aa", Country: "gb", Label: "work", DefaultFor: []string{"shipping", "billing", "shipping"},
	})
	want := Address{
		ID: addressID(1), Line1: "10 Downing Street", City: "London", PostalCode: "SW1A 2AA", Country: "GB", Label: "work",
		DefaultFor: []AddressUse{UseBilling, UseShipping},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	for name, tc := range map[string]struct {
		fields AddressFields
		broken []string
	}{
		"empty": {AddressFields{}, []string{"/line1", CodeRequired, "/city", CodeRequired, "/country", CodeRequired}},
		"all wrong": {AddressFields{
			Line1: "\u200b", Line2: "a\nb", City: strings.Repeat("x", 101), State: "\xff", PostalCode: strings.Repeat("9", 21), Country: "UK",
			Label: strings.Repeat("x", 41), DefaultFor: []string{"shipping", "party"},
		}, []string{
			"/line1", CodeRequired, "/line2", CodeInvalidText, "/city", CodeTooLong, "/state", CodeInvalidText, "/postal_code", CodeTooLong,
			"/country", CodeInvalidCountry, "/label", CodeTooLong, "/default_for/1", CodeInvalidAddressUse,
		}},
		"what the country asks for": {AddressFields{Line1: "1 Main St", City: "Springfield", Country: "US"}, []string{"/state", CodeRequired, "/postal_code", CodeRequired}},
		"no fault told twice":       {AddressFields{Line1: "1 Main St", City: "Springfield", Country: "US", State: "\x00", PostalCode: "\x00"}, []string{"/state", CodeInvalidText, "/postal_code", CodeInvalidText}},
		"another country's code":    {AddressFields{Line1: "1 Main St", City: "Springfield", State: "IL", PostalCode: "SW1A 2AA", Country: "US"}, []string{"/postal_code", CodeInvalidPostalCode}},
	} {
		_, err := NewAddress(addressID(1), tc.fields)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkViolations(t, err, tc.broken...)
		})
	}
}

func TestPostalCodes(t *testing.T) {
	t.Parallel()
	for country, codes := range map[Country]struct{ good, bad string }{
		"US": {"62701 62701-1234 627011234", "6270 627011 62701-123 ABCDE ٦٢٧٠١"},
		"CA": {"K1A_0B1 K1A0B1 k1a_0b1", "K1A-0B1 11A_0B1 K1A_0B"},
		"GB": {"M1_1AE B33_8TH CR2_6XH DN55_1PT W1A_0AX EC1A_1BB EC1A1BB", "1M_1AE EC1A EC1A__1BB"},
		"DE": {"10117", "1011 D-10117"},
		"FR": {"75001", "7500"},
		"NL": {"1012_AB 1012AB", "1012 AB_1012"},
		"SE": {"111_22 11122", "1112"},
		"PL": {"00-950 00950", "0-0950"},
		"PT": {"1000-001 1000001", "1000"},
		"BR": {"01310-100 01310100", "01310"},
		"JP": {"100-0001 1000001", "100"},
		"IE": {"D02_X285 D6W_XY00 d02x285", "D02"},
		"IN": {"110_001 110001", "11000"},
		"AT": {"1010", "10100"},
		"SG": {"018956", "18956"},
		"SA": {"11564 11564-1234", "1156"},
		"VN": {"10000 100000", "1000"},
		"EG": {"11511 4272077", "115"},
		"AE": {"00000 anything", ""},
		"KE": {"00100 x", ""},
	} {
		for _, code := range strings.Fields(codes.good) {
			code = strings.ReplaceAll(code, "_", " ")
			if _, err := postalFormatOf(country).parse(code); err != nil {
				t.Errorf("%s %q: %v", country, code, err)
			}
		}
		for _, code := range strings.Fields(codes.bad) {
			code = strings.ReplaceAll(code, "_", " ")
			if _, err := postalFormatOf(country).parse(code); err == nil {
				t.Errorf("%s %q was taken", country, code)
			}
		}
	}
}

func TestParseCountry(t *testing.T) {
	t.Parallel()
	checkParse(t, ParseCountry, []parsed{
		{in: "FR", want: "FR"},
		{in: " vn ", want: "VN"},
		{in: "", code: CodeRequired},
		{in: "UK", code: CodeInvalidCountry},
		{in: "EU", code: CodeInvalidCountry},
		{in: "XK", code: CodeInvalidCountry},
		{in: "ZZ", code: CodeInvalidCountry},
		{in: "SU", code: CodeInvalidCountry},
		{in: "USA", code: CodeInvalidCountry},
		{in: "U", code: CodeInvalidCountry},
		{in: "é", code: CodeInvalidCountry},
		{in: "\xff\xff", code: CodeInvalidText},
	})
	assigned := 0
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string([]rune{a, b})
			if !isAssignedCountry(code) {
				continue
			}
			assigned++
			// A second opinion on each code, though not on what is left out.
			if region, err := language.ParseRegion(code); err != nil || !region.IsCountry() || region.String() != code {
				t.Errorf("x/text knows no country %s", code)
			}
		}
	}
	if assigned != 249 {
		t.Errorf("%d codes, ISO 3166-1 has 249", assigned)
	}
}

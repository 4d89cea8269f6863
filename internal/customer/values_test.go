package customer

import (
	"errors"
	"strings"
	"testing"
)

// parsed is one text and what becomes of it: a value, or the code of a refusal.
type parsed struct{ in, want, code string }

func checkParse[T ~string](t *testing.T, parse func(string) (T, error), cases []parsed) {
	t.Helper()
	for _, tc := range cases {
		got, err := parse(tc.in)
		var code string
		if refusal, ok := errors.AsType[*ValueError](err); ok {
			code = refusal.Code
			if len(tc.in) > 4 && strings.Contains(refusal.Error(), tc.in) {
				t.Errorf("%+q: the refusal repeats it: %s", tc.in, refusal)
			}
		} else if err != nil {
			t.Errorf("%+q: %v is no ValueError", tc.in, err)
		}
		if string(got) != tc.want || code != tc.code {
			t.Errorf("%+q: got %+q %q, want %+q %q", tc.in, got, code, tc.want, tc.code)
		}
	}
}

func TestParseName(t *testing.T) {
	t.Parallel()
	checkParse(t, ParseName, []parsed{
		{in: "Ada", want: "Ada"},
		{in: "", want: ""},
		{in: " \t\u00a0\u3000\n", want: ""},
		{in: "\u2003 Ada  Lovelace\r\n", want: "Ada  Lovelace"},
		{in: "Zoe\u0308", want: "Zo\u00eb"},
		{in: "O'Brien-Ñandú, Jr. =cmd() <script>", want: "O'Brien-Ñandú, Jr. =cmd() <script>"},
		{in: "عمر\u200fلال", want: "عمر\u200fلال"},
		{in: "می\u200cخواهم", want: "می\u200cخواهم"},
		{in: "👩\u200d🚀", want: "👩\u200d🚀"},
		{in: strings.Repeat("é", 200), want: strings.Repeat("é", 200)},
		{in: " " + strings.Repeat("e\u0301", 200) + " ", want: strings.Repeat("é", 200)},
		{in: strings.Repeat("é", 201), code: CodeTooLong},
		{in: strings.Repeat("𝒜", 201), code: CodeTooLong},
		{in: "A\xff", code: CodeInvalidText},
		{in: "A\x00", code: CodeInvalidName},
		{in: "A\r\nB", code: CodeInvalidName},
		{in: "A\x7fB", code: CodeInvalidName},
		{in: "A\u0085B", code: CodeInvalidName},
		{in: "A\u009bB", code: CodeInvalidName},
		{in: "A\u202eB", code: CodeInvalidName},
		{in: "A\u202aB", code: CodeInvalidName},
		{in: "A\u2066B", code: CodeInvalidName},
		{in: "A\u2069", code: CodeInvalidName},
		{in: "A\u2028B", code: CodeInvalidName},
		{in: "\u200b", code: CodeInvalidName},
		{in: "\ufeff\u200d \u2060", code: CodeInvalidName},
		{in: "\u3164", code: CodeInvalidName},
		{in: "\u00ad\ufe0f", code: CodeInvalidName},
	})
}

func TestParseText(t *testing.T) {
	t.Parallel()
	checkParse(t, ParseReason, []parsed{
		{in: " asked by phone ", want: "asked by phone"},
		{in: "", want: ""},
		{in: strings.Repeat("x", 500), want: strings.Repeat("x", 500)},
		{in: strings.Repeat("x", 501), code: CodeTooLong},
		{in: "a\nb", code: CodeInvalidText},
		{in: "a\u202eb", code: CodeInvalidText},
		{in: "\xc3\x28", code: CodeInvalidText},
	})
	checkParse(t, ParseWording, []parsed{
		{in: "\nI agree.\r\n\r\n\t1. To all.\n", want: "I agree.\n\n\t1. To all."},
		{in: strings.Repeat("\u00fc", 2000), want: strings.Repeat("\u00fc", 2000)},
		{in: strings.Repeat("x", 2001), code: CodeTooLong},
		{in: "a\rb", code: CodeInvalidText},
		{in: "a\x1bb", code: CodeInvalidText},
		{in: "\xff", code: CodeInvalidText},
	})
}

func TestParsePhone(t *testing.T) {
	t.Parallel()
	checkParse(t, ParsePhone, []parsed{
		{in: "+14155552671", want: "+14155552671"},
		{in: " +1 (415) 555-2671 ", want: "+14155552671"},
		{in: "+44 20 7946 0000", want: "+442079460000"},
		{in: "+49 30/123456", want: "+4930123456"},
		{in: "\uff0b1\u00a0415\u2011555\u20112671", want: "+14155552671"},
		{in: "+84 91 234 56 78", want: "+84912345678"},
		{in: "+39 06 6982", want: "+39066982"}, // the leading zero is part of Italian numbers
		{in: "", code: CodeInvalidPhone},
		{in: "4155552671", code: CodeInvalidPhone},
		{in: "0014155552671", code: CodeInvalidPhone},
		{in: "+1 415 555", code: CodeInvalidPhone},
		{in: "+1 800 FLOWERS", code: CodeInvalidPhone},
		{in: "+1 415 555 2671 x5", code: CodeInvalidPhone},
		{in: "+1 415 555 2671;ext=5", code: CodeInvalidPhone},
		{in: "tel:+14155552671", code: CodeInvalidPhone},
		{in: "+14155552671 +14155552672", code: CodeInvalidPhone},
		{in: "+999123456789", code: CodeInvalidPhone},
		{in: "+1" + strings.Repeat(" ", 60) + "4155552671", code: CodeInvalidPhone},
		{in: "+\xff", code: CodeInvalidText},
	})
}

func TestParseLocale(t *testing.T) {
	t.Parallel()
	checkParse(t, ParseLocale, []parsed{
		{in: "vi-VN", want: "vi-VN"},
		{in: "EN-us", want: "en-US"},
		{in: " de ", want: "de"},
		{in: "zh-hant-tw", want: "zh-Hant-TW"},
		{in: "iw", want: "he"},
		{in: "es-419", want: "es-419"},
		{in: "th-TH-u-ca-buddhist", want: "th-TH-u-ca-buddhist"},
		{in: "", code: CodeInvalidLocale},
		{in: "und", code: CodeInvalidLocale},
		{in: "und-US", code: CodeInvalidLocale},
		{in: "x-mine", code: CodeInvalidLocale},
		{in: "en_US", code: CodeInvalidLocale},
		{in: "xx-YY", code: CodeInvalidLocale},
		{in: "english", code: CodeInvalidLocale},
		{in: "en-US.UTF-8", code: CodeInvalidLocale},
		{in: "en\x00", code: CodeInvalidLocale},
		{in: "en-" + strings.Repeat("a", 40), code: CodeTooLong},
		{in: "\xff", code: CodeInvalidText},
	})
}

func TestParseExternalID(t *testing.T) {
	t.Parallel()
	checkParse(t, ParseExternalID, []parsed{
		{in: "crm-0042", want: "crm-0042"},
		{in: " CRM 42~! ", want: "CRM 42~!"},
		{in: strings.Repeat("x", 128), want: strings.Repeat("x", 128)},
		{in: strings.Repeat("x", 129), code: CodeTooLong},
		{in: "", code: CodeInvalidExternalID},
		{in: "crm\t1", code: CodeInvalidExternalID},
		{in: "crm-é", code: CodeInvalidExternalID},
		{in: "crm\x7f", code: CodeInvalidExternalID},
		{in: "\xff", code: CodeInvalidText},
	})
}

func TestParseTokens(t *testing.T) {
	t.Parallel()
	checkParse(t, ParseTag, []parsed{
		{in: "vip", want: "vip"},
		{in: "a.b-c_9", want: "a.b-c_9"},
		{in: strings.Repeat("x", 40), want: strings.Repeat("x", 40)},
		{in: strings.Repeat("x", 41), code: CodeTooLong},
		{in: "", code: CodeInvalidTag},
		{in: "VIP", code: CodeInvalidTag},
		{in: " vip", code: CodeInvalidTag},
		{in: "a/b", code: CodeInvalidTag},
		{in: "é", code: CodeInvalidTag},
		{in: "\xff", code: CodeInvalidTag},
	})
	checkParse(t, ParseChannel, []parsed{
		{in: "email", want: "email"},
		{in: "sms", want: "sms"},
		{in: "phone", want: "phone"},
		{in: "post", want: "post"},
		{in: "Email", code: CodeInvalidChannel},
		{in: "", code: CodeInvalidChannel},
	})
	checkParse(t, ParseAddressUse, []parsed{
		{in: "shipping", want: "shipping"},
		{in: "billing", want: "billing"},
		{in: "", code: CodeInvalidAddressUse},
	})
	checkParse(t, ParseStatus, []parsed{
		{in: "active", want: "active"},
		{in: "suspended", want: "suspended"},
		{in: "deleted", code: CodeInvalidStatus},
		{in: "", code: CodeInvalidStatus},
	})
}

func TestParseTags(t *testing.T) {
	t.Parallel()
	tags, err := ParseTags([]string{"vip", "beta", "vip"})
	if err != nil || len(tags) != 2 || tags[0] != "beta" {
		t.Fatalf("%v, %v", tags, err)
	}
	if tags, err := ParseTags(nil); tags != nil || err != nil {
		t.Fatalf("%v, %v", tags, err)
	}
	_, err = ParseTags([]string{"VIP", "ok", ""})
	checkViolations(t, err, "/0", CodeInvalidTag, "/2", CodeInvalidTag)
	var many []string
	for i := range 51 {
		many = append(many, strings.Repeat("x", 1+i%40)+strings.Repeat("y", i/40))
	}
	_, err = ParseTags(many)
	checkViolations(t, err, "", CodeTooMany)
}

func checkViolations(t *testing.T, err error, pairs ...string) {
	t.Helper()
	got, _ := errors.AsType[Violations](err)
	if want := broken(pairs...); strings.Join(places(got), ", ") != strings.Join(places(want), ", ") {
		t.Errorf("violations %v, want %v", places(got), places(want))
	}
}

func TestParseMetadata(t *testing.T) {
	t.Parallel()
	got, err := ParseMetadata(map[string]string{" plan ": " gold\n", "e\u0301": "", "a/b~c": strings.Repeat("é", 500)})
	if err != nil || got["plan"] != " gold\n" || got["a/b~c"] == "" || len(got) != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	if _, ok := got["\u00e9"]; !ok {
		t.Fatal("the key is not in NFC")
	}
	if got, err := ParseMetadata(nil); got != nil || err != nil {
		t.Fatalf("%v, %v", got, err)
	}
	_, err = ParseMetadata(map[string]string{"": "x", "a/b~c": strings.Repeat("x", 501), "b": "\x00", "c": "\xff"})
	checkViolations(t, err, "", CodeInvalidMetadataKey, "/a~1b~0c", CodeTooLong, "/b", CodeInvalidText, "/c", CodeInvalidText)
	_, err = ParseMetadata(map[string]string{"k": "1", "k ": "2"})
	checkViolations(t, err, "", CodeDuplicate)
	many := map[string]string{}
	for i := range 51 {
		many[strings.Repeat("k", i+1)[:min(i+1, 40)]+strings.Repeat("l", max(0, i-39))] = ""
	}
	_, err = ParseMetadata(many)
	if err == nil {
		t.Fatal("51 keys were taken")
	}
	checkParse(t, ParseMetadataKey, []parsed{
		{in: "plan", want: "plan"},
		{in: strings.Repeat("ü", 40), want: strings.Repeat("ü", 40)},
		{in: strings.Repeat("ü", 41), code: CodeTooLong},
		{in: "\u200b", code: CodeInvalidMetadataKey},
		{in: "a\x00b", code: CodeInvalidMetadataKey},
		{in: "\xff", code: CodeInvalidText},
	})
}

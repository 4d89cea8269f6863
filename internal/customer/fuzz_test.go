package customer

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// fuzzText tells of any parser: it never panics, takes only valid UTF-8 into
// only valid UTF-8 of at most limit code points, and takes its own results as
// they are.
func fuzzText[T ~string](f *testing.F, parse func(string) (T, error), limit int, seeds ...string) {
	for _, seed := range append(seeds,
		"", " ", "x", "\xff", "\x00", "a\u0301", "\u0344", "\u202e", "\u200b", "\ufeffx", "\u1e9e", "\u212a", "x"+strings.Repeat("\u0301", 40), strings.Repeat("é", limit), strings.Repeat("x", limit+1),
	) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, err := parse(text)
		if err != nil {
			if value != "" {
				t.Fatalf("refused, yet %+q", value)
			}
			return
		}
		if !utf8.ValidString(text) || !utf8.ValidString(string(value)) || utf8.RuneCountInString(string(value)) > limit {
			t.Fatalf("took %+q as %+q", text, value)
		}
		if again, err := parse(string(value)); err != nil || again != value {
			t.Fatalf("%+q parsed again is %+q, %v", value, again, err)
		}
	})
}

func FuzzParseName(f *testing.F) {
	fuzzText(f, ParseName, MaxNameLength, "Zoë Đặng", "می\u200cخواهم", "A\r\nB")
}

func FuzzParseReason(f *testing.F) {
	fuzzText(f, ParseReason, MaxReasonLength, "asked by phone")
}

func FuzzParseWording(f *testing.F) {
	fuzzText(f, ParseWording, MaxWordingLength, "I agree.\r\n\r\n\tTo all.", "\r\r\n\n")
}

func FuzzParsePhone(f *testing.F) {
	fuzzText(f, ParsePhone, 16, "+14155552671", "+44 20 7946 0000", "+٤٤2079460000", "＋1 (415) 555-2671", "+39 06 6982")
}

func FuzzParseLocale(f *testing.F) {
	fuzzText(f, ParseLocale, maxLocaleLength, "vi-VN", "zh-cmn-Hant", "iw", "th-u-ca-buddhist", "en-x-a", "i-klingon", "sgn-BE-FR", "sr-YU", "und-x-a", "en-t-jp-u-x")
}

func FuzzParseExternalID(f *testing.F) {
	fuzzText(f, ParseExternalID, MaxExternalIDLength, "crm-0042", "a b")
}

func FuzzParseCountry(f *testing.F) {
	fuzzText(f, ParseCountry, 2, "FR", "uk", "ſ", "ı")
}

func FuzzParseTag(f *testing.F) {
	fuzzText(f, ParseTag, MaxTagLength, "vip", "a.b-c_9")
}

func FuzzParseMetadataKey(f *testing.F) {
	fuzzText(f, ParseMetadataKey, MaxMetadataKeyLength, "plan")
}

func FuzzParseMetadataValue(f *testing.F) {
	fuzzText(f, ParseMetadataValue, MaxMetadataValueLength, " gold\n")
}

func FuzzParseClosedSets(f *testing.F) {
	for _, seed := range []string{"email", "shipping", "active", "deleted"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if ch, err := ParseChannel(text); err == nil && string(ch) != text {
			t.Fatalf("channel %q", ch)
		}
		if use, err := ParseAddressUse(text); err == nil && string(use) != text {
			t.Fatalf("use %q", use)
		}
		if status, err := ParseStatus(text); err == nil && string(status) != text {
			t.Fatalf("status %q", status)
		}
	})
}

// Beside what holds for all texts, an e-mail's key is the key of that key, and
// is blind to case.
func FuzzParseEmail(f *testing.F) {
	for _, seed := range []string{
		"ada@example.com", "USER@bücher.example", "user@xn--bcher-kva.example", "ß@faß.de", "a@b@c", "a@b。c", "ᾳ\u0345@b.c", "İ@b.c", "ŉ@b.c", "\u0345x@b.c", "a@xn--.c", "a@１.c",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ParseEmail(text)
		if err != nil {
			return
		}
		if !utf8.ValidString(string(e)) || len(e) > MaxEmailLength || strings.Count(string(e), "@") != 1 {
			t.Fatalf("took %+q as %+q", text, e)
		}
		if again, err := ParseEmail(string(e)); err != nil || again != e {
			t.Fatalf("%+q parsed again is %+q, %v", e, again, err)
		}
		key := e.Canonical()
		if again := Email(key).Canonical(); again != key {
			t.Fatalf("the key of %+q is %+q, and of that %+q", e, key, again)
		}
		local, domain, _ := strings.Cut(string(e), "@")
		if isASCII(local) {
			if upper := Email(strings.ToUpper(local) + "@" + domain).Canonical(); upper != key {
				t.Fatalf("%+q in upper case has the key %+q, not %+q", e, upper, key)
			}
		}
	})
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
}

func FuzzNewAddress(f *testing.F) {
	f.Add("1 Rue de Rivoli", "", "Paris", "", "75001", "FR", "home", "shipping")
	f.Add("10 Downing Street", "\x00", "London", "", "sw1a2aa", "gb", "", "")
	f.Add("1 Main St", "", "Springfield", "IL", "62701-1234", "us", "work", "billing")
	f.Fuzz(func(t *testing.T, line1, line2, city, state, code, country, label, use string) {
		a, err := NewAddress(addressID(1), AddressFields{line1, line2, city, state, code, country, label, []string{use}})
		if err != nil {
			return
		}
		again, err := NewAddress(a.ID, AddressFields{a.Line1, a.Line2, a.City, a.State, a.PostalCode, string(a.Country), a.Label, []string{string(a.DefaultFor[0])}})
		if err != nil || !again.equal(a) {
			t.Fatalf("%+v made again is %+v, %v", a, again, err)
		}
	})
}

func FuzzParseMetadata(f *testing.F) {
	f.Add("plan", "gold", "plan ", "")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		m, err := ParseMetadata(map[string]string{k1: v1, k2: v2})
		if err != nil {
			return
		}
		again, err := ParseMetadata(m)
		if err != nil || len(again) != len(m) {
			t.Fatalf("%+q parsed again is %+q, %v", m, again, err)
		}
		for k, v := range m {
			if again[k] != v {
				t.Fatalf("%+q parsed again is %+q", m, again)
			}
		}
	})
}

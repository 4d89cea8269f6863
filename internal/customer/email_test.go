package customer

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

func TestParseEmail(t *testing.T) {
	t.Parallel()
	longLabels := strings.Repeat("d", 63) + "." + strings.Repeat("e", 63) + "." + strings.Repeat("f", 53) + ".example"
	exact := strings.Repeat("l", 254-1-len(longLabels)) + "@" + longLabels
	checkParse(t, ParseEmail, []parsed{
		{in: "ada@example.com", want: "ada@example.com"},
		{in: " Ada.Lovelace+tag@Example.COM\n", want: "Ada.Lovelace+tag@Example.COM"},
		{in: "!#$%&'*+-/=?^_`{|}~@example.com", want: "!#$%&'*+-/=?^_`{|}~@example.com"},
		{in: "user@bücher.example", want: "user@bücher.example"},
		{in: "user@xn--bcher-kva.example", want: "user@xn--bcher-kva.example"},
		{in: "zoe\u0308@example.com", want: "zo\u00eb@example.com"},
		{in: "用户@例子.广告", want: "用户@例子.广告"},
		{in: "أدا@مثال.إختبار", want: "أدا@مثال.إختبار"},
		{in: "a@b.c", want: "a@b.c"},
		{in: "a@1.2.example", want: "a@1.2.example"},
		{in: exact, want: exact},
		{in: "x" + exact, code: CodeTooLong},
		{in: strings.Repeat("é", 125) + "@b.c", want: strings.Repeat("é", 125) + "@b.c"},
		{in: strings.Repeat("é", 126) + "@b.c", code: CodeTooLong},
		{in: strings.Repeat("l", 240) + "@bücher.de", code: CodeTooLong}, // in ASCII it has 257 octets
		{in: "", code: CodeRequired},
		{in: " ", code: CodeRequired},
		{in: "ada", code: CodeInvalidEmail},
		{in: "@example.com", code: CodeInvalidEmail},
		{in: "ada@", code: CodeInvalidEmail},
		{in: "a@b@c", code: CodeInvalidEmail},
		{in: "a@b@example.com", code: CodeInvalidEmail},
		{in: "ada@example", code: CodeInvalidEmail},
		{in: "ada@localhost", code: CodeInvalidEmail},
		{in: "ada@example.com.", code: CodeInvalidEmail},
		{in: "ada@.example.com", code: CodeInvalidEmail},
		{in: "ada@example..com", code: CodeInvalidEmail},
		{in: "ada@-example.com", code: CodeInvalidEmail},
		{in: "ada@exam_ple.com", code: CodeInvalidEmail},
		{in: "ada@exam ple.com", code: CodeInvalidEmail},
		{in: "ada@127.0.0.1", code: CodeInvalidEmail},
		{in: "ada@[127.0.0.1]", code: CodeInvalidEmail},
		{in: "ada@xn--a.example", code: CodeInvalidEmail},
		{in: "ada@ab--c.example", code: CodeInvalidEmail},
		{in: "ada@\u05d0a.example", code: CodeInvalidEmail}, // a label in two directions (RFC 5893)
		{in: "ada@a\u200db.example", code: CodeInvalidEmail},
		{in: "ada@" + strings.Repeat("d", 64) + ".example", code: CodeInvalidEmail},
		{in: ".ada@example.com", code: CodeInvalidEmail},
		{in: "ada.@example.com", code: CodeInvalidEmail},
		{in: "a..da@example.com", code: CodeInvalidEmail},
		{in: `"ada"@example.com`, code: CodeInvalidEmail},
		{in: "ada(comment)@example.com", code: CodeInvalidEmail},
		{in: "Ada <ada@example.com>", code: CodeInvalidEmail},
		{in: "ada@example.com,bob@example.com", code: CodeInvalidEmail},
		{in: "ada\r\nBcc: b@example.com", code: CodeInvalidEmail},
		{in: "a\x00da@example.com", code: CodeInvalidEmail},
		{in: "a\u200bda@example.com", code: CodeInvalidEmail},
		{in: "a\u202eda@example.com", code: CodeInvalidEmail},
		{in: "a\u00a0da@example.com", code: CodeInvalidEmail},
		{in: "a\u0085da@example.com", code: CodeInvalidEmail},
		{in: "\xff@example.com", code: CodeInvalidText},
	})
}

func TestCanonicalEmail(t *testing.T) {
	t.Parallel()
	same := [][]string{
		{"ada@example.com", "ADA@EXAMPLE.COM", "Ada@Example.com", "ada@ｅｘａｍｐｌｅ.com", "ada@example。com"},
		{"user@bücher.example", "user@xn--bcher-kva.example", "USER@BÜCHER.example", "user@XN--BCHER-KVA.example", "user@bu\u0308cher.example"},
		{"zoë@example.com", "ZOË@example.com", "zoe\u0308@example.com"},
		{"straße@example.com", "STRASSE@example.com"},
		{"ὈΔΥΣΣΕΎΣ@example.com", "ὀδυσσεύς@example.com"},
		{"\u13a0\u13f8@example.com", "\uab70\u13f0@example.com"}, // Cherokee in both cases
	}
	seen := map[string]int{}
	for i, group := range same {
		for _, text := range group {
			e, err := ParseEmail(text)
			if err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			if of, ok := seen[e.Canonical()]; ok && of != i {
				t.Errorf("%s is one with group %d", text, of)
			}
			seen[e.Canonical()] = i
		}
	}
	if len(seen) != len(same) {
		t.Errorf("%d keys for %d e-mails: %v", len(seen), len(same), seen)
	}
	// Only marks and dots apart are apart.
	for _, pair := range [][2]Email{{"a.da@example.com", "ada@example.com"}, {"ada+x@example.com", "ada@example.com"}, {"zoe@example.com", "zoë@example.com"}, {"a@faß.de", "a@fass.de"}} {
		if pair[0].Canonical() == pair[1].Canonical() {
			t.Errorf("%s and %s are one", pair[0], pair[1])
		}
	}
	if got := Email("Ada@not a host").Canonical(); got != "ada@not a host" {
		t.Errorf("what is no e-mail has the key %q", got)
	}
}

// Every letter Unicode has, alone and with marks that interact with case.
func TestFoldCaseIsBlindToCase(t *testing.T) {
	t.Parallel()
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !unicode.IsLetter(r) || unicode.In(r, unicode.Han, unicode.Hangul) { // these two have many, and no case
			continue
		}
		for _, marks := range []string{"", "\u0301", "\u0307", "\u0345"} {
			text := string(r) + marks
			key := foldCase(text)
			if again := foldCase(key); again != key {
				t.Errorf("%+q folds to %+q, and that to %+q", text, key, again)
			}
			// The two letters that Turkish has more: simple case mapping takes
			// them for i and I, folding tells them apart.
			if r == 'ı' || r == 'İ' {
				continue
			}
			for _, other := range []string{strings.ToUpper(text), strings.ToLower(text), norm.NFD.String(text)} {
				if got := foldCase(other); got != key {
					t.Errorf("%+q folds to %+q, but %+q to %+q", text, key, other, got)
				}
			}
		}
	}
}

// TestPlainHostsAreTakenAsTheyAre holds the short cut to what idna says, with
// domains of the letters that matter, many of them wrong.
func TestPlainHostsAreTakenAsTheyAre(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // the same domains each time
	long := strings.Repeat("a", 63)
	domains := []string{
		"", ".", "a", "a.b", "example.com", "a.b.", ".a.b", "a..b", "a-b.c", "-a.b", "a-.b", "a.b-", "a.-b", "ab--c.d", "a--b.c", "xn--a.b", "xn--mnchen-3ya.de",
		"1.2", "a.1", "a.1a", "1a.b1", "A.b", long + ".de", "a" + long + ".de", "x." + long, long + "." + long + "." + long + "." + long[:61], long + "." + long + "." + long + "." + long[:62],
	}
	for range 50_000 {
		text := make([]byte, 1+random.IntN(9))
		for i := range text {
			text[i] = "abz019-..nx"[random.IntN(11)]
		}
		domains = append(domains, string(text))
	}
	plain := 0
	for _, domain := range domains {
		if !plainHost(domain) {
			continue
		}
		plain++
		if host, ok := mappedHost(domain); !ok || host != domain {
			t.Errorf("%q is plain, and for idna %q, %t", domain, host, ok)
		}
	}
	if plain < 1000 || !plainHost("example.com") {
		t.Errorf("only %d plain domains", plain)
	}
}

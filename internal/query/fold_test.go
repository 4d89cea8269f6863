package query_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

func TestFold(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Đặng": "dang", "Zoë": "zoe", "ZOE\u0308": "zoe", "Nguyễn": "nguyen",
		"İSTANBUL": "istanbul", "ILGAZ": "ilgaz", "ılgaz": "ilgaz", "Işıl": "isil",
		"Straße": "strasse", "STRASSE": "strasse", "Ægir": "aegir", "Þór": "thor", "Łódź": "lodz", "Søren": "soren",
		"Αλέξανδρος": "αλεξανδροσ", "ΑΛΕΞΑΝΔΡΟΣ": "αλεξανδροσ", "Фёдор": "федор", "Юлий": "юлии",
		"مُحَمَّد": "محمد", "أحمد": "احمد", "فاطمة": "فاطمه", "שָׂרָה": "שרה",
		"太郎": "太郎", "ガ": "ガ", "ｶﾞ": "ガ", "김민준": "김민준", "राहुल": "राहुल",
		"Ａｄａ": "ada", "ﬁn": "fin", "٣4": "34", "a\u200db": "ab", "𝐀": "a", "100%": "100%",
	} {
		require.Equal(t, want, query.Fold(text), "%q", text)
	}
}

func FuzzFold(f *testing.F) {
	for _, s := range []string{"Đặng", "İ", "ǰ", "ΐ", "ﬃ", "ﷺ", "が", "한", "\u0345", "Ა", "ẞ", "\U0001E900"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		once := query.Fold(s)
		require.Equal(t, once, query.Fold(once))
		require.True(t, utf8.ValidString(once))
		terms, err := query.ParseTerms(s)
		if err != nil {
			return
		}
		// Whoever searches for a name as it is finds it.
		words := query.Words(customer.Data{LastName: customer.Name(s)})
		grams := query.DocumentGrams(words, nil)
		for _, term := range terms {
			require.NotContains(t, term.Word, " ")
			require.True(t, slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, term.Word) }), "%q in %q", term.Word, words)
			require.True(t, slices.ContainsFunc(term.Grams(), func(g query.Gram) bool { return slices.Contains(grams, g) }))
		}
	})
}

func TestWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		data customer.Data
		want string
	}{
		{customer.Data{FirstName: "Jean-Luc", LastName: "O'Brien"}, "brien jean jeanluc luc o obrien"},
		{customer.Data{Email: "Zoe.Dang@bücher.example"}, "bucher dang example kva xn zoe zoedang"},
		{customer.Data{Phone: "+84912345678"}, "0912345678 84912345678 912345678"},
		{customer.Data{FirstName: "太郎", LastName: "田中"}, "中 太郎 太郎田中 田中 田中太郎 郎"},
		{customer.Data{LastName: "50% _"}, "50 _"},
		{customer.Data{Addresses: []customer.Address{{City: "Hà Nội", Line1: "Elsewhere"}}}, "ha noi"},
	} {
		words := query.Words(c.data)
		if c.data.Email != "" {
			words = slices.DeleteFunc(words, func(w string) bool { return w == "bcher" })
		}
		require.Equal(t, c.want, strings.Join(words, " "))
	}
}

func TestParseTerms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"dang par": "dang~ par", "Dang DANG đặng": "dang~", "O'Brien": "o brien~", "+1 (415) 555-2671": "14155552671", "12 34": "12 34",
		"crm-0042": "crm 0042", "ab12": "ab12~", "%": "%", "_ '": "_ '", "zoe@example.com": "zoe example~ com",
		strings.Repeat("a", 24): strings.Repeat("a", 24) + "~", strings.Repeat("a", 25): strings.Repeat("a", 25), "太郎": "太郎",
	} {
		terms, err := query.ParseTerms(text)
		require.NoError(t, err, text)
		var got []string
		for _, term := range terms {
			w := term.Word
			if term.Forgives {
				w += "~"
			}
			got = append(got, w)
		}
		require.Equal(t, want, strings.Join(got, " "), text)
	}
	for text, code := range map[string]string{
		"": customer.CodeRequired, " \t": customer.CodeRequired, "\u200b": customer.CodeRequired, "\xff": customer.CodeInvalidText,
		strings.Repeat("a", 201): customer.CodeTooLong, "a b c d e f g h i j k": customer.CodeTooMany,
	} {
		_, err := query.ParseTerms(text)
		var value *customer.ValueError
		require.ErrorAs(t, err, &value, text)
		require.Equal(t, code, value.Code, text)
	}
}

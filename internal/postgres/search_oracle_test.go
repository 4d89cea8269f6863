package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// Searches answer exactly those whom a look at every word of every customer
// finds: 20,000 customers of many languages, words of theirs cut short, with
// typos, accents and case of their own, and in combination with filters.
func TestSearchFindsWhatTheOracleFinds(t *testing.T) {
	t.Parallel()
	const customers, searches, enough = 20_000, 200, 200 // results compared, of a search with more
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	w := newListWorld(t)
	people := make([]*customer.Data, customers)
	words := make([][]string, customers)
	for i := range people {
		people[i] = randomPerson(rnd, i)
	}
	people = inOrder(people, query.Sort{By: query.SortCreated})
	have := map[string][]int{} // customers by word
	for i, p := range people {
		words[i] = query.Words(*p)
		for _, word := range words[i] {
			have[word] = append(have[word], i)
		}
	}
	for some := range slices.Chunk(people, 1000) {
		w.put(some...)
	}
	_, err := w.owner.Exec(t.Context(), "ANALYZE readmodel.listing, readmodel.documents")
	require.NoError(t, err)
	found, withTypos, empty := 0, 0, 0
	for range searches {
		text := randomQuery(rnd, words[rnd.IntN(customers)])
		parsed, err := query.ParseTerms(text)
		require.NoError(t, err, "%q", text)
		f := query.Filter{Terms: parsed}
		if rnd.IntN(5) == 0 {
			f.Status = customer.StatusSuspended
		}
		hits := make([]int, customers) // how many of the terms each has
		for n, term := range parsed {
			for word, in := range have {
				if finds(word, term) {
					for _, i := range in {
						if hits[i] == n {
							hits[i] = n + 1
						}
					}
				}
			}
		}
		var want []customer.ID
		for i, p := range people {
			if hits[i] == len(parsed) && admits(f, *p) {
				want = append(want, p.ID)
			}
		}
		got, next := w.page(query.PageRequest{Filter: f, Limit: 100})
		all := ids(got)
		for next != nil && len(all) < enough {
			got, next = w.page(query.PageRequest{Filter: f, Limit: 100, After: next})
			all = append(all, ids(got)...)
		}
		require.Equal(t, want[:min(len(want), enough)], all, "search for %q", text)
		found += len(want)
		if len(want) == 0 {
			empty++
		}
		if !slices.ContainsFunc(parsed, func(t query.Term) bool { return !t.Forgives }) {
			withTypos++
		}
	}
	t.Logf("%d searches, %d of them forgiving, %d without an answer, %d customers found", searches, withTypos, empty, found)
}

// finds is what a Term means.
func finds(word string, term query.Term) bool {
	if strings.HasPrefix(word, term.Word) {
		return true
	}
	if !term.Forgives {
		return false
	}
	w, q := []rune(word), []rune(term.Word)
	for _, n := range []int{len(q) - 1, len(q), len(q) + 1} {
		if n <= len(w) && isTypo(q, w[:n]) {
			return true
		}
	}
	return false
}

// isTypo tells whether one typo among q's letters makes p of it. Where they begin
// to differ is where it must be: of equal letters in a row, any may be it.
func isTypo(q, p []rune) bool {
	letter := func(r rune) bool { return r < '0' || r > '9' }
	i := 0 // where they begin to differ
	for i < len(q) && i < len(p) && q[i] == p[i] {
		i++
	}
	switch len(p) - len(q) {
	case 1: // one is missing
		return letter(p[i]) && slices.Equal(q[i:], p[i+1:])
	case -1: // one too many
		return letter(q[i]) && slices.Equal(q[i+1:], p[i:])
	}
	if i == len(q) {
		return true
	}
	return letter(q[i]) && letter(p[i]) && slices.Equal(q[i+1:], p[i+1:]) ||
		i+1 < len(q) && letter(q[i]) && letter(q[i+1]) && q[i] == p[i+1] && q[i+1] == p[i] && slices.Equal(q[i+2:], p[i+2:])
}

// They are of scripts that fold in ways of their own.
var (
	firstNames = strings.Fields(`Zoë Anna Ann Anne Hanna Michael Micheal Miguel José Josef Jean-Luc Maria Marie Mário Đức Thị Hương
		Nguyễn Işıl İbrahim ılgaz Çağla Jürgen Björn Søren Łukasz Þór Ægir Αλέξανδρος Ελένη Γιώργος Сергей Алёна Фёдор Юлия
		محمد أحمد فاطمة שרה דוד 太郎 花子 伟 秀英 민준 지우 राहुल अनिता สมชาย O'Brien D’Arcy`)
	lastNames = strings.Fields(`Đặng Dang Trần Lê Phạm Straße Weiß Müller Mueller Schmidt Smith Smyth Smithson Ó'Neill Yılmaz
		Öztürk Παπαδόπουλος Νικολάου Иванов Петров Соловьёв حسن الأسد כהן 田中 佐藤 王 李 김 박 शर्मा Van-der-Berg
		García Núñez Ångström Nowak Wójcik Kovács Horváth Ionescu Dvořák Novák Johnson Johnsson Jonson`)
	cities = strings.Fields(`Paris München Köln Hà-Nội Đà-Nẵng İstanbul Αθήνα Москва القاهرة 東京 大阪 서울 Łódź São-Paulo Zürich London Londrina`)
)

func randomPerson(rnd *rand.Rand, i int) *customer.Data {
	pick := func(from []string) string { return from[rnd.IntN(len(from))] }
	first, last := pick(firstNames), pick(lastNames)
	if rnd.IntN(3) == 0 { // a name that hardly anybody else has
		last = randomWord(rnd, 4+rnd.IntN(8))
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i/2) * time.Second)
	d := &customer.Data{
		ID: uuid.Must(uuid.NewV7()), Status: customer.StatusActive, CreatedAt: at, UpdatedAt: at,
		FirstName: customer.Name(first), LastName: customer.Name(last),
		Email: customer.Email(fmt.Sprintf("%s.%s%d@%s", randomWord(rnd, 5), randomWord(rnd, 6), rnd.IntN(1000),
			pick([]string{"example.com", "mail.example", "bücher.example", "xn--bcher-kva.example"}))),
	}
	if rnd.IntN(2) == 0 {
		d.Phone = customer.Phone(fmt.Sprintf("+1415555%04d", rnd.IntN(10_000)))
	}
	if rnd.IntN(2) == 0 {
		d.Addresses = []customer.Address{{City: strings.ReplaceAll(pick(cities), "-", " ")}}
	}
	switch rnd.IntN(20) {
	case 0:
		d.Status = customer.StatusSuspended
	case 1:
		d.Status = customer.StatusDeleted
	}
	return d
}

func randomWord(rnd *rand.Rand, n int) string {
	const vowels, consonants = "aeiou", "bcdfghklmnprstvw"
	var b strings.Builder
	for i := range n {
		if i%2 == 0 {
			b.WriteByte(consonants[rnd.IntN(len(consonants))])
		} else {
			b.WriteByte(vowels[rnd.IntN(len(vowels))])
		}
	}
	return b.String()
}

// randomQuery is some of a customer's words as somebody types them.
func randomQuery(rnd *rand.Rand, words []string) string {
	var parts []string
	for range 1 + rnd.IntN(3) {
		r := []rune(words[rnd.IntN(len(words))])
		if rnd.IntN(2) == 0 {
			r = r[:1+rnd.IntN(len(r))]
		}
		if rnd.IntN(2) == 0 {
			r = mistyped(rnd, r)
		}
		word := string(r)
		if rnd.IntN(4) == 0 {
			word = strings.ToUpper(word)
		}
		if rnd.IntN(8) == 0 {
			word += string([]rune{'%', '_', '\'', '"', '\\', '\u0301'}[rnd.IntN(6)])
		}
		parts = append(parts, word)
	}
	if text := strings.Join(parts, " "); strings.TrimSpace(text) != "" {
		return text
	}
	return "x"
}

func mistyped(rnd *rand.Rand, r []rune) []rune {
	if len(r) == 0 {
		return r
	}
	i, other := rnd.IntN(len(r)), []rune("aeiknoöα乙0")[rnd.IntN(10)]
	out := slices.Clone(r)
	switch rnd.IntN(4) {
	case 0:
		return slices.Delete(out, i, i+1)
	case 1:
		return slices.Insert(out, i, other)
	case 2:
		out[i] = other
	default:
		if i+1 < len(out) {
			out[i], out[i+1] = out[i+1], out[i]
		}
	}
	return out
}

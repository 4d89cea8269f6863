package main

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/httpapitest"
)

const searchPath = "/v1/customers/search"

func TestBadListsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for query, code := range map[string]string{
		"status=deleted": "invalid-parameter", "status=": "invalid-parameter", "status=active&status=active": "invalid-parameter",
		"tag=V!P": "invalid-parameter", "external_id=": "invalid-parameter", "external_id=%C3%A9": "invalid-parameter",
		"created_after=yesterday": "invalid-parameter", "created_before=2026-01-02": "invalid-parameter",
		"updated_after=2026-01-02T03:04:05,5Z": "invalid-parameter", "sort=email": "invalid-parameter", "sort=": "invalid-parameter",
		"sort=--created_at": "invalid-parameter", "limit=0": "invalid-parameter", "limit=101": "invalid-parameter", "limit=07": "invalid-parameter",
		"limit=%2B5": "invalid-parameter", "email=ada@example.com": "invalid-parameter", "q=ada": "invalid-parameter", "offset=3": "invalid-parameter",
		"cursor=": "invalid-cursor", "cursor=garbage": "invalid-cursor",
	} {
		a := w.Do(t, "GET", "/v1/customers?"+query, "")
		require.Equal(t, 400, a.StatusCode, query)
		require.Contains(t, string(a.Body), `"code":"`+code+`"`, query)
	}
	for body, code := range map[string]string{
		`{"q":""}`: "/q", `{"q":" "}`: "/q", `{"q":"a b c d e f g h i j k"}`: "/q", `{"q":"` + strings.Repeat("a", 201) + `"}`: "/q", `{"q":3}`: "/q",
		`{"email":"nobody"}`: "/email", `{"phone":"911"}`: "/phone", `{"external_id":""}`: "/external_id", `{"status":"erased"}`: "/status",
		`{"tag":"V!P"}`: "/tag", `{"created_after":"yesterday"}`: "/created_after", `{"sort":"email"}`: "/sort",
		`{"limit":0}`: "/limit", `{"limit":101}`: "/limit", `{"limit":"20"}`: "/limit", `{"cursor":""}`: "/cursor", `{"surname":"x"}`: "/surname", `{"q":null}`: "/q",
	} {
		a := w.Do(t, "POST", searchPath, body)
		require.Equal(t, 422, a.StatusCode, "%s: %s", body, a.Body)
		require.Contains(t, string(a.Body), `"pointer":"`+code+`"`, body)
	}
	a := w.Do(t, "POST", searchPath, `{"cursor":"garbage"}`)
	require.Equal(t, 400, a.StatusCode)
	require.Contains(t, string(a.Body), `"code":"invalid-cursor"`)
	require.Equal(t, 400, w.Do(t, "POST", searchPath, `{`).StatusCode)
	require.Equal(t, 422, w.Do(t, "POST", searchPath, `{"status":"x","limit":0,"email":"y"}`).StatusCode)
}

func TestSearchesAreForgiving(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	email := func(text string) customer.Email {
		e, err := customer.ParseEmail(text)
		require.NoError(t, err)
		return e
	}
	person := customer.Registration{
		FirstName: "Zoë", LastName: "Đặng", Email: email("Zoe.D@bücher.example"), Phone: "+14155552671", ExternalID: "crm-0042", Tags: []customer.Tag{"vip"},
	}
	person.Addresses = []customer.Address{{ID: uuid.Must(uuid.NewV7()), Line1: "1 Rue de Rivoli", City: "Sankt Pölten", PostalCode: "3100", Country: "AT"}}
	r, err := w.commands.Register(t.Context(), command.Request{Principal: "dev", SuccessStatus: 201}, person)
	require.NoError(t, err)
	other := customer.Registration{FirstName: "O'Neill", LastName: "Yılmaz_100%", Email: email("someone@else.example")}
	o, err := w.commands.Register(t.Context(), command.Request{Principal: "dev", SuccessStatus: 201}, other)
	require.NoError(t, err)
	tokens := token(r.Data) + "," + token(o.Data)
	for body, want := range map[string][]customer.ID{
		`{}`:           {r.Data.ID, o.Data.ID},
		`{"q":"dang"}`: {r.Data.ID}, `{"q":"DANG zoe"}`: {r.Data.ID}, `{"q":"dagn"}`: {r.Data.ID}, `{"q":"da"}`: {r.Data.ID}, `{"q":"danh"}`: {r.Data.ID},
		`{"q":"dang someone"}`: {}, `{"q":"dna"}`: {}, `{"q":"polten"}`: {r.Data.ID}, `{"q":"bucher"}`: {r.Data.ID}, `{"q":"rivoli"}`: {},
		`{"q":"zoe.d@b"}`: {r.Data.ID}, `{"q":"+1 415"}`: {r.Data.ID}, `{"q":"(415) 555-26"}`: {r.Data.ID}, `{"q":"4155552672"}`: {},
		`{"q":"oneill"}`: {o.Data.ID}, `{"q":"o'neill"}`: {o.Data.ID}, `{"q":"yilmaz"}`: {o.Data.ID}, `{"q":"YILMAZ"}`: {o.Data.ID}, `{"q":"%"}`: {}, `{"q":"_"}`: {},
		`{"q":"100%"}`: {o.Data.ID}, `{"q":"ɲ' OR 1=1 --"}`: {},
		`{"email":"ZOE.d@xn--bcher-kva.example"}`: {r.Data.ID}, `{"email":"zoe@bücher.example"}`: {},
		`{"phone":"+1 (415) 555-2671"}`: {r.Data.ID}, `{"external_id":"crm-0042"}`: {r.Data.ID}, `{"external_id":"CRM-0042"}`: {},
		`{"tag":"vip","q":"zoe","status":"active","email":"zoe.d@bücher.example"}`: {r.Data.ID}, `{"status":"suspended"}`: {},
	} {
		a := w.Do(t, "POST", searchPath, body, "Consistency-Token: "+tokens)
		require.Equal(t, 200, a.StatusCode, "%s: %s", body, a.Body)
		require.NotEmpty(t, a.Header.Get("Projection-Lag"))
		require.Empty(t, a.Header.Get("Link"), "a link is followed without the body")
		require.ElementsMatch(t, want, idsOf(t, a), body)
	}
}

func TestPagesLinkToTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var tokens []string
	for range 5 {
		_, tok := w.register(t)
		tokens = append(tokens, tok)
	}
	var met []customer.ID
	path, pages := "/v1/customers?limit=2&status=active&sort=-updated_at&created_after=2020-01-01T00%3A00%3A00%2B02%3A00", 0
	for path != "" {
		a := w.Do(t, "GET", path, "", "Consistency-Token: "+strings.Join(tokens, ", "))
		require.Equal(t, 200, a.StatusCode, "%s", a.Body)
		head := w.Do(t, "HEAD", path, "")
		require.Equal(t, 200, head.StatusCode)
		require.Empty(t, head.Body)
		met = append(met, idsOf(t, a)...)
		pages++
		link := a.Header.Get("Link")
		path = ""
		if link != "" {
			target, rest, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
			require.True(t, ok)
			require.Equal(t, `; rel="next"`, rest)
			_, err := url.Parse(target)
			require.NoError(t, err)
			path = target
		}
	}
	require.Equal(t, 3, pages)
	require.Len(t, met, 5)
}

func idsOf(t *testing.T, a *httpapitest.Answer) []customer.ID {
	t.Helper()
	var page struct {
		Data []struct {
			ID customer.ID `json:"id"`
		} `json:"data"`
		NextCursor *string `json:"next_cursor"`
	}
	require.NoError(t, json.Unmarshal(a.Body, &page))
	all := make([]customer.ID, len(page.Data))
	for i, d := range page.Data {
		all[i] = d.ID
	}
	return all
}

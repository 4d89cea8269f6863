package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/imports"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

const export = "/v1/customers/export"

// people registers customers that are as different as they can be, and returns
// the living ones in order of id, with the token of the last.
func (w *world) people(t *testing.T) ([]customer.Data, string) {
	t.Helper()
	req := command.Request{Principal: "dev", SuccessStatus: 201}
	address := func(line string, uses ...customer.AddressUse) customer.Address {
		id := newID(t)
		return customer.Address{ID: id, Line1: line, City: "Paris", PostalCode: "75001", Country: "FR", DefaultFor: uses}
	}
	var all []customer.Data
	for _, r := range []customer.Registration{
		{FirstName: "Ada", Email: "ada@example.com"},
		{
			FirstName: "=1+1", LastName: `Quoted "Q", Comma`, Email: "formula@example.com", Phone: "+14155552671", Locale: "vi-VN", ExternalID: "-crm-1",
			Addresses: []customer.Address{address("@home", customer.UseBilling), address("2 Rue, \"X\"", customer.UseShipping), address("'=odd")},
			Tags:      []customer.Tag{"-minus", "vip"}, Metadata: map[string]string{"plan": "gold", "=key, \"k\"": "\ttab", "apostrophe": "'+1"},
			Consents: map[customer.Channel]customer.Consent{
				customer.ChannelEmail: {Granted: true, Source: "@shop", Wording: "yes;\"really\""}, customer.ChannelPost: {Source: "call"},
			},
		},
		{FirstName: "Zoë", LastName: "Đặng", Email: "zoë@bücher.example", Tags: []customer.Tag{"vip"}, Metadata: map[string]string{"plan": " spaced "}},
	} {
		got, err := w.commands.Register(t.Context(), req, r)
		require.NoError(t, err)
		all = append(all, got.Data)
	}
	suspended, err := w.commands.Suspend(t.Context(), command.Request{Principal: "dev", SuccessStatus: 200}, all[2].ID, "unpaid")
	require.NoError(t, err)
	all[2] = suspended.Data
	gone, _ := w.register(t)
	deleted, err := w.commands.Delete(t.Context(), command.Request{Principal: "dev", SuccessStatus: 204}, gone.ID)
	require.NoError(t, err)
	var tokens []string
	for _, d := range append(all[:3:3], deleted.Data) {
		tokens = append(tokens, token(d))
	}
	return all, strings.Join(tokens, ",")
}

func TestExportIsEveryMatchInItsOwnBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	empty := w.Do(t, "GET", export, "")
	require.Equal(t, 200, empty.StatusCode)
	require.Empty(t, empty.Body)

	people, tokens := w.people(t)
	for filter, want := range map[string][]int{
		"": {0, 1, 2}, "?status=active": {0, 1}, "?status=suspended": {2}, "?tag=vip": {1, 2}, "?external_id=-crm-1": {1}, "?tag=none": {},
		"?created_after=2020-01-01T00:00:00Z&created_before=2100-01-01T00:00:00Z": {0, 1, 2},
		"?updated_after=" + people[1].UpdatedAt.Format(time.RFC3339Nano):          {2},
	} {
		var lines []string
		for _, i := range want {
			line, err := query.Render(people[i])
			require.NoError(t, err)
			lines = append(lines, string(line)+"\n")
		}
		for _, accept := range []string{"application/x-ndjson", "*/*", "text/csv;q=0.5, application/x-ndjson", "application/*"} {
			a := w.Do(t, "GET", export+filter, "", "Consistency-Token: "+tokens, "Accept: "+accept, "Prefer: wait=10")
			require.Equal(t, 200, a.StatusCode, "%s", a.Body)
			require.Equal(t, strings.Join(lines, ""), string(a.Body), filter)
			require.Equal(t, "application/x-ndjson", a.Header.Get("Content-Type"))
			require.Regexp(t, `^\d+\.\d{3}$`, a.Header.Get("Projection-Lag"))
			require.Equal(t, "wait=10", a.Header.Get("Preference-Applied"))
			require.Equal(t, "Accept", a.Header.Get("Vary"))
		}
	}
	head := w.Do(t, "HEAD", export, "")
	require.Equal(t, 200, head.StatusCode)
	require.Equal(t, "application/x-ndjson", head.Header.Get("Content-Type"))
	require.NotEmpty(t, head.Header.Get("Projection-Lag"))
}

// What a spreadsheet gets is what an import takes: nothing is lost on the way
// but what no import can set.
func TestExportedTablesCanBeImported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	people, tokens := w.people(t)
	a := w.Do(t, "GET", export, "", "Consistency-Token: "+tokens, "Accept: text/csv", "Prefer: wait=10")
	require.Equal(t, 200, a.StatusCode, "%s", a.Body)
	require.Equal(t, "text/csv; charset=utf-8; header=present", a.Header.Get("Content-Type"))
	require.True(t, bytes.HasPrefix(a.Body, []byte("id,version,status,external_id,email,first_name,")), "%s", a.Body)
	for row := range strings.SplitSeq(string(a.Body), "\r\n") {
		for cell := range strings.SplitSeq(row, ",") {
			require.False(t, strings.ContainsAny(first(strings.TrimPrefix(cell, `"`)), "=+-@\t\r\n"), "%q", cell)
		}
	}
	table, err := imports.NewTable(bytes.NewReader(a.Body))
	require.NoError(t, err)
	merged := map[string]map[string]any{}
	rows := 0
	for {
		rec, err := table.Next()
		if err == io.EOF { //nolint:errorlint // as the interface says
			break
		}
		require.NoError(t, err)
		require.NoError(t, rec.Err)
		rows++
		doc := decode(t, rec.Text)
		email := doc["email"].(string)
		if have, again := merged[email]; again {
			require.Len(t, doc, len(intersect(doc, "email", "external_id", "addresses")), "a further row has an address and names alone")
			have["addresses"] = append(have["addresses"].([]any), doc["addresses"].([]any)...)
			continue
		}
		merged[email] = doc
	}
	require.Equal(t, 5, rows)
	require.Len(t, merged, len(people))
	for _, p := range people {
		want := importable(t, p)
		require.Equal(t, want, merged[string(p.Email)])
	}
}

func TestBadExportsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, row := range map[string]struct {
		query   string
		headers []string
		status  int
		code    string
	}{
		"deleted":          {query: "?status=deleted", status: 400, code: "invalid-parameter"},
		"empty status":     {query: "?status=", status: 400, code: "invalid-parameter"},
		"repeated":         {query: "?status=active&status=active", status: 400, code: "invalid-parameter"},
		"unknown":          {query: "?q=ada", status: 400, code: "invalid-parameter"},
		"limit":            {query: "?limit=10", status: 400, code: "invalid-parameter"},
		"cursor":           {query: "?cursor=abc", status: 400, code: "invalid-parameter"},
		"sort":             {query: "?sort=created_at", status: 400, code: "invalid-parameter"},
		"e-mail":           {query: "?email=ada@example.com", status: 400, code: "invalid-parameter"},
		"time":             {query: "?created_after=2026-13-01T00:00:00Z", status: 400, code: "invalid-parameter"},
		"date":             {query: "?created_before=2026-01-01", status: 400, code: "invalid-parameter"},
		"leap second":      {query: "?updated_after=2016-12-31T23:59:60Z", status: 400, code: "invalid-parameter"},
		"plus for a space": {query: "?updated_after=2016-12-31T23:59:00+01:00", status: 400, code: "invalid-parameter"},
		"tag":              {query: "?tag=UPPER", status: 400, code: "invalid-parameter"},
		"external id":      {query: "?external_id=%C3%A9", status: 400, code: "invalid-parameter"},
		"JSON":             {headers: []string{"Accept: application/json"}, status: 406, code: "not-acceptable"},
		"nothing":          {headers: []string{"Accept: */*;q=0"}, status: 406, code: "not-acceptable"},
		"garbage token":    {headers: []string{"Consistency-Token: garbage"}, status: 400, code: "invalid-token"},
		"future token":     {headers: []string{"Consistency-Token: " + token(customer.Data{ID: newID(t), Version: 7}), "Prefer: wait=0"}, status: 503, code: "read-model-behind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := w.Do(t, "GET", export+row.query, "", row.headers...)
			require.Equal(t, row.status, a.StatusCode, "%s", a.Body)
			require.Equal(t, row.code, a.Problem(t).Code)
			require.Equal(t, row.status, w.Do(t, "HEAD", export+row.query, "", row.headers...).StatusCode)
		})
	}
}

// flood puts n customers of about 2 kB each straight into the read model.
func (w *world) flood(t *testing.T, n int) {
	t.Helper()
	_, err := w.owner.Exec(t.Context(), `
WITH made AS (
  INSERT INTO readmodel.documents (customer_id, version, position, slot, status, document, created_at, updated_at)
  SELECT gen_random_uuid(), 1, 0, 0, 'active', json_build_object('metadata', json_build_object('filler', repeat(md5(i::text), 64))), now(), now()
    FROM generate_series(1, $1) i RETURNING customer_id)
INSERT INTO readmodel.listing (customer_id, status, created_at, last_name, email, tags, words, grams)
SELECT customer_id, 'active', now(), '', '', '{}', '', '{}' FROM made`, n)
	require.NoError(t, err)
}

// begun is an export under way.
type begun struct {
	status int
	body   io.Reader
}

// open begins an export and reads its header.
func (w *world) open(t *testing.T, ctx context.Context) begun { //nolint:revive // as in net/http, what is cut off is beside t
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", w.Base+export, nil)
	require.NoError(t, err)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	return begun{resp.StatusCode, resp.Body}
}

// exporting counts the transactions that exports hold in the read model.
func (w *world) exporting(t *testing.T) (n int) {
	t.Helper()
	require.NoError(t, w.owner.QueryRow(t.Context(), `
SELECT count(*) FROM pg_stat_activity
 WHERE application_name = 'query-api export' AND datname = current_database() AND xact_start IS NOT NULL`).Scan(&n))
	return n
}

func TestExportsAreBoundedAndEndWithTheirClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "--max-exports=2")
	w.flood(t, 20_000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 2 { // who do not read: nothing more is fetched for them than what is under way
		require.Equal(t, 200, w.open(t, ctx).status)
	}
	require.Equal(t, 2, w.exporting(t))
	a := w.Do(t, "GET", export, "")
	require.Equal(t, 503, a.StatusCode)
	require.Equal(t, "overloaded", a.Problem(t).Code)
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	d, tok := w.register(t)
	require.Equal(t, 200, w.Do(t, "GET", "/v1/customers/"+d.ID.String(), "", "Consistency-Token: "+tok).StatusCode, "other reads have their own connections")
	cancel()
	eventually(t, func() bool { return w.exporting(t) == 0 })
	eventually(t, func() bool { return w.open(t, t.Context()).status == 200 })
}

// One snapshot: what is committed while a client reads is not in the answer.
func TestExportIsOneSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.flood(t, 20_000)
	resp := w.open(t, t.Context())
	lines := bufio.NewReader(resp.body)
	_, err := lines.ReadString('\n')
	require.NoError(t, err)
	_, err = w.owner.Exec(t.Context(), `DELETE FROM readmodel.documents`)
	require.NoError(t, err)
	w.flood(t, 10)
	rest, err := io.ReadAll(lines)
	require.NoError(t, err)
	require.Equal(t, 19_999, bytes.Count(rest, []byte("\n")))
	require.Len(t, bytes.Split(w.Do(t, "GET", export, "", "Accept: text/csv").Body, []byte("\r\n")), 2+10, "a header and what is there now")
}

// Nobody takes a part for the whole: what goes wrong in the middle breaks the
// connection, in either form, and so does taking too long.
func TestAnExportThatCannotGoOnBreaksTheConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "--export-timeout=1s")
	w.flood(t, 20_000)
	resp := w.open(t, t.Context())
	_, err := w.owner.Exec(t.Context(), `
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'query-api export' AND datname = current_database()`)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)

	slow := w.open(t, t.Context())
	eventually(t, func() bool { return w.exporting(t) == 0 })
	_, err = io.Copy(io.Discard, slow.body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestExportWithoutTheReadModelIsUnavailable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.owner.Exec(t.Context(), `ALTER TABLE readmodel.documents RENAME TO elsewhere`)
	require.NoError(t, err)
	a := w.Do(t, "GET", export, "")
	require.Equal(t, 503, a.StatusCode)
	require.Equal(t, "unavailable", a.Problem(t).Code)
}

func TestTooManyKeysForATable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.flood(t, 300)
	_, err := w.owner.Exec(t.Context(),
		`UPDATE readmodel.documents SET document = json_build_object('metadata', json_build_object(customer_id::text, 'x'))`)
	require.NoError(t, err)
	a := w.Do(t, "GET", export, "", "Accept: text/csv")
	require.Equal(t, 406, a.StatusCode, "%s", a.Body)
	require.Contains(t, a.Problem(t).Detail, "application/x-ndjson")
	require.Equal(t, 200, w.open(t, t.Context()).status)
}

func newID(t *testing.T) uuid.UUID {
	t.Helper()
	id, err := uuid.NewV7()
	require.NoError(t, err)
	return id
}

func first(text string) string { return text[:min(1, len(text))] }

func decode(t *testing.T, text []byte) (doc map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(text, &doc))
	return doc
}

func intersect(doc map[string]any, names ...string) (have []string) {
	for _, name := range names {
		if _, ok := doc[name]; ok {
			have = append(have, name)
		}
	}
	return have
}

// importable is what an import can set of a customer, as a line of one.
func importable(t *testing.T, d customer.Data) map[string]any {
	t.Helper()
	body, err := query.Render(d)
	require.NoError(t, err)
	doc := decode(t, body)
	for _, name := range []string{"id", "version", "status", "created_at", "updated_at"} {
		delete(doc, name)
	}
	for _, a := range doc["addresses"].([]any) {
		delete(a.(map[string]any), "id")
		prune(a.(map[string]any))
	}
	for _, c := range doc["consents"].(map[string]any) {
		delete(c.(map[string]any), "at")
		prune(c.(map[string]any))
	}
	prune(doc)
	return doc
}

// prune takes away what an empty cell says as well.
func prune(doc map[string]any) {
	for name, v := range doc {
		switch v := v.(type) {
		case nil:
			delete(doc, name)
		case string:
			if v == "" {
				delete(doc, name)
			}
		case []any:
			if len(v) == 0 {
				delete(doc, name)
			}
		case map[string]any:
			if len(v) == 0 {
				delete(doc, name)
			}
		}
	}
}

package client_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/api/client"
)

func page(next string, n int) reply {
	return answer(http.StatusOK, `{"data": [`+strings.TrimSuffix(strings.Repeat(document+",", n), ",")+`], "next_cursor": `+next+`}`)
}

func TestPagesAreTurned(t *testing.T) {
	t.Parallel()
	down := answer(http.StatusServiceUnavailable, fmt.Sprintf(problem, "read-model-behind"), "Retry-After", "1")
	synctest.Test(t, func(t *testing.T) {
		s := &service{answers: []reply{page(`"a"`, 2), down, page(`"b"`, 0), lost, page("null", 1)}}
		c := newClient(t, s)
		tag, n := "vip", 0
		for one, err := range c.List(t.Context(), client.ListCustomersParams{Tag: &tag}) {
			require.NoError(t, err)
			require.Equal(t, id, one.Id.String())
			n++
		}
		require.Equal(t, 3, n)
		var asked []string
		for _, r := range s.asked {
			asked = append(asked, r.URL.RawQuery)
		}
		require.Equal(t, []string{"tag=vip", "tag=vip&cursor=a", "tag=vip&cursor=a", "tag=vip&cursor=b", "tag=vip&cursor=b"}, asked)

		s.answers, s.bodies = []reply{page(`"a"`, 1), down, page("null", 1)}, nil
		q := "ada"
		for _, err := range c.Search(t.Context(), client.Search{Q: &q}) {
			require.NoError(t, err)
		}
		require.Len(t, s.bodies, 3, "a search is repeated as reads are")
		require.JSONEq(t, `{"q": "ada"}`, s.bodies[0])
		require.JSONEq(t, `{"q": "ada", "cursor": "a"}`, s.bodies[2])
	})
}

func TestPagesEndEarly(t *testing.T) {
	t.Parallel()
	s := &service{answers: []reply{page(`"a"`, 3), page(`"a"`, 1), answer(http.StatusBadRequest, fmt.Sprintf(problem, "invalid-cursor"))}}
	c := newClient(t, s)
	for _, err := range c.List(t.Context(), client.ListCustomersParams{}) {
		require.NoError(t, err)
		break
	}
	require.Len(t, s.asked, 1)
	n := 0
	for one, err := range c.List(t.Context(), client.ListCustomersParams{}) {
		if n++; n == 1 {
			require.NoError(t, err)
			continue
		}
		require.Nil(t, one)
		require.Equal(t, client.ProblemCodeInvalidCursor, client.CodeOf(err))
	}
	require.Equal(t, 2, n)
}

// What was read last is known too, and an answer that was slower than a later
// one does not take its place.
func TestTokensOfReads(t *testing.T) {
	t.Parallel()
	at := func(version string) reply {
		return answer(http.StatusOK, document, "ETag", `"`+version+`"`, "Consistency-Token", "v"+version)
	}
	s := &service{answers: []reply{at("5"), at("4"), at("10")}}
	c := newClient(t, s)
	for _, want := range []string{"v5", "v5", "v10"} {
		_, err := c.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, want, c.Token(id))
	}
	require.Equal(t, "v5", s.last().Header.Get("Consistency-Token"))
}

func TestListsCarryTheLatestTokens(t *testing.T) {
	t.Parallel()
	s := new(service)
	c := newClient(t, s)
	for i := range 10 {
		s.answers = []reply{answer(http.StatusOK, document, "Consistency-Token", fmt.Sprintf("t%d", i))}
		_, err := c.AddTag(t.Context(), fmt.Sprint(i), "vip")
		require.NoError(t, err)
	}
	s.answers = []reply{page("null", 0)}
	for _, err := range c.List(t.Context(), client.ListCustomersParams{}, client.After("a", "b"), client.After("c,d")) {
		t.Fatal("nothing is listed", err)
	}
	require.Equal(t, []string{"a", "b", "c,d", "t9", "t8", "t7", "t6"}, s.last().Header.Values("Consistency-Token"))
}

func event(position int) string {
	return fmt.Sprintf(`{"position": %d, "id": "%s", "type": "customer.renamed", "customer_id": "%s", "version": 2, "changed": ["first_name"],
		"time": "2026-01-02T03:04:05.000006Z", "token": "t"}`, position, id, id)
}

func TestEvents(t *testing.T) {
	t.Parallel()
	s := &service{answers: []reply{
		answer(http.StatusOK, `{"data": [`+event(8)+`,`+event(9)+`], "next_after": 9}`),
		answer(http.StatusOK, `{"data": [], "next_after": 9}`),
	}}
	var seen []int64
	for one, err := range newClient(t, s).Events(t.Context(), 7) {
		require.NoError(t, err)
		seen = append(seen, one.Position)
	}
	require.Equal(t, []int64{8, 9}, seen)
	require.Equal(t, "after=9&limit=1000", s.last().URL.RawQuery)
}

func TestFollowingGoesOnWhereItWasCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		line := func(position int) string {
			return fmt.Sprintf("id: %d\ndata: %s\n\n", position, strings.ReplaceAll(event(position), "\n", " "))
		}
		stream := func(body string) reply {
			return reply{status: http.StatusOK, body: body, header: []string{"Content-Type", "text/event-stream"}, torn: true}
		}
		s := &service{answers: []reply{
			stream("retry: 10\n\n" + line(4) + ": alive\n\n" + line(5) + "data: {\"posi"),
			lost, stream(""), stream(line(5) + line(6)),
			answer(http.StatusForbidden, fmt.Sprintf(problem, "forbidden")),
		}}
		var seen []int64
		var end error
		for one, err := range newClient(t, s).Follow(t.Context(), 3) {
			if err != nil {
				end = err
				continue
			}
			seen = append(seen, one.Position)
		}
		require.Equal(t, []int64{4, 5, 6}, seen)
		require.Equal(t, client.ProblemCodeForbidden, client.CodeOf(end))
		var from []string
		for _, r := range s.asked {
			require.Equal(t, "text/event-stream", r.Header.Get("Accept"))
			from = append(from, r.Header.Get("Last-Event-ID"))
		}
		require.Equal(t, []string{"3", "5", "5", "5", "6"}, from)
	})
}

func TestExportsThatBreakOffAreErrors(t *testing.T) {
	t.Parallel()
	line := strings.ReplaceAll(document, "\n", " ") + "\n"
	for name, row := range map[string]struct {
		torn bool
		body string
		read int
	}{
		"whole":            {body: line + line, read: 2},
		"empty":            {},
		"between lines":    {torn: true, body: line, read: 1},
		"within a line":    {torn: true, body: line + line[:20], read: 1},
		"cut, and no word": {body: line + line[:20], read: 1},
	} {
		s := &service{answers: []reply{{status: http.StatusOK, body: row.body, torn: row.torn, header: []string{"Content-Type", "application/x-ndjson"}}}}
		n, failed := 0, false
		for _, err := range newClient(t, s).Export(t.Context(), client.ExportCustomersParams{}) {
			if failed = err != nil; !failed {
				n++
			}
		}
		require.Equal(t, row.read, n, name)
		require.Equal(t, name != "whole" && name != "empty", failed, name)
	}
}

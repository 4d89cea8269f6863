package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type rawAnswer struct {
	status int
	media  string
	body   string
}

// raw is what the server answers to bytes, and whether it then hangs up.
func raw(t *testing.T, addr string, parts ...string) (answers []rawAnswer, closed bool) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	for _, part := range parts {
		_, err = io.WriteString(conn, part)
		require.NoError(t, err)
	}
	r := bufio.NewReader(conn)
	for {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Second)))
		if _, err := r.Peek(1); err != nil {
			return answers, !errors.Is(err, os.ErrDeadlineExceeded)
		}
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		content, err := io.ReadAll(resp.Body)
		require.NoError(t, err, "an answer arrives whole")
		_ = resp.Body.Close()
		answers = append(answers, rawAnswer{resp.StatusCode, resp.Header.Get("Content-Type"), string(content)})
	}
}

func TestDoubtfulFramingIsRefusedAndTheConnectionClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const chunked = "5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n"
	head := func(lines ...string) string {
		return "POST /v1/customers HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
	}
	get := "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, row := range map[string]struct {
		parts    []string
		statuses []int
		closed   bool
	}{
		"both":                       {[]string{head("Content-Length: 7", "Transfer-Encoding: chunked") + chunked}, []int{400}, true},
		"both, the other way":        {[]string{head("Transfer-Encoding: chunked", "Content-Length: 7") + chunked}, []int{400}, true},
		"both, other case and space": {[]string{head("transfer-encoding:chunked", "CONTENT-LENGTH: 7 ") + chunked}, []int{400}, true},
		"both, bare line feeds":      {[]string{strings.ReplaceAll(head("Content-Length: 7", "Transfer-Encoding: chunked"), "\r\n", "\n") + chunked}, []int{400}, true},
		"both, byte by byte":         {strings.Split(head("Content-Length: 7", "Transfer-Encoding: chunked")+chunked, ""), []int{400}, true},
		"both, on the second":        {[]string{get, head("Content-Length: 7", "Transfer-Encoding: chunked") + chunked}, nil, true},
		"two lengths":                {[]string{head("Content-Length: 2", "Content-Length: 3") + "{} "}, []int{400}, true},
		"same length twice":          {[]string{head("Content-Length: 2", "Content-Length: 2") + "{}"}, []int{422}, false},
		"gzip transfer":              {[]string{head("Transfer-Encoding: gzip") + "x"}, []int{501}, true},
		"no host":                    {[]string{"GET /livez HTTP/1.1\r\n\r\n"}, []int{400}, true},
		"two hosts":                  {[]string{"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"}, []int{400}, true},
		"space before the colon":     {[]string{head("Content-Length : 2") + "{}"}, []int{400}, true},
		"header too large":           {[]string{head("X-Filler: " + strings.Repeat("x", 32<<10))}, []int{431}, true},
		"no request":                 {[]string{"GARBAGE\r\n\r\n"}, []int{400}, true},
		"space in a name":            {[]string{head("X Filler: secret.person")}, []int{400}, true},
		"other version":              {[]string{"GET /livez HTTP/3.0\r\nHost: x\r\n\r\n"}, []int{505}, true},
		"other expectation":          {[]string{head("Expect: 200-ok", "Content-Length: 2") + "{}"}, []int{417}, true},
		"bad chunk size":             {[]string{head("Transfer-Encoding: chunked") + "zz\r\n"}, []int{400}, true},
		"chunked":                    {[]string{head("Transfer-Encoding: chunked") + chunked}, []int{422}, false},
		"chunked, with a trailer":    {[]string{head("Transfer-Encoding: chunked") + "2;x=y\r\n{}\r\n0\r\nContent-Length: 3\r\n\r\n" + get}, []int{422, 200}, false},
		"pipelined":                  {[]string{head("Content-Length: 2") + "{}" + get + head("Transfer-Encoding: chunked") + chunked + get}, []int{422, 200, 422, 200}, false},
		"a body like a header":       {[]string{head("Content-Length: 49") + "\r\n\r\nContent-Length: 1\r\nTransfer-Encoding: chunked" + get}, []int{400, 200}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answers, closed := raw(t, w.addr, row.parts...)
			var statuses []int
			for _, a := range answers {
				statuses = append(statuses, a.status)
				if a.status >= 400 {
					requireProblem(t, a)
				}
			}
			require.Equal(t, row.closed, closed, "%v", statuses)
			if row.statuses == nil { // what was sent ahead may or may not be answered first
				require.Equal(t, 400, statuses[len(statuses)-1])
				return
			}
			require.Equal(t, row.statuses, statuses)
			if strings.HasPrefix(name, "both") {
				require.Contains(t, answers[0].body, `"code":"malformed-request"`)
			}
		})
	}
}

// requireProblem holds what no handler has seen to the one form of error too.
func requireProblem(t *testing.T, a rawAnswer) {
	t.Helper()
	require.Equal(t, "application/problem+json", a.media, a.body)
	var p struct {
		Type, Title, Detail, Code string
		Status                    int
	}
	require.NoError(t, json.Unmarshal([]byte(a.body), &p), a.body)
	require.Equal(t, a.status, p.Status)
	require.Equal(t, "/problems/"+p.Code, p.Type)
	require.NotEmpty(t, p.Title)
	require.NotEmpty(t, p.Detail)
}

func TestBodiesBeyondTheLimitAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	exact := `{"last_name": "x", "email": "` + unusedEmail() + `", "metadata": {}}`
	exact = strings.Replace(exact, "{}", "{"+strings.Repeat(" ", 64<<10-len(exact))+"}", 1)
	require.Len(t, exact, 64<<10)
	require.Equal(t, 201, w.Do(t, "POST", "/v1/customers", exact).StatusCode)
	for name, reader := range map[string]io.Reader{"counted": strings.NewReader(exact + " "), "chunked": io.MultiReader(strings.NewReader(exact), strings.NewReader(" "))} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", w.Base+"/v1/customers", reader)
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		a := w.Send(t, req)
		require.Equal(t, 413, a.StatusCode, name)
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, row := range map[string]struct {
		sent   string
		within time.Duration
		answer string
	}{
		"header": {"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ", 6 * time.Second, ""},
		"body":   {"POST /v1/customers HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", 11 * time.Second, "request-timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", w.addr)
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			_, err = io.WriteString(conn, row.sent)
			require.NoError(t, err)
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(row.within)))
			answer, err := io.ReadAll(conn)
			require.NoError(t, err, "the server hangs up by itself")
			require.Contains(t, string(answer), row.answer)
		})
	}
}

func TestForwardedIdentitiesAreIgnored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.Do(t, "POST", "/v1/customers", fmt.Sprintf(`{"last_name": "x", "email": %q}`, unusedEmail()), "X-Forwarded-For: 1.2.3.4", "X-User-Id: root")
	require.Equal(t, 201, a.StatusCode)
	var actor string
	require.NoError(t, w.db.Pool(t, "").QueryRow(t.Context(), "SELECT metadata->>'actor' FROM eventlog.events").Scan(&actor))
	require.Equal(t, "dev", actor)
}

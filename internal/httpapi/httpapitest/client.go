// Package httpapitest talks to a running API as a client would, and holds every
// answer it sees to api/openapi.yaml.
package httpapitest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
)

// Client sends requests to one server.
type Client struct {
	Base   string
	http   *http.Client
	router routers.Router
	doc    *openapi3.T
}

// New returns a client of the server at base, as in http://127.0.0.1:8080.
func New(t testing.TB, base string) *Client {
	t.Helper()
	doc := Document(t)
	router, err := gorillamux.NewRouter(doc)
	require.NoError(t, err)
	return &Client{Base: base, router: router, doc: doc, http: &http.Client{
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Document is the contract, checked.
func Document(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(api.YAML())
	require.NoError(t, err)
	require.NoError(t, doc.Validate(context.Background()))
	return doc
}

// Answer is a response with its body read.
type Answer struct {
	*http.Response
	Body []byte
}

// Problem is what an Answer's problem says.
type Problem struct {
	Type, Title, Detail, Code string
	Status                    int
	TraceID                   string `json:"trace_id"`
	CurrentVersion            *int64 `json:"current_version"`
	Errors                    []struct{ Pointer, Code, Detail string }
}

// Pointers are the places of the problem's errors, with their codes.
func (p Problem) Pointers() map[string]string {
	out := make(map[string]string, len(p.Errors))
	for _, e := range p.Errors {
		out[e.Pointer] = e.Code
	}
	return out
}

// JSON reads the body into out.
func (a *Answer) JSON(t testing.TB, out any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(a.Body, out), "%s", a.Body)
}

// Problem reads the body as a problem.
func (a *Answer) Problem(t testing.TB) Problem {
	t.Helper()
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"), "%s", a.Body)
	var p Problem
	a.JSON(t, &p)
	return p
}

// Do sends a request. Headers are "Name: value"; one given twice is sent twice.
// A body without a Content-Type is application/json.
func (c *Client) Do(t testing.TB, method, path, body string, headers ...string) *Answer {
	t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, c.Base+path, content)
	require.NoError(t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Content-Type" {
			req.Header.Del(name)
		}
		req.Header.Add(name, value)
	}
	return c.Send(t, req)
}

// Send sends req and checks what comes back.
func (c *Client) Send(t testing.TB, req *http.Request) *Answer {
	t.Helper()
	resp, err := c.http.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	a := &Answer{Response: resp, Body: content}
	c.Check(t, req, a)
	return a
}

// Check holds an answer to the contract.
func (c *Client) Check(t testing.TB, req *http.Request, a *Answer) {
	t.Helper()
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "", "X-Powered-By": ""} {
		require.Equal(t, want, a.Header.Get(name), name)
	}
	require.NotEmpty(t, a.Header.Get("Content-Security-Policy"))
	require.Less(t, a.StatusCode, 600)
	unserved := false
	if a.StatusCode >= 400 && req.Method != http.MethodHead && req.URL.Path != "/readyz" {
		p := a.Problem(t)
		require.NoError(t, c.doc.Components.Schemas["Problem"].Value.VisitJSON(decoded(t, a.Body), openapi3.EnableJSONSchema2020()))
		require.Equal(t, a.StatusCode, p.Status)
		unserved = p.Code == "route-not-found" || a.StatusCode == http.StatusMethodNotAllowed // by this process, or by none
		require.Equal(t, "/problems/"+p.Code, p.Type)
		if a.StatusCode == http.StatusTooManyRequests || a.StatusCode == http.StatusServiceUnavailable {
			require.NotEmpty(t, a.Header.Get("Retry-After"))
		}
	}
	asked := req.Clone(context.Background())
	if asked.Method == http.MethodHead {
		asked.Method = http.MethodGet
	}
	route, params, err := c.router.FindRoute(asked)
	minimal := strings.Contains(a.Header.Get("Preference-Applied"), "return=minimal")
	if err != nil || minimal || unserved || req.Method == http.MethodHead {
		return // not a route, or no body to check
	}
	media := a.Header.Get("Content-Type")
	if media == httpapi.MediaNDJSON {
		line := route.Operation.Responses.Status(a.StatusCode).Value.Content.Get(media).Schema.Value
		for text := range bytes.Lines(a.Body) {
			require.NoError(t, line.VisitJSON(decoded(t, text), openapi3.EnableJSONSchema2020()), "%s", text)
		}
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: asked, PathParams: params, Route: route},
		Status:                 a.StatusCode, Header: a.Header,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, ExcludeResponseBody: strings.HasPrefix(media, "text/") || media == httpapi.MediaNDJSON,
		},
	}
	input.SetBodyBytes(a.Body)
	require.NoError(t, openapi3filter.ValidateResponse(context.Background(), input))
}

func decoded(t testing.TB, body []byte) any {
	t.Helper()
	var out any
	dec := json.NewDecoder(bytes.NewReader(body))
	require.NoError(t, dec.Decode(&out))
	return out
}

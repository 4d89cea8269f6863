package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// Client sends requests to one process.
type Client struct {
	doc  *Document
	base string
	http *http.Client
}

// NewClient returns a client of the process at base.
func NewClient(doc *Document, base string) *Client {
	return &Client{doc: doc, base: base, http: &http.Client{Timeout: 15 * time.Second}}
}

// ErrUnsendable tells that no HTTP client would send the request.
var ErrUnsendable = errors.New("not a request")

// Send sends r and says what is wrong with the answer.
func (c *Client) Send(ctx context.Context, r *Request) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, r.Op.Method, c.base+r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return 0, ErrUnsendable
	}
	req.Header = r.Header.Clone()
	res, err := c.http.Do(req)
	if err != nil {
		if strings.Contains(err.Error(), "invalid header field value") {
			return 0, ErrUnsendable
		}
		return 0, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return res.StatusCode, fmt.Errorf("read the answer: %w", err)
	}
	if err := c.doc.check(ctx, req, r, res, body); err != nil {
		return res.StatusCode, fmt.Errorf("answer %d %v %.1000s: %w", res.StatusCode, res.Header, body, err)
	}
	return res.StatusCode, nil
}

func (d *Document) check(ctx context.Context, req *http.Request, r *Request, res *http.Response, body []byte) error {
	if res.StatusCode >= 500 {
		return errors.New("nothing a client sends may end like this")
	}
	if r.Refused && res.StatusCode < 400 {
		return errors.New("it had to be refused")
	}
	if len(r.Spoiled) == 0 && res.StatusCode == http.StatusUnsupportedMediaType {
		return errors.New("the document says it is supported")
	}
	if res.StatusCode >= 400 {
		if err := d.problem(res, body); err != nil {
			return err
		}
		if strings.Contains(string(body), `"route-not-found"`) && len(r.Spoiled) > 0 {
			return nil // a parameter that made the path another one
		}
	}
	answer := r.Op.Responses.Status(res.StatusCode)
	if answer == nil {
		return errors.New("the document has no such status for this operation")
	}
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	streamed := media == "application/x-ndjson"
	if streamed {
		if err := lines(answer.Value.Content.Get(media), r, body); err != nil {
			return err
		}
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: req, Route: &routers.Route{Spec: d.doc, Path: r.Op.Path, PathItem: d.doc.Paths.Value(r.Op.Path), Method: r.Op.Method, Operation: r.Op.Operation},
		},
		Status: res.StatusCode, Header: res.Header,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true,
			ExcludeResponseBody:   streamed || strings.HasPrefix(media, "text/") || strings.Contains(res.Header.Get("Preference-Applied"), "return=minimal"),
		},
	}
	input.SetBodyBytes(body)
	return openapi3filter.ValidateResponse(ctx, input)
}

// problem holds an error to RFC 9457 and to the document's schema of it.
func (d *Document) problem(res *http.Response, body []byte) error {
	if got := res.Header.Get("Content-Type"); got != "application/problem+json" {
		return fmt.Errorf("an error of type %q", got)
	}
	var p struct {
		Type, Code, Title, Detail string
		Status                    int
		Errors                    []json.RawMessage
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return err
	}
	if p.Status != res.StatusCode || p.Type != "/problems/"+p.Code || p.Title == "" || p.Detail == "" {
		return errors.New("a problem that does not say what it is")
	}
	if p.Code == "validation-failed" && len(p.Errors) == 0 {
		return errors.New("a validation that says nothing")
	}
	if res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") == "" {
		return errors.New("no Retry-After")
	}
	if err := valid(d.doc.Components.Schemas["Problem"].Value, body); err != nil {
		return fmt.Errorf("a problem that is not valid: %w", err)
	}
	return nil
}

// lines holds a stream to the schema of its lines, and where lines were sent to
// one for each of them.
func lines(media *openapi3.MediaType, r *Request, body []byte) error {
	if media == nil {
		return errors.New("the document has no such stream")
	}
	n := 0
	for line := range bytes.Lines(body) {
		if line[len(line)-1] != '\n' {
			return fmt.Errorf("line %d is cut short", n+1)
		}
		if err := valid(media.Schema.Value, line); err != nil {
			return fmt.Errorf("line %d is not valid: %w", n+1, err)
		}
		n++
	}
	if r.Lines > 0 && n != r.Lines {
		return fmt.Errorf("%d lines for %d", n, r.Lines)
	}
	return nil
}

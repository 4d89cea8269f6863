package contract

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// Known is what there is to ask for: without it every request would be about
// nobody.
type Known struct {
	// Path has values for the path's parameters by name, for customers in every
	// state; one draw takes the same place in all of the lists.
	Path []map[string]string
	// Tokens are consistency tokens of those customers.
	Tokens []string
}

// Request is one to send, with what may come of it.
type Request struct {
	Op      Operation
	URL     string // without the server
	Header  http.Header
	Body    []byte
	Spoiled []string // what is wrong with it, or strange about it
	// Refused tells that no answer but 4xx is right.
	Refused bool
	// Lines is how many lines a streamed body has; 0 for a body in one piece.
	Lines int
}

func (r *Request) String() string {
	return fmt.Sprintf("%s %s %v spoiled by %v\n%.2000q", r.Op.Method, r.URL, r.Header, r.Spoiled, r.Body)
}

func (r *Request) spoil(how string, refused bool) {
	r.Spoiled = append(r.Spoiled, how)
	r.Refused = r.Refused || refused
}

// Draw makes a request for op: right as far as the document tells, then
// spoiled in none, one or a few ways.
func Draw(t *rapid.T, op Operation, known Known) *Request {
	r := &Request{Op: op, Header: http.Header{}}
	r.path(t, known)
	r.query(t)
	if op.RequestBody != nil {
		r.body(t, op.RequestBody.Value)
	} else if chance(t, "an undocumented body", 20) {
		r.Body = []byte(`{"x":1}`)
		r.spoil("an undocumented body", false)
	}
	r.headers(t, known)
	return r
}

// chance is true once in n times.
func chance(t *rapid.T, label string, n int) bool {
	return rapid.IntRange(0, n-1).Draw(t, label) == n-1 // shrinks to false
}

func (r *Request) path(t *rapid.T, known Known) {
	path := r.Op.Path
	about := rapid.SampledFrom(known.Path).Draw(t, "about")
	for _, p := range r.Op.params {
		if p.In != "path" {
			continue
		}
		text, there := about[p.Name]
		switch {
		case chance(t, p.Name+" strange", 12):
			text = rapid.SampledFrom([]string{
				"x", uuid.Nil.String(), strings.ToUpper(text), text + "0", "%", "%2e", "a/b", "é", "\u202e", "'", "0", "-1", strings.Repeat("9", 300),
				"urn:uuid:" + text, "{" + text + "}", "\x00", "\xff", " ",
			}).Draw(t, p.Name)
			r.spoil("path "+p.Name, false)
		case chance(t, p.Name+" unknown", 12):
			text = uuid.NewString()
			r.spoil("unknown "+p.Name, false)
		case !there:
			text = strings.Trim(draw(t, p.Name, p.Schema.Value, 0).text, `"`)
		}
		path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(text))
	}
	r.URL = path
}

func (r *Request) query(t *rapid.T) {
	var pairs []string
	add := func(name, text string) { pairs = append(pairs, url.QueryEscape(name)+"="+url.QueryEscape(text)) }
	for _, p := range r.Op.params {
		if p.In != "query" || (!p.Required && !chance(t, p.Name+" there", 4)) {
			continue
		}
		text := strings.Trim(draw(t, p.Name, p.Schema.Value, 0).text, `"`)
		if chance(t, p.Name+" wrong", 3) {
			text = rapid.SampledFrom([]string{"", "maybe", "-1", "0", "99999999999999999999", "1.5", "null", "\x00", "é", "TRUE", "2026-13-45T99:00:00Z"}).Draw(t, p.Name)
			r.spoil("parameter "+p.Name, false)
		}
		add(p.Name, text)
		if chance(t, p.Name+" twice", 10) {
			add(p.Name, text)
			r.spoil("parameter twice", true)
		}
	}
	if chance(t, "unknown parameter", 15) {
		add(rapid.SampledFrom([]string{"x", "DRY_RUN", "id", "", "e-mail"}).Draw(t, "parameter"), "1")
		r.spoil("unknown parameter", true)
	}
	if len(pairs) > 0 {
		r.URL += "?" + strings.Join(pairs, "&")
	}
}

func (r *Request) body(t *rapid.T, body *openapi3.RequestBody) {
	var medias []string
	for media := range body.Content {
		medias = append(medias, media)
	}
	slices.Sort(medias)
	media := rapid.SampledFrom(medias).Draw(t, "media type")
	r.Header.Set("Content-Type", media)
	kind := body.Content[media]
	switch {
	case media == "application/x-ndjson":
		r.Lines = rapid.IntRange(1, 4).Draw(t, "lines")
		var lines [][]byte
		for range r.Lines {
			line, _ := r.document(t, kind)
			lines = append(lines, line)
		}
		r.Body = bytes.Join(lines, []byte("\n"))
		if chance(t, "a last line feed", 2) {
			r.Body = append(r.Body, '\n')
		}
	case !body.Required && chance(t, "no body", 3):
		r.Header.Del("Content-Type")
	default:
		var fatal bool
		r.Body, fatal = r.document(t, kind)
		r.Refused = r.Refused || fatal
	}
	if chance(t, "another media type", 25) {
		wrong := rapid.SampledFrom([]string{"text/plain", "application/xml", "", "application/json; charset=utf-16", "json", "application/jsonx", "multipart/form-data"}).Draw(t, "wrong media type")
		r.Header["Content-Type"] = []string{wrong}
		if len(r.Body) > 0 {
			r.spoil("media type", wrong != "")
		}
	}
	if len(r.Body) > 0 && chance(t, "a content coding", 40) {
		r.Header.Set("Content-Encoding", "gzip")
		r.spoil("content coding", true)
	}
}

// document is one JSON document, and whether it may not be taken. It begins as
// one of the examples, if there are any, or as whatever the schema allows.
func (r *Request) document(t *rapid.T, kind *openapi3.MediaType) (text []byte, fatal bool) {
	schema := kind.Schema.Value
	var v *value
	if examples := examplesOf(kind); len(examples) > 0 && rapid.Bool().Draw(t, "example") {
		v = anew(rapid.SampledFrom(examples).Draw(t, "which"))
	} else {
		v = draw(t, "body", schema, 0)
	}
	var raw []func([]byte) []byte
	for range rapid.SampledFrom([]int{0, 0, 1, 1, 1, 2, 3}).Draw(t, "mutations") {
		m := rapid.SampledFrom(mutations).Draw(t, "mutation")
		if m.bytes != nil {
			raw = append(raw, func(b []byte) []byte { return m.bytes(t, b) })
		} else if !m.value(t, v) {
			continue
		}
		r.Spoiled = append(r.Spoiled, m.name)
		if fatal = m.fatal; fatal {
			break // another one could take it back
		}
	}
	text = v.bytes()
	if !fatal {
		fatal = refusedBy(schema, text)
	}
	for _, f := range raw {
		text = f(text)
	}
	return text, fatal
}

func examplesOf(kind *openapi3.MediaType) (all []any) {
	if kind.Example != nil {
		all = append(all, kind.Example)
	}
	for _, name := range slices.Sorted(maps.Keys(kind.Examples)) {
		all = append(all, kind.Examples[name].Value.Value)
	}
	return all
}

// anew is an example with e-mail addresses that nobody has yet.
func anew(example any) *value {
	v := from(example)
	for _, one := range v.all() {
		if one.kind == 's' && strings.Contains(one.text, "@") {
			*one = *scalar(uuid.NewString() + "@example.com")
		}
	}
	return v
}

// refusedBy tells whether schema refuses text for certain. What the service
// normalizes before it looks (composition, surrounding blanks) a schema cannot
// judge, so limits count for plain texts only.
func refusedBy(schema *openapi3.Schema, text []byte) bool {
	errs, err := violations(schema, text)
	if err != nil {
		return true // a number beyond all numbers, say
	}
	for _, e := range errs {
		switch e.SchemaField {
		case "type", "required", "properties", "additionalProperties", "maxItems", "minItems", "enum":
			return true
		case "maxLength", "minLength", "pattern":
			s, ok := e.Value.(string)
			if ok && s == strings.TrimSpace(s) && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
				return true
			}
		}
	}
	return false
}

func (r *Request) headers(t *rapid.T, known Known) {
	for _, p := range r.Op.params {
		if p.In != "header" || !chance(t, p.Name+" there", 4) {
			continue
		}
		right, wrong := headerValues(p.Name, known)
		if len(right) == 0 {
			right = []string{strings.Trim(draw(t, p.Name, p.Schema.Value, 0).text, `"`)}
		}
		text := rapid.SampledFrom(right).Draw(t, p.Name)
		if chance(t, p.Name+" wrong", 3) {
			text = rapid.SampledFrom(append(wrong, "", " ", "é", "\xff", strings.Repeat("x", 2000), `"`, ",", `"a""b"`)).Draw(t, p.Name)
			r.spoil("header "+p.Name, false)
		}
		r.Header.Add(p.Name, text)
		if chance(t, p.Name+" twice", 12) {
			r.Header.Add(p.Name, text)
			r.spoil("header twice", false)
		}
	}
	if chance(t, "accept", 8) {
		r.Header.Set("Accept", rapid.SampledFrom([]string{
			"*/*", "application/*", "application/json;q=0.5, */*;q=0.1", "text/html", "application/json;q=0", "garbage", "", "application/problem+json", ";;;,",
		}).Draw(t, "Accept"))
	}
}

// headerValues are right and wrong values of header fields that have a grammar
// of their own; others are drawn by their schema.
func headerValues(name string, known Known) (right, wrong []string) {
	token := func(i int) string { return known.Tokens[i%len(known.Tokens)] }
	switch http.CanonicalHeaderKey(name) {
	case "If-Match", "If-None-Match":
		return []string{`"1"`, "*", `"1", "2"`, `"999999"`, `W/"1"`}, []string{"1", `"1`, `"x"`, `W/`, `"-1"`, `"1" "2"`, `*, "1"`, `"99999999999999999999"`}
	case "Idempotency-Key":
		return []string{uuid.NewString(), `"` + uuid.NewString() + `"`, "the same"}, []string{strings.Repeat("k", 256), `"k`, `""`, "k\tk"}
	case "Prefer":
		return []string{"return=minimal", "return=representation", "wait=0", "wait=1, return=minimal", "respond-async"},
			[]string{"wait", "wait=-1", "wait=x", "wait=99999999999999999999", "=", "return=nothing"}
	case "Consistency-Token":
		return []string{token(0), token(1), token(0) + ", " + token(1)},
			[]string{"x", token(0)[1:], token(0) + "A", strings.TrimSuffix(strings.Repeat(token(0)+",", 9), ","), "===="}
	case "Traceparent":
		return []string{"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, []string{"00-00000000000000000000000000000000-00f067aa0ba902b7-01", "ff-x"}
	default:
		return nil, []string{"\x7fx"}
	}
}

package httpapi

import (
	"fmt"
	"mime"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/api"
)

// route is what an operation takes, as far as that can be refused before the
// body is read. TestGuardsFollowTheContract holds it to openapi.yaml.
type route struct {
	offers string   // the media type of its answer; empty when it has no body
	bodies []string // the media types it takes
	params []string // the query parameters it takes
	once   []string // the headers that it takes at most once
	lists  []string // the headers that are lists, however many lines they come in
}

const (
	mediaJSON       = "application/json"
	mediaMergePatch = "application/merge-patch+json"
	mediaProblem    = "application/problem+json"
)

// guard refuses what an operation does not take, and brings the headers it
// takes into the one form that generated code reads.
func (rt route) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		for _, name := range c.ParamNames() {
			if name == "id" {
				if _, err := parseID(c.Param(name)); err != nil {
					return err
				}
			}
		}
		if err := rt.checkQuery(r.URL.RawQuery); err != nil {
			return err
		}
		if !rt.acceptable(r.Header.Values("Accept")) {
			return refuse(api.NotAcceptable, "")
		}
		if err := rt.checkHeaders(r.Header); err != nil {
			return err
		}
		if len(rt.bodies) > 0 {
			if err := rt.checkMedia(c); err != nil {
				return err
			}
		}
		return next(c)
	}
}

func (rt route) checkQuery(raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return refuse(api.InvalidParameter, "The query string is malformed. Percent-encode what is not a letter or digit.")
	}
	for name, given := range values {
		switch {
		case !slices.Contains(rt.params, name) && len(rt.params) == 0:
			return refuse(api.InvalidParameter, "This route takes no query parameters.")
		case !slices.Contains(rt.params, name):
			return refuse(api.InvalidParameter, "A query parameter is not known here. This route takes "+strings.Join(rt.params, ", ")+".")
		case len(given) > 1:
			return refuse(api.InvalidParameter, "The query parameter "+name+" is there more than once. Send it once.")
		case name == "dry_run" && given[0] != "true" && given[0] != "false":
			return refuse(api.InvalidParameter, "The query parameter dry_run is true or false.")
		}
	}
	return nil
}

func (rt route) checkHeaders(h http.Header) error {
	for _, name := range rt.once {
		if len(h.Values(name)) > 1 {
			return repeated(name)
		}
	}
	for _, name := range rt.lists {
		// RFC 9110 §5.2: lines of one field are one list.
		if lines := h.Values(name); len(lines) > 1 {
			h.Set(name, strings.Join(lines, ", "))
		}
	}
	if id := h.Get(headerCorrelation); len(h.Values(headerCorrelation)) > 0 && !validCorrelation(id) {
		return refuse(api.InvalidParameter, headerCorrelation+" has 1 to 128 characters of A-Z a-z 0-9 . _ ~ : / + = -")
	}
	// Read by the edge; to what is malformed the answer is a fresh trace.
	h.Del("Traceparent")
	return nil
}

func repeated(name string) error {
	if name == headerIdempotencyKey {
		return refuse(api.InvalidIdempotencyKey, "")
	}
	return refuse(api.InvalidParameter, fmt.Sprintf("The header %s is there more than once. Send it once.", name))
}

func (rt route) checkMedia(c echo.Context) error {
	h := c.Request().Header
	unsupported := func() error {
		if slices.Contains(rt.bodies, mediaMergePatch) {
			c.Response().Header().Set("Accept-Patch", strings.Join(rt.bodies, ", "))
		}
		return refuse(api.UnsupportedMediaType, "Send the body as "+strings.Join(rt.bodies, " or ")+", in UTF-8 and without Content-Encoding.")
	}
	for _, coding := range h.Values("Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(coding), "identity") {
			return unsupported()
		}
	}
	if len(h.Values("Content-Type")) != 1 {
		return unsupported()
	}
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || !slices.Contains(rt.bodies, media) {
		return unsupported()
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return unsupported()
	}
	h.Set("Content-Type", media) // generated code compares it as text
	return nil
}

// acceptable tells whether Accept admits the answer. A route whose success has
// no body only ever has a problem to offer, and JSON is near enough for that.
func (rt route) acceptable(accept []string) bool {
	if rt.offers != "" {
		return accepts(accept, rt.offers)
	}
	return accepts(accept, mediaProblem) || accepts(accept, mediaJSON)
}

// accepts is RFC 9110 §12.5.1 for one media type: the most specific range that
// covers it decides, and a quality of 0 excludes it.
func accepts(lines []string, offer string) bool {
	kind, _, _ := strings.Cut(offer, "/")
	best, quality, any := -1, "", false
	for item := range splitOutsideQuotes(strings.Join(lines, ","), ',') {
		item = textproto.TrimString(item)
		if item == "" {
			continue
		}
		any = true
		media, params, err := mime.ParseMediaType(item)
		if err != nil {
			continue // admits nothing
		}
		rank := slices.Index([]string{"*/*", kind + "/*", offer}, media)
		if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
			continue
		}
		if rank > best {
			best, quality = rank, params["q"]
		}
	}
	return !any || best >= 0 && strings.Trim(quality, "0.") != "" || best >= 0 && quality == ""
}

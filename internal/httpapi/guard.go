package httpapi

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/api"
)

// Route is what an operation takes, as far as that can be refused before the
// body is read. TestGuardsFollowTheContract holds it to openapi.yaml.
type Route struct {
	Offers []string // the media types of its answer, the one it likes best first; none when it has no body
	Bodies []string // the media types it takes
	Params []string // the query parameters it takes
	Once   []string // the headers that it takes at most once
	Lists  []string // the headers that are lists, however many lines they come in
}

// The media types of the contract.
const (
	MediaJSON       = "application/json"
	MediaMergePatch = "application/merge-patch+json"
	MediaNDJSON     = "application/x-ndjson"
	MediaCSV        = "text/csv"
	MediaEvents     = "text/event-stream"
	MediaProblem    = "application/problem+json"
)

// guard refuses what an operation does not take, and brings the headers it
// takes into the one form that generated code reads.
func (rt Route) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if err := checkPath(c); err != nil {
			return err
		}
		if err := rt.checkQuery(r.URL.RawQuery); err != nil {
			return err
		}
		media, ok := rt.negotiate(r.Header.Values("Accept"))
		if !ok {
			return Refuse(api.NotAcceptable, "")
		}
		if len(rt.Offers) > 1 {
			c.SetRequest(r.WithContext(context.WithValue(r.Context(), mediaKey, media)))
			c.Response().Header().Add("Vary", "Accept")
		}
		if err := rt.checkHeaders(r.Header); err != nil {
			return err
		}
		if len(rt.Bodies) > 0 {
			if err := rt.checkMedia(c); err != nil {
				return err
			}
		}
		return next(c)
	}
}

// pathParam is a name in the path as it is meant.
func pathParam(c echo.Context, name string) (string, error) {
	if c.Request().URL.RawPath == "" {
		return c.Param(name), nil
	}
	return url.PathUnescape(c.Param(name)) // Echo has left it as it came
}

// checkPath refuses names in the path that can name nothing, before the body is
// looked at.
func checkPath(c echo.Context) error {
	for _, name := range c.ParamNames() {
		text, err := pathParam(c, name)
		if err != nil {
			return Refuse(api.InvalidParameter, "The path is malformed. Percent-encode what is not a letter or digit.")
		}
		switch name {
		case "id":
			_, err = ParseID(text)
		case "address_id":
			_, err = ParseAddressID(text)
		case "tag":
			_, err = ParseTag(text)
		case "channel":
			_, err = ParseChannel(text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (rt Route) checkQuery(raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return Refuse(api.InvalidParameter, "The query string is malformed. Percent-encode what is not a letter or digit.")
	}
	for name, given := range values {
		switch {
		case !slices.Contains(rt.Params, name) && len(rt.Params) == 0:
			return Refuse(api.InvalidParameter, "This route takes no query parameters.")
		case !slices.Contains(rt.Params, name):
			return Refuse(api.InvalidParameter, "A query parameter is not known here. This route takes "+strings.Join(rt.Params, ", ")+".")
		case len(given) > 1:
			return Refuse(api.InvalidParameter, "The query parameter "+name+" is there more than once. Send it once.")
		case name == "dry_run" && given[0] != "true" && given[0] != "false":
			return Refuse(api.InvalidParameter, "The query parameter dry_run is true or false.")
		}
	}
	return nil
}

func (rt Route) checkHeaders(h http.Header) error {
	for _, name := range rt.Once {
		if len(h.Values(name)) > 1 {
			return repeated(name)
		}
	}
	for _, name := range rt.Lists {
		// RFC 9110 §5.2: lines of one field are one list.
		if lines := h.Values(name); len(lines) > 1 {
			h.Set(name, strings.Join(lines, ", "))
		}
	}
	if id := h.Get(HeaderCorrelation); len(h.Values(HeaderCorrelation)) > 0 && !validCorrelation(id) {
		return Refuse(api.InvalidParameter, HeaderCorrelation+" has 1 to 128 characters of A-Z a-z 0-9 . _ ~ : / + = -")
	}
	// Read by the edge; to what is malformed the answer is a fresh trace.
	h.Del("Traceparent")
	return nil
}

func repeated(name string) error {
	if name == HeaderIdempotencyKey {
		return Refuse(api.InvalidIdempotencyKey, "")
	}
	return Refuse(api.InvalidParameter, fmt.Sprintf("The header %s is there more than once. Send it once.", name))
}

func (rt Route) checkMedia(c echo.Context) error {
	h := c.Request().Header
	unsupported := func() error {
		if slices.Contains(rt.Bodies, MediaMergePatch) {
			c.Response().Header().Set("Accept-Patch", strings.Join(rt.Bodies, ", "))
		}
		return Refuse(api.UnsupportedMediaType, "Send the body as "+strings.Join(rt.Bodies, " or ")+", in UTF-8 and without Content-Encoding.")
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
	if err != nil || !slices.Contains(rt.Bodies, media) {
		return unsupported()
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return unsupported()
	}
	h.Set("Content-Type", media) // generated code compares it as text
	return nil
}

// negotiate picks what Accept likes best of what the route offers; of what it
// likes the same, the first. A route whose success has no body only ever has a
// problem to offer, and JSON is near enough for that.
func (rt Route) negotiate(accept []string) (media string, ok bool) {
	offers := rt.Offers
	if len(offers) == 0 {
		offers = []string{MediaProblem, MediaJSON}
	}
	best := 0.0
	for _, offer := range offers {
		if q := quality(accept, offer); q > best {
			media, best = offer, q
		}
	}
	return media, best > 0
}

// MediaOf is the media type that the answer is to have, of a route that offers
// more than one.
func MediaOf(ctx context.Context) string {
	media, _ := ctx.Value(mediaKey).(string)
	return media
}

// quality is RFC 9110 §12.5.1 for one media type: the most specific range that
// covers it decides, and a quality of 0 excludes it.
func quality(lines []string, offer string) float64 {
	kind, _, _ := strings.Cut(offer, "/")
	best, q, any := -1, 0.0, false
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
			best, q = rank, weight(params)
		}
	}
	if !any {
		return 1
	}
	return q
}

// weight is the parameter q of a media range; one that cannot be read counts
// as absent.
func weight(params map[string]string) float64 {
	text, ok := params["q"]
	if !ok {
		return 1
	}
	q, err := strconv.ParseFloat(text, 64)
	if err != nil || !(q >= 0 && q <= 1) {
		return 1
	}
	return q
}

package httpapi

import (
	"io/fs"
	"mime"
	"net/http"
	"path"

	"github.com/labstack/echo/v4"

	"github.com/ebrahem-outlook/customer-service/api"
)

// docsPolicy lets the documentation page load its own files, from here alone.
// The style attributes that its code sets need unsafe-inline for styles; scripts
// never are inline.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// addDocs serves the contract as JSON and as a page that needs no network, and
// that of messages as JSON.
func addDocs(e *echo.Echo) error {
	document, err := api.JSON()
	if err != nil {
		return err
	}
	messages, err := api.AsyncJSON()
	if err != nil {
		return err
	}
	files, err := api.DocsUI()
	if err != nil {
		return err
	}
	plain := Route{Offers: []string{MediaJSON}}
	addRead(e, "/openapi.json", func(c echo.Context) error { return c.Blob(http.StatusOK, MediaJSON, document) }, plain.guard)
	addRead(e, "/asyncapi.json", func(c echo.Context) error { return c.Blob(http.StatusOK, MediaJSON, messages) }, plain.guard)
	page := Route{Offers: []string{"text/html"}}
	addRead(e, "/docs", serveFile(files, "index.html"), page.guard)
	for _, name := range []string{"init.js", "swagger-ui-bundle.js", "swagger-ui.css"} {
		offers, _, _ := mime.ParseMediaType(mime.TypeByExtension(path.Ext(name)))
		addRead(e, "/docs/"+name, serveFile(files, name), Route{Offers: []string{offers}}.guard)
	}
	return nil
}

// serveFile answers one of the page's files. They change with the binary only,
// but under the same name, so they are asked for again and not kept.
func serveFile(files fs.FS, name string) echo.HandlerFunc {
	return func(c echo.Context) error {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		c.Response().Header().Set("Content-Security-Policy", docsPolicy)
		return c.Blob(http.StatusOK, mime.TypeByExtension(path.Ext(name)), content)
	}
}

// addRead adds a route for GET and for HEAD.
func addRead(e *echo.Echo, path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) {
	e.GET(path, h, m...)
	e.HEAD(path, h, m...)
}

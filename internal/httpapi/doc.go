// Package httpapi is what every process serves over HTTP alike: limits, traces,
// problems, health and the contract itself. commandapi and queryapi below it
// serve the routes of api/openapi.yaml.
//
// It translates and decides nothing: requests into commands and reads, results
// and errors into answers. Every rule about a value is the domain's, every rule
// about a state the command service's. It must not know how anything is stored.
//
// A request passes, in this order: the connection's framing (framing.go), the
// edge (edge.go: trace, access log, panics, headers, load, who asks), the
// route's guard (guard.go: everything that can be refused without reading the
// body), the binder (body.go: the body's shape and values), the handler. What
// any of them returns as an error becomes a problem in errors.go.
package httpapi

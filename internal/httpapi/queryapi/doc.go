// Package queryapi is generated from the queries of api/openapi.yaml: parameter
// types, routes and the interface the query API implements.
package queryapi

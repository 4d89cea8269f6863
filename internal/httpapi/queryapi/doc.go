// Package queryapi serves the queries of api/openapi.yaml. Its routes, types and
// interface are generated; the rest translates between them and internal/query.
// It must not know of the write side.
package queryapi

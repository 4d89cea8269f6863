// Package commandapi serves the commands of api/openapi.yaml. Its routes, types
// and interface are generated; the rest translates between them and
// internal/command.
package commandapi

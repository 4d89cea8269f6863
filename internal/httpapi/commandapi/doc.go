// Package commandapi is generated from the commands of api/openapi.yaml: request
// types, routes and the interface the command API implements.
package commandapi

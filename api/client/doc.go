// Package client calls the service over HTTP. The operations are generated from
// api/openapi.yaml; Customers puts the two APIs together so that its user need
// not think about what lies between them: it reads what it wrote, and a command
// that met a lost connection, a restart or an overload is repeated and still
// takes effect once.
package client

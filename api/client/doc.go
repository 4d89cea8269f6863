// Package client calls the service over HTTP. The operations are generated from
// api/openapi.yaml; Customers puts the two APIs together and carries consistency
// tokens, so that its user reads what it wrote. Retries are left to the caller.
package client

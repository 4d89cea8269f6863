// Package devstack runs a private PostgreSQL, RabbitMQ and Redis as child
// processes of its caller, for `make run`, for tests and for fault injection.
//
// A stack lives in one directory and listens on free loopback ports, so that
// any number of them run side by side on one machine, and none of them touches
// a system-wide instance. The processes belong to the caller: they end with
// [Stack.Stop], and a guard process ends them when the caller is killed.
//
// The package knows the three services and nothing of the product: no schema,
// no exchange, no key. It is for development; it listens on loopback only and
// asks nobody for a password.
package devstack

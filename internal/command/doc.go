// Package command is the write side's application: it loads a customer, lets
// the domain decide, and has the decision committed to the event log together
// with its claims and its idempotency record. service.go lists the commands.
//
// Commands on one customer are linearizable, across replicas too: what is
// written is decided by the log's compare-and-set, and what is answered
// without writing (a refusal, "nothing to change", a dry run) is decided on a
// state read from the log after the request arrived, never on a cached one.
//
// The package knows the domain and the log's ports. It must not know of HTTP
// or SQL.
package command

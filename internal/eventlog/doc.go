// Package eventlog says what the log of events is: how an event is sealed and
// stored, where it stands in the global order, and what an append promises.
//
// The log is the only source of truth. Everything else (queues, read models,
// caches) is derived from it and may be thrown away. The package declares the
// ports; internal/postgres implements them, and the conformance suite in
// eventlogtest holds every implementation to their comments. It must not know
// of SQL, brokers or HTTP.
package eventlog

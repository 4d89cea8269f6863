// Package simulation holds no code, only a test: the relays, the projectors and
// the query service as they are, over a log, a broker, a read model and a cache
// that live in memory and fail in every way the real ones can.
//
// Every call of the product to one of them stops until a scheduler lets it go
// on. The scheduler has a seed and nothing else to decide by, so that a seed is
// one order of everything: which transaction draws its ids first and which ends
// first, which message comes twice or never, which process dies between which
// two calls, and how much later the next one begins. After the faults end
// everything has to come to rest, and what is then in the read model, in the
// event feed, at another service and in the cache is held to the log.
//
// What is modelled and not run is what is not written in Go or needs a socket:
// the sequencer and the append of migrations/eventlog (log_test.go and
// sequencer_test.go follow them statement by statement), the transactions of the
// read model, RabbitMQ, and the scripts of the cache. Nor are the loops run that
// rest for random times: the scheduler calls what they call. Rebuilds, lists,
// search and the history's reads are left to their own tests.
package simulation

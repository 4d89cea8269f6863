// Package query answers questions about customers from the read model: the
// contract's document, how fresh it is, and waiting until it is fresh enough.
//
// It declares what it needs of a store and of a cache and lets adapters
// implement it. It must not know of the event log's storage, SQL, Redis or HTTP.
package query

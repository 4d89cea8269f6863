// Package relay turns committed events into the global order and carries them
// to the broker. One process at a time does so, under a lease; every write it
// makes carries the lease's epoch and is refused once another has taken over.
//
// The log is the truth and the broker a fast path: whatever happens here, no
// position is lost, repeated or changed, and a message that never arrives costs
// its reader only time. The package knows no SQL and no AMQP; internal/postgres
// implements its ports, and messages leave through Watermill's Publisher.
package relay

// Package customer is the domain: what a customer is, which events can happen
// to one and which commands its state allows.
//
// It knows nothing of storage, transport, encryption or clocks. Time and ids
// are arguments. A command is a pure decision, (State, args, now) →
// ([]Event, error); a state is the fold of its events by the total function
// State.Evolve. Besides the standard library it imports only pure grammar
// libraries (Unicode normalisation, IDNA, BCP 47, phone numbers, UUIDs), so
// that each rule about a value lives in exactly one place, its Parse function.
package customer

// Package projection keeps the read model equal to the fold of the log.
//
// Messages of the feed are hints: they bring events early, and whatever they
// lose, double or reorder is healed from the log. A lane's checkpoint, locked
// in the transaction that applies, is the only thing correctness rests on; any
// number of projectors may run at once. The cache is written after that
// transaction and repaired from the read model.
//
// The package must not know of SQL, Redis or the broker's client.
package projection

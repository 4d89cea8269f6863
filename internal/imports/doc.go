// Package imports carries out files of customers: one register or upsert a
// line, by external id, else by e-mail address.
//
// Many lines are under way at once and their results come in the file's order.
// However long the file, memory is bounded: reading waits for results to be
// taken. Lines about the same customer take effect in the file's order.
//
// The package knows commands and nothing of how lines arrive or what a
// customer looks like on the wire: whoever calls it brings a Source and a
// Decode.
package imports

// Package erasures keeps erasures true beyond the log they are in. A backup
// holds the keys of customers erased after it was taken; the list of erasures,
// kept apart from the database, says which, and replaying it on a restored log
// destroys them again before anything is served from it.
//
// The list holds no personal data. The package knows neither files nor
// databases.
package erasures

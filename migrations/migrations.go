// Package migrations carries the SQL that makes and changes the two schemas,
// so that a binary brings its own. It knows only files; internal/postgres
// applies them.
//
// A migration that has landed is never edited, and each one runs while the
// previous release serves.
package migrations

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed */*.sql
var files embed.FS

// Set is one schema's migrations, numbered 00001 upwards.
type Set struct {
	Schema string
	FS     fs.FS
}

// EventLog makes the schema eventlog: the log, its claims and keys, the
// positions and the relays' checkpoints.
func EventLog() Set { return set("eventlog") }

// ReadModel makes the schema readmodel: everything derived from the log.
func ReadModel() Set { return set("readmodel") }

func set(schema string) Set {
	dir, err := fs.Sub(files, schema)
	if err != nil {
		panic(fmt.Sprintf("embedded migrations %q: %v", schema, err)) // the name is one of the two constants above
	}
	return Set{Schema: schema, FS: dir}
}

// Command command-api takes every change to customers: it validates, decides
// and appends to the event log, and carries what was appended to the broker.
package main

import (
	"os"

	"github.com/ebrahem-outlook/customer-service/internal/process"
)

func main() {
	var cli struct {
		Serve   serve      `cmd:"" help:"Serve commands until SIGTERM."`
		Migrate migrate    `cmd:"" help:"Bring the schema of the event log up to date."`
		Import  importFile `cmd:"" help:"Import a file of customers into the event log: one register or upsert a line."`
		Keys    struct {
			Init   keysInit   `cmd:"" help:"Make a keyring, unless there is one."`
			Add    keysAdd    `cmd:"" help:"Add a key-encryption key that is used once every process has it."`
			Rotate keysRotate `cmd:"" help:"Put every data key under a new key-encryption key, while the service runs."`
			Rewrap keysRewrap `cmd:"" help:"Put what is under older key-encryption keys under the primary one."`
			Status keysStatus `cmd:"" help:"Say which key-encryption key is used how often."`
			Retire keysRetire `cmd:"" help:"Drop older key-encryption keys that nothing uses."`
		} `cmd:"" help:"The keys that personal data is sealed with."`
		Erasures struct {
			Export erasuresExport `cmd:"" help:"Write the list of erasures, to be kept apart from the database."`
			Replay erasuresReplay `cmd:"" help:"Erase again whom a restored log has forgotten were erased. Run it before anything serves."`
		} `cmd:"" help:"Keep erasures true when a backup is restored."`
	}
	os.Exit(process.Main(&cli, "command-api", "Takes commands about customers and appends their events to the log.", os.Args[1:], os.Stderr))
}

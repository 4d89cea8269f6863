// Command command-api takes every change to customers: it validates, decides
// and appends to the event log, and carries what was appended to the broker.
package main

import (
	"os"

	"github.com/ebrahem-outlook/customer-service/internal/process"
)

func main() {
	var cli struct {
		Serve   serve   `cmd:"" help:"Serve commands until SIGTERM."`
		Migrate migrate `cmd:"" help:"Bring the schema of the event log up to date."`
		Keys    struct {
			Init keysInit `cmd:"" help:"Make a keyring, unless there is one."`
		} `cmd:"" help:"The keys that personal data is sealed with."`
	}
	os.Exit(process.Main(&cli, "command-api", "Takes commands about customers and appends their events to the log.", os.Args[1:], os.Stderr))
}

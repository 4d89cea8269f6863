// Command query-api answers every read about customers from the read model. It
// never touches the event log.
package main

import (
	"os"

	"github.com/ebrahem-outlook/customer-service/internal/process"
)

func main() {
	var cli struct {
		Serve serve `cmd:"" help:"Serve reads until SIGTERM."`
	}
	os.Exit(process.Main(&cli, "query-api", "Answers reads about customers.", os.Args[1:], os.Stderr))
}

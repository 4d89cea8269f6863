// Command projector turns the events of the log into read models.
package main

import (
	"os"

	"github.com/ebrahem-outlook/customer-service/internal/process"
)

func main() {
	var cli struct {
		Serve   serve   `cmd:"" help:"Project until SIGTERM."`
		Migrate migrate `cmd:"" help:"Bring the schema of the read models up to date."`
		Status  status  `cmd:"" help:"Say how far the read model is."`
		Rebuild rebuild `cmd:"" help:"Fill new tables from the event log while the present ones serve, and put them in their place."`
		Verify  verify  `cmd:"" help:"Compare every row of the read model with the fold of the log."`
		Parked  struct {
			List    parkedList    `cmd:"" help:"List the customers that are halted and why."`
			Retry   parkedRetry   `cmd:"" help:"Apply a halted customer's events again, or --all of them."`
			Release parkedRelease `cmd:"" help:"Apply a halted customer's events, passing over those that cannot be."`
		} `cmd:"" help:"Customers that are halted because an event could not be applied."`
	}
	os.Exit(process.Main(&cli, "projector", "Projects the events of the log into read models.", os.Args[1:], os.Stderr))
}

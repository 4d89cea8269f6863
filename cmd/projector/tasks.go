package main

import (
	"context"
	"encoding/json"
	"io"
	"os"

	"github.com/ebrahem-outlook/customer-service/internal/config"
)

// taskConns is how many connections a task takes from each database, verifyConns
// what each range of customers that is compared takes besides: one its events
// come from, another to look for their keys meanwhile.
const (
	taskConns   = 2
	verifyConns = 2
)

func withParts(ctx context.Context, c config.ProjectorTask, do func(*parts) error) error {
	return withPartsOf(ctx, c, taskConns, do)
}

func withPartsOf(ctx context.Context, c config.ProjectorTask, conns int, do func(*parts) error) error {
	p, err := newParts(ctx, c.EventLog, c.ReadModel, c.Keys, c.Cache, c.Lanes.Value, conns, c.Logger(os.Stderr, "projector"))
	if err != nil {
		return err
	}
	defer p.close()
	return do(p)
}

// printJSON writes one value for machines.
func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

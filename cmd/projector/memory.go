package main

import (
	"os"
	"runtime/debug"
)

// seldomLimit is how much memory a task comes to use before garbage is
// collected as often as it takes.
const seldomLimit = 1 << 30

// collectSeldom is for tasks that decode the whole log: what is alive meanwhile
// is some ten megabytes, and to collect garbage at twice that took a tenth of
// their time. What the operator set holds.
func collectSeldom() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(seldomLimit)
	}
}

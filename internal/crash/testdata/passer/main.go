// Command passer passes a point again and again for a moment, and says so.
package main

import (
	"os"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
)

func main() {
	defer func() { _, _ = os.Stdout.WriteString("deferred\n") }()
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		crash.Here(crash.FeedAfterConfirm)
	}
	_, _ = os.Stdout.WriteString("passed\n")
}

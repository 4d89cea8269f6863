package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// describe says how to reach what runs, and what to try.
func (p places) describe(s state) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.Processes)) {
		fmt.Fprintf(&b, "  %-22s %s\n", name, s.Processes[name])
	}
	b.WriteString("\n")
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		fmt.Fprintf(&b, "  %-22s %s\n", name, s.Services[name])
	}
	fmt.Fprintf(&b, "  %-22s %s\n", "logs", filepath.Dir(p.log("any")))
	b.WriteString("\nRegister a customer, then read it back at once with the token of the answer:\n\n")
	headers := filepath.Join(p.Local, "headers.txt")
	fmt.Fprintf(&b, `  curl -sS -D %[1]s %[2]s/v1/customers -H 'Content-Type: application/json' \
    -d '{"first_name":"Ada","last_name":"Lovelace","email":"ada-'$(date +%%s)'@example.com"}' -w '\n'
  curl -sS %[3]s$(sed -n 's/^[Ll]ocation: *//p' %[1]s | tr -d '\r') \
    -H "$(grep -i '^consistency-token:' %[1]s | tr -d '\r')" -w '\n'
`, headers, s.Processes[commandAPI.name+"-1"], s.Processes[queryAPI.name+"-1"])
	return b.String()
}

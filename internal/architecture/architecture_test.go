package architecture_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ebrahem-outlook/customer-service"

var (
	application = []string{"internal/command", "internal/relay", "internal/projection", "internal/query"}
	adapters    = []string{"internal/postgres", "internal/rabbit", "internal/rediscache", "internal/httpapi"}
)

// forbidden says what a package, with all below it, must not come to depend on,
// be it through others. A package that does not exist breaks no rule.
func forbidden() map[string][]string {
	rules := map[string][]string{
		"internal/customer":  slices.Concat([]string{"internal/eventlog", "internal/privacy"}, application, adapters),
		"internal/eventlog":  slices.Concat(application, adapters),
		"internal/privacy":   slices.Concat(application, adapters),
		"internal/crash":     {"internal"},
		"internal/lifecycle": {"internal"},
		"internal/devstack":  {"internal", "api", "migrations"},
		"api":                {"internal"},
		"migrations":         {"internal"},
	}
	for _, p := range application {
		rules[p] = adapters
	}
	for _, p := range adapters {
		rules[p] = slices.DeleteFunc(slices.Clone(adapters), func(other string) bool { return other == p })
	}
	return rules
}

// What the domain may import beside the standard library and itself.
var domainMayImport = []string{
	"github.com/google/uuid",
	"github.com/nyaruka/phonenumbers",
	"golang.org/x/net/idna",
	"golang.org/x/text",
}

func TestDependenciesPointInwards(t *testing.T) {
	t.Parallel()
	imports := importsOfModule(t)
	for from, banned := range forbidden() {
		for _, pkg := range slices.Sorted(maps.Keys(imports)) {
			if !within(pkg, module+"/"+from) {
				continue
			}
			for _, path := range reach(imports, pkg) {
				to := path[len(path)-1]
				for _, b := range banned {
					if within(to, module+"/"+b) && !within(to, module+"/"+from) {
						t.Errorf("%s must not depend on %s: %s", from, b, strings.Join(path, " → "))
					}
				}
			}
		}
	}
}

func TestDomainImportsNoTechnology(t *testing.T) {
	t.Parallel()
	allowed := append([]string{module + "/internal/customer"}, domainMayImport...)
	imports := importsOfModule(t)
	for _, pkg := range slices.Sorted(maps.Keys(imports)) {
		if !within(pkg, module+"/internal/customer") {
			continue
		}
		for _, to := range imports[pkg] {
			standard := !strings.Contains(strings.SplitN(to, "/", 2)[0], ".")
			if !standard && !slices.ContainsFunc(allowed, func(a string) bool { return within(to, a) }) {
				t.Errorf("%s imports %s: the domain takes the standard library and %v", pkg, to, domainMayImport)
			}
		}
	}
}

// The read side knows nothing of the write side's work. It may share an adapter
// with it, which links more than it calls.
func TestQueryAPIDoesNotWrite(t *testing.T) {
	t.Parallel()
	for _, to := range importsOfModule(t)[module+"/cmd/query-api"] {
		if within(to, module+"/internal/relay") || within(to, module+"/internal/command") {
			t.Errorf("the query API must not import %s", to)
		}
	}
}

// reach lists every package of the module that pkg depends on, as the chain of
// imports that leads there.
func reach(imports map[string][]string, pkg string) [][]string {
	var found [][]string
	seen := map[string]bool{pkg: true}
	queue := [][]string{{pkg}}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		for _, to := range imports[path[len(path)-1]] {
			if seen[to] || !within(to, module) {
				continue
			}
			seen[to] = true
			next := append(slices.Clone(path), to)
			found = append(found, next)
			queue = append(queue, next)
		}
	}
	return found
}

// importsOfModule is what each package of the module imports, tests aside.
func importsOfModule(t *testing.T) map[string][]string {
	t.Helper()
	// -e: a package that does not build is the compiler's business, not ours.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	imports := make(map[string][]string)
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		err := decoder.Decode(&pkg)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("read what go list says: %v", err)
		}
		imports[pkg.ImportPath] = pkg.Imports
	}
	if len(imports[module+"/internal/customer"]) == 0 {
		t.Fatal("go list does not know the domain: the test shows nothing")
	}
	return imports
}

func within(pkg, root string) bool {
	return pkg == root || strings.HasPrefix(pkg, root+"/")
}

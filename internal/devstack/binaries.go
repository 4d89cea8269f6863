package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// binaries are where a machine keeps the services' programs.
type binaries struct {
	postgres string // directory of initdb and postgres
	rabbitmq string // directory of the rabbitmq-server and rabbitmqctl scripts
	epmd     string
	redis    string
}

// The oldest versions that the product runs on.
var oldest = map[Kind]string{Postgres: "15", RabbitMQ: "3.10", Redis: "7"}

// title is what people call a service.
func (k Kind) title() string {
	return map[Kind]string{Postgres: "PostgreSQL", RabbitMQ: "RabbitMQ", Redis: "Redis"}[k]
}

// missingError says which services a machine lacks.
type missingError struct {
	kinds   []Kind
	reasons []error
}

func (e *missingError) Error() string {
	return errors.Join(e.reasons...).Error()
}

// find looks for the programs of the given services and checks their versions.
func find(ctx context.Context, kinds []Kind) (binaries, error) {
	var found binaries
	var missing missingError
	for _, kind := range kinds {
		var err error
		switch kind {
		case Postgres:
			found.postgres, err = newest(ctx, kind, postgresDirs(), "postgres", postgresVersion)
		case RabbitMQ:
			found.rabbitmq, err = newest(ctx, kind, rabbitmqDirs(), "rabbitmq-server", rabbitmqVersion)
			if err == nil {
				found.epmd, err = findEpmd()
			}
		case Redis:
			found.redis, err = newest(ctx, kind, executables(searchPath(), "redis-server"), "", redisVersion)
		default:
			return found, fmt.Errorf("there is no service %q", kind)
		}
		if err != nil {
			missing.kinds = append(missing.kinds, kind)
			missing.reasons = append(missing.reasons, err)
		}
	}
	if len(missing.kinds) > 0 {
		return found, &missing
	}
	return found, nil
}

// newest picks, among the places where a service may be, the one that holds
// program in the highest version.
func newest(ctx context.Context, kind Kind, places []string, program string, version func(context.Context, string) (string, error)) (string, error) {
	best, bestVersion := "", ""
	for _, place := range places {
		if info, err := os.Stat(filepath.Join(place, program)); err != nil || info.IsDir() {
			continue
		}
		v, err := version(ctx, place)
		if err != nil {
			continue
		}
		if best == "" || compareVersions(v, bestVersion) > 0 {
			best, bestVersion = place, v
		}
	}
	switch {
	case best == "":
		return "", fmt.Errorf("%s is not installed (version %s or later is needed)", kind.title(), oldest[kind])
	case compareVersions(bestVersion, oldest[kind]) < 0:
		return "", fmt.Errorf("%s %s in %s is too old: version %s or later is needed", kind.title(), bestVersion, best, oldest[kind])
	}
	return best, nil
}

// compareVersions compares dotted numbers; what follows them does not count.
func compareVersions(a, b string) int {
	return slices.Compare(numbers(a), numbers(b))
}

func numbers(version string) []int {
	var parts []int
	for part := range strings.SplitSeq(version, ".") {
		digits := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' })
		if digits < 0 {
			digits = len(part)
		}
		n, err := strconv.Atoi(part[:digits])
		if err != nil {
			break
		}
		parts = append(parts, n)
	}
	return parts
}

// searchPath is PATH and where else programs of servers are kept.
func searchPath() []string {
	return append(filepath.SplitList(os.Getenv("PATH")),
		"/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin",
		"/opt/homebrew/bin", "/opt/homebrew/sbin")
}

func executables(dirs []string, name string) []string {
	var found []string
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if _, err := exec.LookPath(path); err == nil && !slices.Contains(found, path) {
			found = append(found, path)
		}
	}
	return found
}

func postgresDirs() []string {
	dirs := globs("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin")
	return append(dirs, searchPath()...)
}

// rabbitmqDirs leaves Debian's /usr/sbin/rabbitmq-server out: that is a wrapper
// which insists on the system's own user and directories.
func rabbitmqDirs() []string {
	dirs := append(globs("/usr/lib/rabbitmq/bin", "/opt/homebrew/opt/rabbitmq/sbin", "/usr/local/opt/rabbitmq/sbin"), searchPath()...)
	return slices.DeleteFunc(dirs, func(dir string) bool { return dir == "/usr/sbin" || dir == "/sbin" })
}

func findEpmd() (string, error) {
	found := append(executables(searchPath(), "epmd"),
		globs("/usr/lib/erlang/erts-*/bin/epmd", "/opt/homebrew/opt/erlang/lib/erlang/erts-*/bin/epmd", "/usr/local/opt/erlang/lib/erlang/erts-*/bin/epmd")...)
	if len(found) == 0 {
		return "", errors.New("RabbitMQ needs Erlang's epmd, which is not installed")
	}
	return found[0], nil
}

func globs(patterns ...string) []string {
	var found []string
	for _, pattern := range patterns {
		if matches, err := filepath.Glob(pattern); err == nil {
			found = append(found, matches...)
		}
	}
	return found
}

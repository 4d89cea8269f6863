package audit

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// Baseline is what a cluster holds of the machine.
type Baseline struct {
	Processes map[string]Held
	Postgres  map[string]int // connections by login
	RabbitMQ  int            // connections
	Redis     int            // connections
}

// Held is what one process holds.
type Held struct {
	Files, Sockets, Threads int
	ResidentMiB             int64
}

// TakeBaseline measures a cluster.
func TakeBaseline(ctx context.Context, c *cluster.Cluster) (Baseline, error) {
	b := Baseline{Processes: map[string]Held{}, Postgres: map[string]int{}}
	for _, p := range c.Processes() {
		files, sockets := p.Files()
		b.Processes[p.Name] = Held{Files: files, Sockets: sockets, Threads: threads(p), ResidentMiB: p.ResidentMiB()}
	}
	rows, err := c.EventLog().Query(ctx, `
SELECT coalesce(usename, ''), count(*) FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND datname LIKE $1 || '%' AND usename <> current_user GROUP BY 1`, c.Prefix)
	if err != nil {
		return b, fmt.Errorf("count connections: %w", err)
	}
	for rows.Next() {
		var (
			login string
			n     int
		)
		if err := rows.Scan(&login, &n); err != nil {
			return b, err
		}
		b.Postgres[login] = n
	}
	if err := rows.Err(); err != nil {
		return b, fmt.Errorf("count connections: %w", err)
	}
	out, err := c.Stack.Rabbitmqctl(ctx, "list_connections", "--quiet", "--no-table-headers", "client_properties")
	if err != nil {
		return b, fmt.Errorf("count connections of RabbitMQ: %w", err)
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "customer-service") {
			b.RabbitMQ++
		}
	}
	options, err := redis.ParseURL(c.Stack.URLs().Redis)
	if err != nil {
		return b, err
	}
	client := redis.NewClient(options)
	defer client.Close()
	list, err := client.ClientList(ctx).Result()
	if err != nil {
		return b, fmt.Errorf("count connections of Redis: %w", err)
	}
	b.Redis = strings.Count(strings.TrimSpace(list), "\n") // less our own
	return b, nil
}

func threads(p *cluster.Process) int {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(p.Pid()) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Threads:"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(rest))
			return n
		}
	}
	return 0
}

// What may be more than before a run, and why.
const (
	// Pools begin small and keep what they opened: 16 connections by default to
	// each of PostgreSQL's two databases and to Redis, and a process has a handful
	// of them for other ends.
	spareConnections = 48
	// Those, and connections of clients that are kept alive for a while.
	spareFiles = 160
	// The runtime keeps threads that once waited in a system call.
	spareThreads = 40
	// What Go has not given back yet, caches that are bounded (64 MiB in a query
	// API, folded states in a command API), and batches of an import.
	residentMiB = 384
)

// checkHeld is P11 at rest: nothing grew without bound.
func checkHeld(before, after Baseline, peaks map[string]int64, limitMiB int64) Verdict {
	v := Verdict{Promise: "P11", Check: "memory, files, threads and connections are bounded and given back", Unit: "figures"}
	hold := func(what string, was, is, limit int64) {
		v.Checked++
		if is > limit {
			v.Violate("%s: %d, before the run %d, at most %d expected", what, is, was, limit)
		}
	}
	var highest int64
	for name, is := range after.Processes {
		was := before.Processes[name]
		hold("files of "+name, int64(was.Files), int64(is.Files), int64(was.Files+spareFiles))
		hold("threads of "+name, int64(was.Threads), int64(is.Threads), int64(was.Threads+spareThreads))
		hold("resident MiB of "+name, was.ResidentMiB, is.ResidentMiB, residentMiB)
		hold("peak resident MiB of "+name, was.ResidentMiB, peaks[name], limitMiB)
		highest = max(highest, peaks[name])
	}
	replicas := int64(len(after.Processes)+2) / 3
	for login, is := range after.Postgres {
		hold("PostgreSQL connections of "+login, int64(before.Postgres[login]), int64(is), int64(before.Postgres[login])+spareConnections*replicas)
	}
	// Each process has a fixed number of them.
	hold("RabbitMQ connections", int64(before.RabbitMQ), int64(after.RabbitMQ), int64(before.RabbitMQ)+2)
	hold("Redis connections", int64(before.Redis), int64(after.Redis), int64(before.Redis)+spareConnections*replicas)
	slices.Sort(v.Violations)
	v.Note = fmt.Sprintf("the largest process had %d MiB at its peak", highest)
	return v
}

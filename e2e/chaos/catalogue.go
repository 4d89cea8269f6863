package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

// Catalogue is every fault there is for a cluster: of its processes, of its
// services, and of its links if it has any.
func Catalogue(c *cluster.Cluster, links *Links) []Fault {
	all := slices.Concat(processFaults(c), leaderFaults(c), serviceFaults(c.Stack), postgresFaults(c), rabbitFaults(c), redisFaults(c))
	if links != nil {
		all = append(all, linkFaults(c, links)...)
	}
	return all
}

// Essential are kinds that a short run should not do without: they bring about
// what its honesty is measured by.
func Essential() []string {
	return []string{string(LostReplies), "two-leaders", "kill", "purge-queues"}
}

// group is the processes of one program.
type group []*cluster.Process

func groups(c *cluster.Cluster) []group { return []group{c.Commands, c.Projectors, c.Queries} }

func (g group) names() []string {
	names := make([]string, len(g))
	for i, p := range g {
		names[i] = p.Name
	}
	return names
}

func (g group) find(name string) *cluster.Process {
	for _, p := range g {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// uses are the services that each program connects to.
var uses = map[string][]devstack.Kind{
	"command-api": {devstack.Postgres, devstack.RabbitMQ},
	"projector":   {devstack.Postgres, devstack.RabbitMQ, devstack.Redis},
	"query-api":   {devstack.Postgres, devstack.Redis},
}

// linkFaults strike one link, all of a process, or all to a service.
func linkFaults(c *cluster.Cluster, links *Links) []Fault {
	type scope struct {
		process string
		service devstack.Kind
		touches []string
	}
	scopes := make(map[string]scope)
	var targets, processes []string
	add := func(name string, s scope) {
		scopes[name] = s
		targets = append(targets, name)
	}
	for _, p := range c.Processes() {
		all := []string{p.Name}
		for _, service := range uses[p.Program] {
			add(p.Name+"→"+string(service), scope{p.Name, service, []string{p.Name, string(service)}})
			all = append(all, string(service))
		}
		add(p.Name+"→all", scope{p.Name, "", all})
		processes = append(processes, p.Name)
	}
	for _, service := range []devstack.Kind{devstack.Postgres, devstack.RabbitMQ, devstack.Redis} {
		add("all→"+string(service), scope{"", service, append([]string{string(service)}, processes...)})
	}
	var faults []Fault
	fault := func(kind string, damage Damage, least time.Duration, targets []string) {
		faults = append(faults, Fault{
			Kind: kind, Targets: targets, Least: least,
			Touches: func(target string) []string { return scopes[target].touches },
			Inject: func(_ context.Context, in *Injection) error {
				s := scopes[in.Target]
				found := links.Find(s.process, s.service)
				if len(found) == 0 {
					return fmt.Errorf("there is no link %s: give the cluster the links' URLs", in.Target)
				}
				detail, mended, err := Break(in.ctx, found, damage, in.Rand)
				if err != nil {
					return err
				}
				in.Undo(func(context.Context) error { return mended() })
				if detail != "" {
					in.Say("%s", detail)
				}
				return nil
			},
		})
	}
	for _, damage := range Damages() {
		fault(string(damage), damage, 0, targets)
	}
	// Once more where a lost reply is that of a COMMIT, whose outcome is unknown.
	var commits []string
	for _, p := range c.Commands {
		commits = append(commits, p.Name+"→"+string(devstack.Postgres))
	}
	fault("lost-commits", LostReplies, 2*time.Second, commits)
	return faults
}

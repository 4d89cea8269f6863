package reliability

import (
	"math"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/report"
	"github.com/ebrahem-outlook/customer-service/e2e/workload"
)

// guards are the conditions without which a run proves nothing. What a fault
// brings about by chance is asked for in proportion: 50 times in 1,000 faults,
// and at least once.
func (r *run) guards(faults int) []report.Guard {
	c := &r.counts
	often := math.Max(1, math.Floor(0.05*float64(faults)))
	return []report.Guard{
		{Name: "throughput under faults, in percent of that without", Seen: throughput(r.load.Stats().Seconds), Least: 30, Why: "an idle service breaks no promise"},
		{Name: "faults", Seen: float64(faults), Least: float64(r.faults), Why: "all that were asked for have struck"},
		{Name: "commands acknowledged", Seen: float64(c.acknowledged), Least: 50 * float64(faults), Why: "there has to be something to lose"},
		{Name: "commands whose outcome the client never learned", Seen: float64(c.unknown), Least: often, Why: "all or nothing is interesting where nobody was told"},
		{Name: "commits found after their answer was lost", Seen: float64(c.ambiguous), Least: often, Why: "where a blind repetition would double"},
		{Name: "commands acknowledged after being sent again", Seen: float64(c.resent), Least: often, Why: "one effect and one answer under one key"},
		{Name: "commands refused for a stale version", Seen: float64(c.stale), Least: often, Why: "writers have to contend"},
		{Name: "answers 503", Seen: float64(c.shed), Least: often, Why: "refusing has to be safe"},
		{Name: "messages applied before", Seen: float64(c.before), Least: often, Why: "the broker has to deliver again"},
		{Name: "messages that came before earlier ones", Seen: float64(c.early), Least: often, Why: "the order of arrival must not matter"},
		{Name: "times something missing was read from the log", Seen: float64(c.healed), Least: often, Why: "messages have to be lost"},
		{Name: "changes of the relay's leader", Seen: float64(c.leaders - 1), Least: often, Why: "two may believe that they lead"},
		{Name: "repairs and new beginnings of the cache", Seen: float64(c.refills), Least: often, Why: "the cache has to lose what it had"},
	}
}

// throughput compares the seconds under faults with those before.
func throughput(seconds []workload.Second) float64 {
	mean := func(of []workload.Second) float64 {
		sum := int64(0)
		for _, s := range of {
			sum += s.Acknowledged + s.Reads
		}
		return float64(sum) / math.Max(1, float64(len(of)))
	}
	first := int(calm / time.Second)
	if len(seconds) <= first+1 {
		return 0
	}
	// The first seconds make customers and fill caches; the last one is no whole one.
	return 100 * mean(seconds[first:len(seconds)-1]) / math.Max(1, mean(seconds[2:first]))
}

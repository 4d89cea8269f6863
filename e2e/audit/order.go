package audit

import (
	"fmt"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// checkOrder is P5 within the log: versions and positions are dense, and along
// a customer both rise together.
func checkOrder(log *Log) Verdict {
	v := Verdict{Promise: "P5", Check: "versions and positions are dense and in one order", Unit: "events"}
	taken := make([]bool, log.Events+1)
	for _, s := range log.sorted() {
		var before eventlog.Position
		for i, e := range s.Versions {
			v.Checked++
			if int(e.Version) != i+1 {
				v.Violate("event %d of %s is version %d", i+1, s.ID, e.Version)
			}
			if i > 0 && !e.Event.OccurredAt().After(s.Versions[i-1].Event.OccurredAt()) {
				v.Violate("version %d of %s did not occur after the version before", e.Version, s.ID)
			}
			switch {
			case e.Position < 1 || int64(e.Position) > log.Events:
				v.Violate("version %d of %s has position %d of %d", e.Version, s.ID, e.Position, log.Events)
				continue
			case taken[e.Position]:
				v.Violate("position %d is given twice, once to version %d of %s", e.Position, e.Version, s.ID)
			case e.Position <= before:
				v.Violate("version %d of %s is at position %d, the version before at %d", e.Version, s.ID, e.Position, before)
			}
			taken[e.Position], before = true, e.Position
		}
	}
	return v
}

// seen is one event as it stood when it was first served: a hash over all that
// may never change of it.
type seen struct {
	position eventlog.Position
	hash     digest
}

// checkServed is P5 over time: what was served at its position once, is there
// still and the same, and nothing came to be below what was served. served and
// now are in order of position, now ends where served does.
func checkServed(served, now []seen, late []string) Verdict {
	v := Verdict{Promise: "P5", Check: "no event appeared below a position already served, none changed", Unit: "events as served"}
	v.Checked = int64(len(served))
	for _, text := range late {
		v.Violate("%s", text)
	}
	for i, s := range served {
		switch {
		case i >= len(now):
			v.Violate("the event served at position %d is gone", s.position)
		case now[i].position != s.position:
			v.Violate("position %d was served when position %d was not there", s.position, now[i].position)
			return v // all that follow are shifted
		case now[i].hash != s.hash:
			v.Violate("the event at position %d is not what was served", s.position)
		}
	}
	for i := len(served); i < len(now); i++ {
		v.Violate("position %d appeared after position %d had been served", now[i].position, served[len(served)-1].position)
	}
	v.Note = fmt.Sprintf("%d events now", len(now))
	return v
}

// checkChanged is P7 apart from the product's own fold: an event changes the
// fields that it names and no others.
func checkChanged(log *Log) Verdict {
	v := Verdict{Promise: "P7", Check: "every event changes what it says and nothing else", Unit: "events"}
	for _, s := range log.sorted() {
		if !s.Opened {
			continue
		}
		var before fieldHashes
		for _, e := range s.Versions {
			after := hashFields(e.State.Data())
			v.Checked++
			for i, name := range fieldNames {
				if before[i] != after[i] && !named(e.Changed, name) {
					v.Violate("version %d of %s (%s) changed %s and does not say so", e.Version, s.ID, e.Type, name)
				}
			}
			before = after
		}
	}
	return v
}

func named(changed []string, field string) bool {
	for _, c := range changed {
		if c == field {
			return true
		}
	}
	return false
}

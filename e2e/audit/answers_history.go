package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// told is an event as a page of a history tells it.
type told struct {
	Version       customer.Version `json:"version"`
	Type          string           `json:"type"`
	At            query.Time       `json:"at"`
	Actor         *string          `json:"actor"`
	CorrelationID *string          `json:"correlation_id"`
	Changes       []query.Change   `json:"changes"`
}

// checkHistories is P7 for histories: each event told is the log's, with what
// it changed. An event that reads the same as one already held is counted only.
func checkHistories(ops []history.Op, log *Log) Verdict {
	v := Verdict{Promise: "P7", Check: "every event told in a history is the log's, with the values it changed", Unit: "events told"}
	type key struct {
		id      customer.ID
		version customer.Version
		text    digest
	}
	held := map[key]bool{}
	pages := 0
	ends := map[int64]customer.Version{} // of walks over pages, by what they came to
	for i := range ops {
		op := &ops[i]
		if op.Kind != history.History || op.Outcome != history.OK || op.Status != 200 {
			continue
		}
		pages++
		id := idOf(op.Customer)
		var page struct {
			Data []json.RawMessage `json:"data"`
		}
		if json.Unmarshal(op.Answer, &page) != nil {
			v.Violate("%s: its answer cannot be read", tell(op))
			continue
		}
		before := ends[op.Walk]
		for n, raw := range page.Data {
			v.Checked++
			var t told
			if json.Unmarshal(raw, &t) != nil {
				v.Violate("%s: event %d of its answer cannot be read", tell(op), n+1)
				continue
			}
			if t.Version != before+1 {
				v.Violate("%s tells version %d after version %d", tell(op), t.Version, before)
			}
			before = t.Version
			k := key{id, t.Version, digestOf(raw)}
			if held[k] {
				continue
			}
			held[k] = true
			if wrong := t.wrong(log, id); wrong != "" {
				v.Violate("%s: version %d %s", tell(op), t.Version, wrong)
			}
		}
		if op.Walk != 0 {
			ends[op.Walk] = before
		}
	}
	v.Note = fmt.Sprintf("%d pages, %d different events", pages, len(held))
	return v
}

// wrong tells what of an event as told is not so, or "".
func (t *told) wrong(log *Log, id customer.ID) string {
	v := log.At(id, t.Version)
	switch {
	case v == nil:
		return "is not in the log"
	case v.Type != t.Type:
		return fmt.Sprintf("is %s in the log, not %s", v.Type, t.Type)
	}
	erased := log.Streams[id].erased() && t.Actor == nil && len(t.Changes) == 0
	if erased {
		return "" // its values are gone, or going
	}
	if v.State.Status() == customer.StatusErased {
		return "tells values of an erasure"
	}
	at, _ := query.Time(v.State.UpdatedAt()).MarshalText()
	have, _ := t.At.MarshalText()
	switch {
	case !bytes.Equal(at, have):
		return "has another time"
	case t.Actor == nil || *t.Actor != v.Metadata.Actor:
		return "has another actor"
	case (t.CorrelationID == nil) != (v.Metadata.CorrelationID == "") || t.CorrelationID != nil && *t.CorrelationID != v.Metadata.CorrelationID:
		return "has another correlation id"
	}
	if !log.Streams[id].Opened {
		return ""
	}
	return wrongChanges(t.Changes, fieldsOf(log, id, t.Version-1), fieldsOf(log, id, t.Version))
}

// fieldsOf is a document, field by field, with what is in collections as fields
// of their own, as histories name them.
func fieldsOf(log *Log, id customer.ID, version customer.Version) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	v := log.At(id, version)
	if v == nil {
		return out
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(documentOf(v.State), &fields) != nil {
		return out
	}
	for name, raw := range fields {
		switch name {
		case "id", "version", "created_at", "updated_at":
		case "metadata", "consents":
			var inner map[string]json.RawMessage
			_ = json.Unmarshal(raw, &inner) // Render made it
			for k, value := range inner {
				out[name+"."+k] = value
			}
		case "addresses":
			var inner []json.RawMessage
			_ = json.Unmarshal(raw, &inner)
			for _, one := range inner {
				var a struct{ ID string }
				_ = json.Unmarshal(one, &a)
				out[name+"."+a.ID] = one
			}
		default:
			out[name] = raw
		}
	}
	if s, ok := out["status"]; ok && string(s) == `""` {
		delete(out, "status")
	}
	return out
}

// wrongChanges holds what a history says changed to two documents.
func wrongChanges(changes []query.Change, before, after map[string]json.RawMessage) string {
	saying := map[string]bool{}
	for _, c := range changes {
		saying[c.Field] = true
		if c.Field == "reason" {
			continue // of what happened, and no part of the customer
		}
		if !equalValue(c.Field, c.Old, before[c.Field]) || !equalValue(c.Field, c.New, after[c.Field]) {
			return "tells other values of " + c.Field
		}
	}
	for name, value := range after {
		if !equalValue(name, value, before[name]) && !saying[name] {
			return "does not tell that " + name + " changed"
		}
	}
	for name := range before {
		if _, still := after[name]; !still && !saying[name] {
			return "does not tell that " + name + " went"
		}
	}
	return ""
}

// equalValue compares two values of a field; none is null, and of tags an empty
// list. Members of an object are in any order in a history.
func equalValue(name string, a, b json.RawMessage) bool {
	a, b = orNull(name, a), orNull(name, b)
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

func orNull(name string, raw json.RawMessage) json.RawMessage {
	if len(raw) > 0 && string(raw) != "null" {
		return raw
	}
	if name == "tags" || strings.HasPrefix(name, "tags.") {
		return json.RawMessage("[]")
	}
	return json.RawMessage("null")
}

package audit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// demanded is the version that an op's token asks of a customer; 0 for none.
func demanded(op *history.Op, id customer.ID) (v customer.Version) {
	for _, t := range tokensOf(op) {
		if t.CustomerID == id {
			v = max(v, t.Version)
		}
	}
	return v
}

func tokensOf(op *history.Op) (all []eventlog.Token) {
	for text := range strings.SplitSeq(op.Token, ",") {
		if t, err := eventlog.ParseToken(strings.TrimSpace(text)); err == nil {
			all = append(all, t)
		}
	}
	return all
}

// checkTokens is P7 for reads that carry tokens, and that every token given
// names what it was given for.
func checkTokens(ops []history.Op, log *Log) Verdict {
	v := Verdict{Promise: "P7", Check: "reads with a token see its version or a later one, or are refused", Unit: "reads with a token"}
	given, refused, gone := 0, 0, 0
	for i := range ops {
		op := &ops[i]
		id := idOf(op.Customer)
		if op.AnswerToken != "" && op.Outcome == history.OK && op.Version > 0 {
			given++
			t, err := eventlog.ParseToken(op.AnswerToken)
			if err != nil || t.CustomerID != id || t.Version != customer.Version(op.Version) {
				v.Violate("%s was answered version %d with a token of version %d of %s", tell(op), op.Version, t.Version, t.CustomerID)
			}
		}
		if op.Command() || op.DryRun || op.Token == "" {
			continue
		}
		v.Checked++
		if op.Code == "invalid-token" || len(tokensOf(op)) == 0 {
			v.Violate("%s: a token that was given before is refused as invalid", tell(op))
			continue
		}
		if op.Code == "read-model-behind" || op.Status == 503 {
			refused++
			continue
		}
		for _, t := range tokensOf(op) {
			if at := log.At(t.CustomerID, t.Version); at == nil {
				v.Violate("%s carries a token of version %d of %s, which the log does not have", tell(op), t.Version, t.CustomerID)
			}
		}
		want := demanded(op, id)
		switch {
		case op.Kind == history.List || op.Kind == history.Search:
			for _, item := range op.Items {
				if w := demanded(op, idOf(item.Customer)); customer.Version(item.Version) < w {
					v.Violate("%s shows %s at version %d, its token asks for %d", tell(op), item.Customer, item.Version, w)
				}
			}
		case op.Kind != history.Get || want == 0:
		case op.Status == 200 || op.Status == 304:
			if customer.Version(op.Version) < want {
				v.Violate("%s was answered version %d, its token asks for %d", tell(op), op.Version, want)
			}
		case op.Status == 410:
			gone++
			if !anyVersion(log.Streams[id], want, statusOf(op.Code)) {
				v.Violate("%s was answered %s, which the customer was not at version %d or later", tell(op), op.Code, want)
			}
		case op.Status == 404:
			v.Violate("%s was answered 404, its token asks for version %d", tell(op), want)
		}
	}
	v.Note = fmt.Sprintf("%d tokens were given; %d reads were refused as too early, %d answered 410", given, refused, gone)
	return v
}

func statusOf(code string) customer.Status {
	if code == "customer-erased" {
		return customer.StatusErased
	}
	return customer.StatusDeleted
}

// anyVersion tells whether a customer had a status at some version from one on.
func anyVersion(s *Stream, from customer.Version, status customer.Status) bool {
	if s == nil {
		return false
	}
	for i := max(int(from)-1, 0); i < len(s.Versions); i++ {
		if s.Versions[i].State.Status() == status {
			return true
		}
	}
	return false
}

// checkSessions is P7 for sessions: one that sends its tokens never goes back.
func checkSessions(ops []history.Op) Verdict {
	v := Verdict{Promise: "P7", Check: "a session with tokens never goes back", Unit: "reads"}
	type session struct{ client, session int }
	type ended struct {
		at      int64
		version int64
		op      *history.Op
	}
	bySession := map[session][]*history.Op{}
	for i := range ops {
		op := &ops[i]
		if op.Kind == history.Get && op.Outcome == history.OK && op.Token != "" && op.Version > 0 && op.Status < 400 {
			k := session{op.Client, op.Session}
			bySession[k] = append(bySession[k], op)
		}
	}
	for _, list := range bySession {
		slices.SortFunc(list, func(a, b *history.Op) int { return int(a.ID - b.ID) })
		newest := map[string]ended{}
		for _, op := range list {
			v.Checked++
			if last, ok := newest[op.Customer]; ok && last.at <= op.Call && op.Version < last.version {
				v.Violate("%s was answered version %d, after %s had been answered version %d in the same session", tell(op), op.Version, tell(last.op), last.version)
			}
			if last := newest[op.Customer]; op.Version >= last.version {
				newest[op.Customer] = ended{op.Return, op.Version, op}
			}
		}
	}
	v.Note = fmt.Sprintf("%d sessions", len(bySession))
	return v
}

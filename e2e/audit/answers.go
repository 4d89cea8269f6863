package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// checkAnswers is P7: every document answered is the fold of the customer's
// events up to the version it names, byte for byte.
func checkAnswers(ops []history.Op, log *Log) []Verdict {
	reads := Verdict{Promise: "P7", Check: "every document read is the fold of the log at the version it names", Unit: "documents"}
	answers := Verdict{Promise: "P7", Check: "every document a command answers is the fold of the log at its version", Unit: "documents"}
	pages := Verdict{Promise: "P7", Check: "every customer on a page lives at the version it is shown at", Unit: "items"}
	unopened, unchanged := 0, 0
	for i := range ops {
		op := &ops[i]
		id := idOf(op.Customer)
		switch {
		case op.DryRun || op.Outcome != history.OK:
		case op.Command():
			if answersDocument(op) {
				compare(&answers, log, op, id, &unopened)
			} else if op.Kind == history.Erase && len(op.Answer) > 0 {
				compareErasure(&answers, log, op, id)
			}
		case op.Kind == history.Get && op.Status == 304:
			unchanged++
			if at := log.At(id, customer.Version(op.Version)); at == nil || !live(at.State.Status()) {
				reads.Violate("%s was answered that version %d is unchanged, at which nobody lives", tell(op), op.Version)
			}
		case (op.Kind == history.Get || op.Kind == history.GetPast) && op.Status == 200:
			compare(&reads, log, op, id, &unopened)
			if want := versionAsked(op); want > 0 && want != op.Version {
				reads.Violate("%s asks for version %d and was answered version %d", tell(op), want, op.Version)
			}
		case op.Kind == history.List || op.Kind == history.Search:
			status := filterOf(op).Get("status")
			for _, item := range op.Items {
				pages.Checked++
				at := log.At(idOf(item.Customer), customer.Version(item.Version))
				switch {
				case at == nil || !live(at.State.Status()):
					pages.Violate("%s shows %s at version %d, at which it does not live", tell(op), item.Customer, item.Version)
				case status != "" && string(at.State.Status()) != status:
					pages.Violate("%s asks for who is %s and shows %s at version %d, at which it is %s", tell(op), status, item.Customer, item.Version, at.State.Status())
				}
			}
		}
	}
	reads.Note = fmt.Sprintf("%d more were answered 304", unchanged)
	if unopened > 0 {
		answers.Error = fmt.Sprintf("the content of %d documents could not be compared: no key was kept of their customers", unopened)
	}
	return []Verdict{reads, answers, pages}
}

func compare(v *Verdict, log *Log, op *history.Op, id customer.ID, unopened *int) {
	at := log.At(id, customer.Version(op.Version))
	v.Checked++
	switch {
	case at == nil:
		v.Violate("%s was answered version %d, which the log does not have", tell(op), op.Version)
	case !log.Streams[id].Opened:
		*unopened++
	case !live(at.State.Status()):
		v.Violate("%s was answered a document of version %d, at which the customer is %s", tell(op), op.Version, at.State.Status())
	case at.Document != digestOf(op.Answer):
		v.Violate("%s: the document of version %d is not the fold of the log; they differ in %s", tell(op), op.Version, differences(at.State, op.Answer))
	}
}

func compareErasure(v *Verdict, log *Log, op *history.Op, id customer.ID) {
	v.Checked++
	var record struct {
		ID      string `json:"id"`
		Version int64  `json:"version"`
		Actor   string `json:"actor"`
	}
	at := log.At(id, customer.Version(op.Version))
	if json.Unmarshal(op.Answer, &record) != nil || record.ID != id.String() || record.Version != op.Version ||
		at == nil || at.State.Status() != customer.StatusErased || record.Actor != principal {
		v.Violate("%s was answered an erasure record that is not version %d of the log", tell(op), op.Version)
	}
}

// versionAsked is the version that a read of the past names; 0 for none.
func versionAsked(op *history.Op) int64 {
	n, _ := strconv.ParseInt(filterOf(op).Get("version"), 10, 64)
	return n
}

// filterOf is what a read's URL asks for.
func filterOf(op *history.Op) url.Values {
	_, text, _ := strings.Cut(op.Path, "?")
	values, _ := url.ParseQuery(text)
	return values
}

// differences names the fields in which a document is not a state. Values are
// not told: they may be long.
func differences(state customer.State, answer []byte) string {
	var want, have map[string]json.RawMessage
	if json.Unmarshal(documentOf(state), &want) != nil || json.Unmarshal(answer, &have) != nil {
		return "form"
	}
	var fields []string
	for _, name := range append([]string{"id", "version", "created_at", "updated_at"}, fieldNames[:]...) {
		if !bytes.Equal(want[name], have[name]) {
			fields = append(fields, name)
		}
	}
	if len(fields) == 0 {
		return "spelling"
	}
	return strings.Join(fields, ", ")
}

package workload

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
)

func TestAnswersAreHeldAgainstTheContract(t *testing.T) {
	t.Parallel()
	answer := func(status int, code string) *reply {
		r := &reply{sent: true, status: status, code: code, header: http.Header{}, body: []byte(`{}`)}
		if status < 300 {
			r.header.Set("ETag", `"4"`)
			r.header.Set("Consistency-Token", "t")
		}
		return r
	}
	without := func(header string) *reply {
		r := answer(200, "")
		r.header.Del(header)
		return r
	}
	dry := answer(200, "")
	dry.header.Del("Consistency-Token")
	dry.header.Set("Dry-Run", "true")
	notModified := answer(304, "")
	notModified.header.Set("ETag", `"4"`)

	change := history.Op{Kind: history.Change, Customer: "c", Key: "k"}
	matching := history.Op{Kind: history.Change, Customer: "c", Key: "k", IfMatch: 3}
	repeated := history.Op{Kind: history.Change, Customer: "c", Key: "k", Repeats: 1}
	spoiled := history.Op{Kind: history.Change, Customer: "c", Key: "k", Repeats: 1, Spoiled: true}
	rehearsed := history.Op{Kind: history.Change, Customer: "c", DryRun: true}
	registration := history.Op{Kind: history.Register, Key: "k"}
	deletion := history.Op{Kind: history.Delete, Customer: "c", Key: "k"}
	get := history.Op{Kind: history.Get, Customer: "c"}
	unlessChanged := history.Op{Kind: history.Get, Customer: "c", IfNoneMatch: 4}
	past := history.Op{Kind: history.History, Customer: "c"}
	list := history.Op{Kind: history.List}

	for name, c := range map[string]struct {
		op   history.Op
		r    *reply
		want class
	}{
		"success":                        {change, answer(200, ""), done},
		"another success":                {change, answer(201, ""), unexpected},
		"success without a version":      {change, without("ETag"), unexpected},
		"success without a token":        {change, without("Consistency-Token"), unexpected},
		"dry run":                        {rehearsed, dry, done},
		"dry run that was none":          {rehearsed, answer(200, ""), unexpected},
		"command taken for a dry run":    {change, dry, unexpected},
		"refusal":                        {change, answer(409, "email-taken"), refused},
		"stale version":                  {matching, answer(412, "version-mismatch"), refused},
		"stale version nobody named":     {change, answer(412, "version-mismatch"), unexpected},
		"deleted":                        {change, answer(410, codeDeleted), refused},
		"deleted, of a deletion":         {deletion, answer(410, codeDeleted), unexpected},
		"erased, of a registration":      {registration, answer(410, codeErased), unexpected},
		"well-formed body called broken": {change, answer(422, codeInvalid), unexpected},
		"in flight":                      {change, answer(409, codeInFlight), open},
		"overloaded":                     {change, answer(503, codeOverloaded), shed},
		"unavailable":                    {change, answer(503, codeUnavailable), open},
		"a read's refusal of a command":  {change, answer(503, codeBehind), unexpected},
		"no reason":                      {change, answer(503, ""), unexpected},
		"our fault":                      {change, answer(500, "internal-error"), unexpected},
		"lost":                           {change, &reply{err: errors.New("reset"), sent: true}, open},
		"never sent":                     {change, &reply{err: errors.New("refused")}, shed},
		"repeated":                       {repeated, answer(200, ""), done},
		"repeated with another body":     {spoiled, answer(422, codeKeyReused), refused},
		"repeated, and done":             {spoiled, answer(200, ""), unexpected},
		"key reused, though it was not":  {change, answer(422, codeKeyReused), unexpected},
		"read":                           {get, answer(200, ""), done},
		"read of a deleted one":          {get, answer(410, codeDeleted), done},
		"read of an unknown one":         {get, answer(404, codeNotFound), refused},
		"read behind":                    {get, answer(503, codeBehind), refused},
		"not modified":                   {unlessChanged, notModified, done},
		"not modified, though not asked": {get, notModified, unexpected},
		"history of an erased one":       {past, answer(410, codeErased), unexpected},
		"list of nothing":                {list, answer(404, codeNotFound), unexpected},
		"list that fails":                {list, answer(500, "internal-error"), unexpected},
	} {
		require.Equal(t, c.want, classify(&c.op, c.r), name)
	}
}

package workload

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
)

const (
	importPath = customers + "/import"
	// importTimeout is longer than a command's: an import waits for the log by
	// itself. What is not answered by then is unknown.
	importTimeout = 8 * time.Second
)

// importedID is an external id that imports of all clients share.
func (c *client) importedID(i int) string { return fmt.Sprintf("imp-%03d.%s", i, c.w.world.seed) }

func (c *client) importedEmail(i int) string {
	return fmt.Sprintf("imp-%03d.%s@example.com", i, c.w.world.seed)
}

// importLines sends a small import once. Each line is an op; one that is not
// answered is unknown, for an import has no key to be sent again under.
func (c *client) importLines(ctx context.Context, in *intent) {
	count := 5 + in.choose(0, 16)
	c.w.pace.wait(ctx, c.w.stopping, count)
	lines := newRand(in.n[1], c.number, 2)
	ops := make([]*history.Op, count)
	var body bytes.Buffer
	for i := range ops {
		which := lines.IntN(imported)
		f := fields{
			"external_id": c.importedID(which), "email": c.importedEmail(which),
			"first_name": "Import", "last_name": "Line " + c.unique(), "tags": []string{"imported"},
		}
		switch lines.IntN(12) {
		case 0:
			delete(f, "external_id") // found by its e-mail address
		case 1:
			f["email"] = c.importedEmail(lines.IntN(imported)) // maybe another's
		case 2:
			f["email"] = "nobody" // refused
		case 3, 4:
			f["last_name"] = "Line" // maybe what it is already
		}
		ops[i] = &history.Op{Client: c.number, Session: c.session, Kind: history.Import, Path: importPath, Body: f.json(), Attempts: 1}
		if f["email"] != "nobody" {
			ops[i].Email, _ = f["email"].(string)
		}
		body.Write(f.json())
		body.WriteByte('\n')
		c.rec.Begin(ops[i])
	}
	to := c.nextCommand()
	answered := c.sendLines(ctx, to, ops, body.Bytes())
	for _, op := range ops[answered:] {
		c.end(op)
	}
}

// sendLines sends an import and ends the ops that are answered, as their answers
// come. The rest have their outcome, but are not ended.
func (c *client) sendLines(ctx context.Context, to Endpoint, ops []*history.Op, body []byte) (answered int) {
	ctx, cancel := context.WithTimeout(ctx, importTimeout)
	defer cancel()
	r := &reply{process: to.Name, header: http.Header{}}
	res, err := c.send(ctx, to, &request{method: http.MethodPost, path: importPath, media: "application/x-ndjson", body: body})
	if err != nil {
		r.err, r.sent = err, true
		c.lost(ops, r, history.Unknown)
		return 0
	}
	defer res.Body.Close()
	r.status, r.header, r.sent = res.StatusCode, res.Header, true
	if res.StatusCode != http.StatusOK {
		r.body, r.err = io.ReadAll(res.Body)
		r.code = codeOf(r.body)
		outcome := history.Unknown
		if r.err == nil && r.code == codeOverloaded {
			outcome = history.Refused
		}
		c.lost(ops, r, outcome)
		if r.err == nil && r.code != codeOverloaded && r.code != codeUnavailable {
			c.unexpected(ops[0], r)
		}
		return 0
	}
	c.w.stats.attempt(c.rec.Now(), r.status, "", false)
	in := bufio.NewReader(res.Body)
	for ; answered < len(ops); answered++ {
		line, err := in.ReadBytes('\n')
		if err != nil {
			r.err = fmt.Errorf("after %d lines of %d: %w", answered, len(ops), err)
			c.lost(ops[answered:], r, history.Unknown)
			return answered
		}
		c.line(ops[answered], r, line, answered+1)
		c.end(ops[answered])
	}
	if rest, err := io.ReadAll(in); err == nil && len(rest) > 0 {
		r.body = rest
		c.unexpected(ops[len(ops)-1], r)
	}
	return answered
}

// lost notes one answer, or none, for all of ops.
func (c *client) lost(ops []*history.Op, r *reply, outcome history.Outcome) {
	for i, op := range ops {
		op.Return, op.Process, op.Status, op.Code, op.Outcome = c.rec.Now(), r.process, r.status, r.code, outcome
		if r.err != nil {
			op.Error = r.err.Error()
		}
		if i == 0 {
			status := r.status
			if r.err != nil {
				status = 0
			}
			c.w.stats.attempt(op.Return, status, r.code, false)
		}
	}
}

// line takes the answer to one line.
func (c *client) line(op *history.Op, r *reply, text []byte, number int) {
	op.Return, op.Process, op.Status = c.rec.Now(), r.process, r.status
	one := *r
	one.body = bytes.TrimSpace(text)
	var a struct {
		Line    int    `json:"line"`
		Status  string `json:"status"`
		ID      string `json:"id"`
		Version int64  `json:"version"`
		Problem *struct {
			Status int    `json:"status"`
			Code   string `json:"code"`
		} `json:"problem"`
	}
	if err := json.Unmarshal(one.body, &a); err != nil || a.Line != number {
		c.unexpected(op, &one)
		return
	}
	op.Answer, op.Customer, op.Version = json.RawMessage(one.body), a.ID, a.Version
	switch {
	case (a.Status == "registered" || a.Status == "updated" || a.Status == "unchanged") && a.ID != "" && a.Version > 0:
		op.Outcome = history.OK
		if a.Status == "registered" {
			c.keep(&seen{id: a.ID, version: a.Version})
		}
	case a.Status == "failed" && a.Problem != nil:
		one.status, one.code = a.Problem.Status, a.Problem.Code
		op.Status, op.Code = one.status, one.code
		switch how := classify(op, &one); {
		case how == refused, how == shed, op.Email == "" && one.code == codeInvalid:
			op.Outcome = history.Refused
		case how == open:
			op.Outcome = history.Unknown
		default:
			c.unexpected(op, &one)
		}
	default:
		c.unexpected(op, &one)
	}
}

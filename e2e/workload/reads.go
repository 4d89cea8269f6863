package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
)

const (
	walkPages    = 10
	historyPages = 3
)

func etag(version int64) string { return strconv.Quote(strconv.FormatInt(version, 10)) }

// reading is a read in the client's session, with the tokens it carries.
func (c *client) reading(kind history.Kind, path, tokens string) (*history.Op, *request) {
	op := &history.Op{Client: c.number, Session: c.session, Kind: kind, Path: path, Token: tokens}
	return op, &request{method: http.MethodGet, path: path, header: carrying(tokens)}
}

func carrying(tokens string) []string {
	if tokens == "" {
		return nil
	}
	return []string{"Consistency-Token", tokens, "Prefer", "wait=" + strconv.Itoa(readWait)}
}

// look reads one customer in the way that in says.
func (c *client) look(ctx context.Context, in *intent, s *seen) {
	switch in.action {
	case getAny:
		op := &history.Op{Client: c.number, Kind: history.Get, Customer: s.id, Path: customers + "/" + s.id}
		c.read(ctx, op, &request{method: http.MethodGet, path: op.Path})
		c.end(op)
	case getIfChanged:
		known := c.tokens[s.id].version
		if in.choose(4, 3) == 0 {
			known--
		}
		c.get(ctx, s, &known)
	case getPast:
		c.getPast(ctx, in, s)
	case getHistory:
		c.history(ctx, s)
	default:
		c.get(ctx, s, nil)
	}
}

// get reads a customer, no older than the session has seen it.
func (c *client) get(ctx context.Context, s *seen, unless *int64) {
	op, req := c.reading(history.Get, customers+"/"+s.id, c.tokens[s.id].text)
	op.Customer = s.id
	if unless != nil && *unless > 0 {
		op.IfNoneMatch = *unless
		req.header = append(req.header, "If-None-Match", etag(*unless))
	}
	r := c.read(ctx, op, req)
	c.end(op)
	c.readFrom(s, op, r)
}

func (c *client) readFrom(s *seen, op *history.Op, r *reply) {
	if op.Outcome != history.OK {
		return
	}
	c.saw(s.id, op.Version, op.AnswerToken)
	switch r.code {
	case codeDeleted: // by a read that may be behind: the next command tells
	case codeErased:
		s.become(erased, 0)
	default:
		s.learn(r.body)
	}
}

// getPast reads a customer as it was at a version that is known to have been.
func (c *client) getPast(ctx context.Context, in *intent, s *seen) {
	t := c.tokens[s.id]
	if t.version < 1 {
		c.get(ctx, s, nil) // and knows then
		return
	}
	version := 1 + in.choose(4, int(t.version))
	op, req := c.reading(history.GetPast, customers+"/"+s.id+"?version="+strconv.Itoa(version), t.text)
	op.Customer = s.id
	c.read(ctx, op, req)
	c.end(op)
}

// history reads a customer's events, the first few pages of them.
func (c *client) history(ctx context.Context, s *seen) {
	c.pages(ctx, historyPages, func(cursor string) (*history.Op, *request) {
		op, req := c.reading(history.History, customers+"/"+s.id+"/history?limit=50", c.tokens[s.id].text)
		op.Customer, req.path = s.id, op.Path+cursorOf(cursor)
		return op, req
	})
}

// walk reads a list page by page, to its end where it has few enough.
func (c *client) walk(ctx context.Context, in *intent) {
	filter := url.Values{"limit": {[]string{"20", "50", "50"}[in.choose(0, 3)]}}
	switch in.choose(1, 4) {
	case 0:
	case 1:
		filter.Set("status", []string{"active", "suspended"}[in.choose(2, 2)])
	case 2:
		filter.Set("tag", tags()[in.choose(2, len(tags()))])
	default:
		filter.Set("tag", c.ownTag())
	}
	if sort := []string{"", "-created_at", "updated_at", "-updated_at", "last_name"}[in.choose(3, 5)]; sort != "" {
		filter.Set("sort", sort)
	}
	tokens := c.newest()
	c.pages(ctx, walkPages, func(cursor string) (*history.Op, *request) {
		op, req := c.reading(history.List, customers+"?"+filter.Encode(), tokens)
		req.path = op.Path + cursorOf(cursor)
		return op, req
	})
}

func cursorOf(cursor string) string {
	if cursor == "" {
		return ""
	}
	return "&cursor=" + url.QueryEscape(cursor)
}

// pages reads pages until the last, or until one is refused or lost.
func (c *client) pages(ctx context.Context, most int, ask func(cursor string) (*history.Op, *request)) {
	var cursor string
	var first int64
	for range most {
		op, req := ask(cursor)
		op.Walk = first
		r := c.read(ctx, op, req)
		if first == 0 {
			// The walk is named after its first page, which has its ID by now.
			first = op.ID
			op.Walk = first
		}
		cursor = c.page(op, r)
		c.end(op)
		if cursor == "" || c.stopped() {
			return
		}
	}
}

// page takes a page's items and answers the cursor of the next page, if any.
func (c *client) page(op *history.Op, r *reply) (next string) {
	if op.Outcome != history.OK || r.status != http.StatusOK {
		return ""
	}
	var p struct {
		Data []json.RawMessage `json:"data"`
		Next *string           `json:"next_cursor"`
	}
	if err := json.Unmarshal(r.body, &p); err != nil || p.Data == nil {
		c.unexpected(op, r)
		return ""
	}
	op.Last = p.Next == nil
	if op.Kind != history.History {
		op.Answer, op.Items = nil, []history.Item{}
		for _, text := range p.Data {
			var d document
			if err := json.Unmarshal(text, &d); err != nil || d.ID == "" || d.Version < 1 {
				c.unexpected(op, r)
				return ""
			}
			op.Items = append(op.Items, history.Item{Customer: d.ID, Version: d.Version})
		}
	}
	if p.Next == nil {
		return ""
	}
	return *p.Next
}

// search looks somebody up: by what is exact most often, by the beginning of
// a name else.
func (c *client) search(ctx context.Context, in *intent) {
	by := c.searched(in)
	op, req := c.reading(history.Search, customers+"/search", c.newest())
	req.method, req.media, req.body = http.MethodPost, "application/json", by.json()
	op.Body = req.body
	if email, ok := by["email"].(string); ok {
		op.Email = strings.ToLower(email)
	}
	r := c.read(ctx, op, req)
	c.page(op, r)
	c.end(op)
}

func (c *client) searched(in *intent) fields {
	var now look
	if s := c.known(in); s != nil {
		now = s.now()
	}
	switch how := in.choose(4, 6); {
	case how < 2 && now.email != "":
		return fields{"email": variant(now.email, in, 5)}
	case how == 2 && now.external != "":
		return fields{"external_id": now.external}
	case how == 3:
		return fields{"email": c.w.world.contendedEmail(in.choose(5, contended))}
	case how == 4:
		return fields{"external_id": c.importedID(in.choose(5, imported)), "limit": 5}
	default:
		name := []rune(lastNames()[in.choose(5, len(lastNames()))])
		return fields{"q": string(name[:4]) + fmt.Sprintf(" c%dx", c.number), "limit": 20}
	}
}

package workload

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
)

// plan is a command before it is addressed to somebody.
type plan struct {
	kind   history.Kind
	method string
	path   string // below the customer's
	body   fields
	email  string // asked for
}

const customers = "/v1/customers"

// register registers somebody and answers whom, or nil.
func (c *client) register(ctx context.Context, in *intent, email string) *seen {
	c.registered++
	p := plan{kind: history.Register, method: http.MethodPost, body: c.registration(in, email), email: email}
	return c.carryOut(ctx, in, nil, p)
}

// onCustomer does to a customer what in says, or what its state suggests.
func (c *client) onCustomer(ctx context.Context, in *intent, s *seen) {
	now := s.now()
	if in.action == erasure {
		c.erase(ctx, in, s)
		return
	}
	if now.status == deleted && (in.action == deletion || in.choose(3, 2) == 0) {
		c.carryOut(ctx, in, s, plan{kind: history.Restore, method: http.MethodPost, path: "/restore", email: now.email})
		return
	}
	c.carryOut(ctx, in, s, c.planFor(in, now))
}

func (c *client) planFor(in *intent, now look) plan {
	switch in.action {
	case address:
		return c.addressPlan(in, now)
	case tag:
		p := plan{kind: history.AddTag, method: http.MethodPut, path: "/tags/" + tags()[in.choose(4, len(tags()))]}
		if in.choose(5, 3) == 0 {
			p.kind, p.method = history.RemoveTag, http.MethodDelete
		}
		return p
	case consent:
		f := fields{"granted": in.choose(5, 2) == 0, "source": "checkout", "wording": "Text " + c.unique()}
		if in.choose(6, 4) == 0 {
			f["wording"] = "Send me news" // maybe what it is already
		}
		return plan{kind: history.Consent, method: http.MethodPut, path: "/consents/" + channels()[in.choose(4, len(channels()))], body: f}
	case suspension:
		if in.choose(4, 2) == 0 {
			return plan{kind: history.Reinstate, method: http.MethodPost, path: "/reinstate"}
		}
		return plan{kind: history.Suspend, method: http.MethodPost, path: "/suspend", body: fields{"reason": "check " + c.unique()}}
	case deletion:
		return plan{kind: history.Delete, method: http.MethodDelete}
	default:
		f, email := c.patch(in, now)
		return plan{kind: history.Change, method: http.MethodPatch, body: f, email: email}
	}
}

// addressPlan keeps the number of addresses around five, and lets several
// clients work on the same one.
func (c *client) addressPlan(in *intent, now look) plan {
	if len(now.addresses) == 0 || in.choose(7, 6) > len(now.addresses) {
		return plan{kind: history.AddAddress, method: http.MethodPost, path: "/addresses", body: c.postal(in)}
	}
	path := "/addresses/" + now.addresses[in.choose(4, len(now.addresses))]
	if in.choose(7, 3) == 0 {
		return plan{kind: history.RemoveAddress, method: http.MethodDelete, path: path}
	}
	return plan{kind: history.ChangeAddress, method: http.MethodPut, path: path, body: c.postal(in)}
}

// erase erases a customer whose key was kept. A hot one is spared most often,
// and one of the client's own erased instead.
func (c *client) erase(ctx context.Context, in *intent, s *seen) {
	if in.choose(0, 2) == 0 && in.choose(4, 4) != 0 {
		if mine := c.mine(in); mine != nil {
			s = mine
		}
	}
	if c.w.cfg.KeepKey == nil || c.w.cfg.KeepKey(ctx, s.id) != nil {
		in.action = tag
		c.carryOut(ctx, in, s, c.planFor(in, s.now()))
		return
	}
	c.carryOut(ctx, in, s, plan{kind: history.Erase, method: http.MethodPost, path: "/erase", body: fields{"reason": "request " + c.unique()}})
	// Whatever came of it, it may be erased at any time from now on.
	c.w.world.retire(s)
}

// contend fights for an e-mail address that everybody wants.
func (c *client) contend(ctx context.Context, in *intent) {
	i := in.choose(0, contended)
	email := c.w.world.contendedEmail(i)
	holder, former := c.w.world.holders(i)
	mine := c.mine(in)
	switch mode := in.choose(1, 8); {
	case mode < 2 && holder != nil:
		in.action = deletion
		c.onCustomer(ctx, in, holder)
	case mode == 2 && holder != nil:
		own := c.ownEmail()
		c.carryOut(ctx, in, holder, plan{kind: history.Change, method: http.MethodPatch, body: fields{"email": own}, email: own})
	case mode == 3 && holder != nil && in.choose(4, 2) == 0:
		c.erase(ctx, in, holder)
	case mode <= 4 && former != nil:
		c.carryOut(ctx, in, former, plan{kind: history.Restore, method: http.MethodPost, path: "/restore", email: email})
	case mode <= 5 && mine != nil:
		body := fields{"email": variant(email, in, 6), "last_name": lastName(in, 5, c.unique())}
		c.carryOut(ctx, in, mine, plan{kind: history.Change, method: http.MethodPatch, body: body, email: email})
	default:
		c.register(ctx, in, email)
	}
}

// rehearse sends a command as a dry run, which must change nothing.
func (c *client) rehearse(ctx context.Context, in *intent) {
	email := c.ownEmail()
	if in.choose(4, 3) == 0 {
		email = c.w.world.contendedEmail(in.choose(1, contended))
	}
	p := plan{kind: history.Register, method: http.MethodPost, body: c.registration(in, email), email: email}
	s := c.mine(in)
	if kind := in.choose(7, 5); s != nil && kind > 0 {
		in.action = []action{change, address, deletion, suspension}[kind-1]
		p = c.planFor(in, s.now())
		if in.choose(6, 4) == 0 {
			p = plan{kind: history.Erase, method: http.MethodPost, path: "/erase", body: fields{"reason": "rehearsal"}}
		}
	} else {
		s = nil
	}
	op, req := c.address(in, s, p)
	op.Key, op.DryRun = "", true
	req.header = []string{"Prefer", "return=representation"}
	if op.IfMatch != 0 {
		req.header = append(req.header, "If-Match", etag(op.IfMatch))
	}
	op.Path += "?dry_run=true"
	req.path = op.Path
	c.command(ctx, op, req, 0)
}

// repeat sends a command once more that has succeeded, under the same key:
// the same one, or another one that must be refused.
func (c *client) repeat(ctx context.Context, in *intent) {
	if len(c.finished) == 0 {
		return
	}
	f := c.finished[in.choose(0, len(c.finished))]
	op := history.Op{
		Client: c.number, Session: c.session, Kind: f.op.Kind, Customer: f.op.Customer, Email: f.op.Email, Key: f.op.Key,
		IfMatch: f.op.IfMatch, Path: f.op.Path, Body: f.op.Body, Repeats: f.op.ID,
	}
	req := f.req
	if (op.Kind == history.Register || op.Kind == history.Change) && in.choose(1, 3) == 0 {
		var body fields
		if json.Unmarshal(req.body, &body) == nil {
			body["last_name"] = lastName(in, 2, c.unique())
			op.Spoiled, req.body = true, body.json()
			op.Body = req.body
		}
	}
	c.command(ctx, &op, &req, in.patience)
}

// address makes an op and its request of a plan for a customer, or for nobody
// yet.
func (c *client) address(in *intent, s *seen, p plan) (*history.Op, *request) {
	op := &history.Op{Client: c.number, Session: c.session, Kind: p.kind, Email: p.email, Path: customers, Key: "k" + c.unique() + "." + c.w.world.seed}
	req := &request{method: p.method, header: []string{"Idempotency-Key", op.Key}}
	if s != nil {
		op.Customer, op.Path = s.id, customers+"/"+s.id+p.path
		if op.IfMatch = ifMatch(in, s.now()); op.IfMatch != 0 {
			req.header = append(req.header, "If-Match", etag(op.IfMatch))
		}
	}
	if p.body != nil {
		req.media, req.body = "application/json", p.body.json()
		if p.kind == history.Change && in.choose(7, 2) == 0 {
			req.media = "application/merge-patch+json"
		}
		op.Body = req.body
	}
	req.path = op.Path
	return op, req
}

// ifMatch is the version that a command is to apply to, 0 for any: now and then
// one that is known to be past.
func ifMatch(in *intent, now look) int64 {
	switch in.choose(7, 16) {
	case 0, 1, 2, 3:
		return now.version
	case 4:
		return max(now.version-1, 0)
	default:
		return 0
	}
}

// carryOut sends a command and learns from what comes of it. It answers the
// customer when it succeeded.
func (c *client) carryOut(ctx context.Context, in *intent, s *seen, p plan) *seen {
	op, req := c.address(in, s, p)
	r := c.command(ctx, op, req, in.patience)
	if op.Outcome == history.OK && s == nil {
		s = &seen{id: op.Customer}
		c.keep(s)
	}
	if s == nil {
		return nil
	}
	c.learn(s, op, r)
	if op.Outcome != history.OK {
		return nil
	}
	if c.finished = append(c.finished, finished{*op, *req}); len(c.finished) > repeatable {
		c.finished = c.finished[1:]
	}
	if in.readBack {
		c.get(ctx, s, nil)
	}
	return s
}

// learn takes from an answer what the client and the others go by from now on.
func (c *client) learn(s *seen, op *history.Op, r *reply) {
	before := s.now()
	switch {
	case op.Outcome == history.OK && op.Kind == history.Delete:
		s.become(deleted, op.Version)
		c.w.world.freed(before.email, s, true)
	case op.Outcome == history.OK && op.Kind == history.Erase, r.code == codeErased:
		s.become(erased, op.Version)
		c.w.world.freed(before.email, s, false)
		c.w.world.retire(s)
	case op.Outcome == history.OK:
		s.learn(r.body)
		if now := s.now(); now.email != before.email {
			c.w.world.freed(before.email, s, false)
			c.w.world.took(now.email, s)
		} else if op.Kind == history.Restore {
			c.w.world.took(now.email, s)
		}
	case r.code == codeDeleted:
		s.become(deleted, 0)
	}
	if op.Outcome == history.OK {
		c.saw(s.id, op.Version, op.AnswerToken)
		c.touched(s.id)
	}
	if s.now().version > retireVersion {
		c.w.world.retire(s)
	}
}

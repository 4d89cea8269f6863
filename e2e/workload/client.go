package workload

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"github.com/ebrahem-outlook/customer-service/e2e/history"
)

const (
	ownCustomers  = 300 // that a client goes on using
	warm          = 12  // the latest of them, which it uses most
	sessionLength = 400 // intents
	maxTokens     = 8   // with one read, by the contract
	repeatable    = 16  // commands that are remembered to be repeated
)

// client is one of the clients. It does one thing after the other.
type client struct {
	w      *Workload
	rec    *history.Recorder
	number int
	http   *http.Client
	jitter *rand.Rand

	commandTurn, readTurn int
	words                 int64 // unique words there were
	registered            int
	own                   []*seen

	session  int
	tokens   map[string]token // newest seen in this session, by customer
	lately   []string         // customers that this session had a command on, the last at the end
	finished []finished
}

type token struct {
	version int64
	text    string
}

// finished is a command that was answered with success, to be sent again.
type finished struct {
	op  history.Op
	req request
}

func newClient(w *Workload, number int) *client {
	c := &client{w: w, rec: w.cfg.Recorder, number: number, http: newHTTP(), jitter: newRand(w.cfg.Seed, number, 1)}
	c.commandTurn, c.readTurn = number, number
	c.begin(0)
	return c
}

func (c *client) run(ctx context.Context) {
	defer c.http.CloseIdleConnections()
	drawn := newIntents(c.w.cfg.Seed, c.number)
	for n := 0; ctx.Err() == nil && !c.stopped(); n++ {
		if n%sessionLength == 0 {
			c.begin(n / sessionLength)
		}
		in := drawn.next()
		c.act(ctx, &in)
	}
}

func (c *client) stopped() bool {
	select {
	case <-c.w.stopping:
		return true
	default:
		return false
	}
}

// begin begins a session, which knows nothing of those before.
func (c *client) begin(n int) {
	c.session = c.number*100_000 + n + 1
	c.tokens, c.lately = map[string]token{}, nil
}

func (c *client) act(ctx context.Context, in *intent) {
	switch in.action {
	case register:
		c.register(ctx, in, c.ownEmail())
	case contention:
		c.contend(ctx, in)
	case repetition:
		c.repeat(ctx, in)
	case rehearsal:
		c.rehearse(ctx, in)
	case importing:
		c.importLines(ctx, in)
	case walk:
		c.walk(ctx, in)
	case search:
		c.search(ctx, in)
	case getOwn, getAny, getIfChanged, getPast, getHistory:
		if s := c.known(in); s != nil {
			c.look(ctx, in, s)
		}
	default:
		if s := c.someone(ctx, in); s != nil {
			c.onCustomer(ctx, in, s)
		}
	}
}

// nextCommand and nextRead take the processes in turn, so that a command that
// is sent again goes to another one.
func (c *client) nextCommand() Endpoint {
	all := c.w.cfg.Commands()
	c.commandTurn++
	return all[c.commandTurn%len(all)]
}

func (c *client) nextRead() Endpoint {
	all := c.w.cfg.Reads()
	c.readTurn++
	return all[c.readTurn%len(all)]
}

// someone is a customer for a command. The intent may be spent on registering
// one for a hot place that is empty; then it answers none.
func (c *client) someone(ctx context.Context, in *intent) *seen {
	if in.choose(0, 2) == 0 {
		place := in.choose(1, c.w.cfg.Hot)
		s, vacant := c.w.world.hotAt(place)
		if vacant {
			c.w.world.fill(place, c.register(ctx, in, c.ownEmail()))
			return nil
		}
		if s != nil {
			return s
		}
	}
	if s := c.mine(in); s != nil {
		return s
	}
	c.register(ctx, in, c.ownEmail())
	return nil
}

// known is a customer to read.
func (c *client) known(in *intent) *seen {
	if in.choose(0, 2) == 0 {
		c.w.world.mu.Lock()
		s := c.w.world.hot[in.choose(1, c.w.cfg.Hot)].customer
		c.w.world.mu.Unlock()
		if s != nil {
			return s
		}
	}
	return c.mine(in)
}

// mine is one of the client's own customers, most often one of the latest, and
// now and then one that was erased.
func (c *client) mine(in *intent) *seen {
	if len(c.own) == 0 {
		return nil
	}
	i := in.choose(2, len(c.own))
	if in.choose(3, 3) != 0 {
		i = len(c.own) - 1 - in.choose(2, min(len(c.own), warm))
	}
	for range 4 {
		if c.own[i].now().status != erased || in.choose(3, 8) == 0 {
			break
		}
		i = (i + 1) % len(c.own)
	}
	return c.own[i]
}

func (c *client) keep(s *seen) {
	c.own = append(c.own, s)
	if len(c.own) > ownCustomers {
		c.own = slices.Delete(c.own, 0, 1)
	}
}

// saw notes what the session has seen of a customer.
func (c *client) saw(id string, version int64, text string) {
	if text != "" && version >= c.tokens[id].version {
		c.tokens[id] = token{version, text}
	}
}

// touched notes that the session had a command on a customer.
func (c *client) touched(id string) {
	if i := slices.Index(c.lately, id); i >= 0 {
		c.lately = slices.Delete(c.lately, i, i+1)
	}
	c.lately = append(c.lately, id)
	if len(c.lately) > maxTokens {
		c.lately = slices.Delete(c.lately, 0, 1)
	}
}

// newest are the tokens of what the session did lately, for reads of many.
func (c *client) newest() string {
	var all []string
	for _, id := range c.lately {
		if t, ok := c.tokens[id]; ok {
			all = append(all, t.text)
		}
	}
	return strings.Join(all, ", ")
}

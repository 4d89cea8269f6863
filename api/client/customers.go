package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// maxTokens is how many customers' tokens a Customers remembers. The oldest is
	// forgotten first; a read then may be older than that write.
	maxTokens = 10_000
	// maxTokensSent is how many tokens one read may carry.
	maxTokensSent = 8
	// attemptTimeout bounds one attempt, but for what is streamed. A read may wait
	// 10 s for its tokens.
	attemptTimeout = 15 * time.Second
	// maxDocument bounds what is read of an answer: a customer has at most 64 KiB
	// a command, and grows by no more than the limits of its collections.
	maxDocument = 4 << 20
)

// Customers is both APIs as one. It is safe for concurrent use.
//
// Every command carries an Idempotency-Key, so that it can be repeated: what
// was interrupted, answered 429 or 503, or is still being worked on is tried
// again after a growing pause, as Retry-After says, until the context ends or
// WithAttempts is used up.
type Customers struct {
	commands, queries *Client

	mu     sync.Mutex
	tokens map[string]known // by customer
	order  []string         // of tokens, oldest first
	recent []string         // the customers last worked on, latest last
}

// known is how far this client knows a customer to be.
type known struct {
	version int64
	token   string
}

// NewCustomers returns a client of the command API and the query API at these
// URLs, which are the same one when a gateway fronts both.
func NewCustomers(commandURL, queryURL string, options ...ClientOption) (*Customers, error) {
	commands, err := newRetrying(commandURL, options)
	if err != nil {
		return nil, fmt.Errorf("command API: %w", err)
	}
	queries, err := newRetrying(queryURL, options)
	if err != nil {
		return nil, fmt.Errorf("query API: %w", err)
	}
	return &Customers{commands: commands, queries: queries, tokens: make(map[string]known)}, nil
}

func newRetrying(server string, options []ClientOption) (*Client, error) {
	standard := new(http.Client)
	c, err := NewClient(server, append([]ClientOption{WithHTTPClient(standard)}, options...)...)
	if err != nil {
		return nil, err
	}
	r, chosen := c.Client.(*retrying)
	if !chosen {
		r = &retrying{next: c.Client, attempts: defaultAttempts}
		c.Client = r
	}
	if r.next == standard {
		r.timeout = attemptTimeout
	}
	return c, nil
}

// Get reads a customer, never older than what this client last did to it or
// read of it.
func (c *Customers) Get(ctx context.Context, id string, options ...Option) (*Customer, error) {
	return read[Customer](c, id, options, func(edit RequestEditorFn) (*http.Response, error) {
		return c.queries.GetCustomer(ctx, id, nil, edit)
	})
}

// Erasure reads the record of an erased customer.
func (c *Customers) Erasure(ctx context.Context, id string, options ...Option) (*Erasure, error) {
	return read[Erasure](c, id, options, func(edit RequestEditorFn) (*http.Response, error) {
		return c.queries.GetErasure(ctx, id, nil, edit)
	})
}

// Token is the consistency token of what this client last did to a customer,
// empty if it knows none. Whoever gets it, in a message say, reads no older
// state with After.
func (c *Customers) Token(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tokens[id].token
}

// recently sends the tokens of the customers last worked on along with a read
// that has room for them.
func (c *Customers) recently(r *http.Request) {
	room := maxTokensSent
	for _, line := range r.Header.Values("Consistency-Token") {
		room -= 1 + strings.Count(line, ",")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.recent) - 1; i >= 0 && room > 0; i, room = i-1, room-1 {
		r.Header.Add("Consistency-Token", c.tokens[c.recent[i]].token)
	}
}

// remember keeps the token of a command's answer. A dry run has none to wait for.
func (c *Customers) remember(id string, answer http.Header) {
	if answer.Get("Dry-Run") == "true" || !c.saw(id, answer) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.recent, id); i >= 0 {
		c.recent = slices.Delete(c.recent, i, i+1)
	} else if len(c.recent) == maxTokensSent {
		c.recent = slices.Delete(c.recent, 0, 1)
	}
	c.recent = append(c.recent, id)
}

// saw keeps the token of an answer about a customer, unless a later one is
// known: answers to requests that run at the same time come in any order. It
// tells whether there was one.
func (c *Customers) saw(id string, answer http.Header) bool {
	token := answer.Get("Consistency-Token")
	if token == "" {
		return false
	}
	version, err := strconv.ParseInt(strings.Trim(answer.Get("ETag"), `"`), 10, 64)
	if err != nil {
		version = math.MaxInt64 // not said: the latest answer is taken for the newest
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	was, ok := c.tokens[id]
	if !ok {
		if len(c.order) == maxTokens {
			delete(c.tokens, c.order[0])
			c.order = c.order[1:]
		}
		c.order = append(c.order, id)
	}
	if version >= was.version || was.version == math.MaxInt64 {
		c.tokens[id] = known{version, token}
	}
	return true
}

func read[T any](c *Customers, id string, options []Option, send func(RequestEditorFn) (*http.Response, error)) (*T, error) {
	if token := c.Token(id); token != "" {
		options = append([]Option{After(token)}, options...)
	}
	res, err := send(editor(options))
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	out, err := decode[T](res)
	if err == nil {
		c.saw(id, res.Header)
	}
	return out, err
}

func decode[T any](res *http.Response) (*T, error) {
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return nil, failure(res)
	}
	var out T
	if err := json.NewDecoder(io.LimitReader(res.Body, maxDocument)).Decode(&out); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return &out, nil
}

package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// maxTokens is how many customers' tokens a Customers remembers. The oldest is
	// forgotten first; a read then may be older than that write.
	maxTokens = 10_000
	// attemptTimeout bounds one attempt. A read may wait 10 s for its tokens.
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
	tokens map[string]string // by customer
	order  []string          // of tokens, oldest first
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
	return &Customers{commands: commands, queries: queries, tokens: make(map[string]string)}, nil
}

func newRetrying(server string, options []ClientOption) (*Client, error) {
	standard := WithHTTPClient(&http.Client{Timeout: attemptTimeout})
	c, err := NewClient(server, append([]ClientOption{standard}, options...)...)
	if err != nil {
		return nil, err
	}
	if _, chosen := c.Client.(*retrying); !chosen {
		c.Client = &retrying{next: c.Client, attempts: defaultAttempts}
	}
	return c, nil
}

// Get reads a customer, never older than what this client last did to it.
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
	return c.tokens[id]
}

// remember keeps the token of a command's answer. A dry run has none to wait for.
func (c *Customers) remember(id string, answer http.Header) {
	token := answer.Get("Consistency-Token")
	if token == "" || answer.Get("Dry-Run") == "true" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.tokens[id]; !known {
		if len(c.order) == maxTokens {
			delete(c.tokens, c.order[0])
			c.order = c.order[1:]
		}
		c.order = append(c.order, id)
	}
	c.tokens[id] = token
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
	return decode[T](res)
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

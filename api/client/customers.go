package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
)

// maxTokens is how many customers' tokens a Customers remembers. The oldest is
// forgotten first; a read then may be older than that write.
const maxTokens = 10_000

// Customers is both APIs as one. It is safe for concurrent use.
type Customers struct {
	commands, queries *ClientWithResponses

	mu     sync.Mutex
	tokens map[string]string // by customer
	order  []string          // of tokens, oldest first
}

// NewCustomers returns a client of the command API and the query API at these
// URLs, which are the same one when a gateway fronts both.
func NewCustomers(commandURL, queryURL string, options ...ClientOption) (*Customers, error) {
	commands, err := NewClientWithResponses(commandURL, options...)
	if err != nil {
		return nil, fmt.Errorf("command API: %w", err)
	}
	queries, err := NewClientWithResponses(queryURL, options...)
	if err != nil {
		return nil, fmt.Errorf("query API: %w", err)
	}
	return &Customers{commands: commands, queries: queries, tokens: make(map[string]string)}, nil
}

// Error is an answer that is no success. With a problem of the service's,
// Code says which; without one (a proxy's answer, say) Code is empty.
type Error struct {
	Problem
	StatusCode int
	Header     http.Header
}

func (e *Error) Error() string {
	if e.Code == "" {
		return "customer service answered " + strconv.Itoa(e.StatusCode)
	}
	return fmt.Sprintf("customer service answered %d %s: %s (trace %s)", e.StatusCode, e.Code, e.Detail, e.TraceId)
}

// Register registers a customer. The idempotency key may be empty.
func (c *Customers) Register(ctx context.Context, r Registration, idempotencyKey string) (*Customer, error) {
	params := &RegisterCustomerParams{}
	if idempotencyKey != "" {
		params.IdempotencyKey = &idempotencyKey
	}
	resp, err := c.commands.RegisterCustomerWithResponse(ctx, params, r)
	if err != nil {
		return nil, err
	}
	return c.commanded(resp.HTTPResponse, resp.Body, resp.JSON201)
}

// Change changes a customer. With ifVersion above 0 it must be at that version,
// or else the error's code is version-mismatch.
func (c *Customers) Change(ctx context.Context, id string, p CustomerPatch, ifVersion int64) (*Customer, error) {
	params := &ChangeCustomerParams{IfMatch: ifMatch(ifVersion)}
	resp, err := c.commands.ChangeCustomerWithApplicationMergePatchPlusJSONBodyWithResponse(ctx, id, params, p)
	if err != nil {
		return nil, err
	}
	return c.commanded(resp.HTTPResponse, resp.Body, resp.JSON200)
}

// Delete deletes a customer, under the same condition as Change.
func (c *Customers) Delete(ctx context.Context, id string, ifVersion int64) error {
	resp, err := c.commands.DeleteCustomerWithResponse(ctx, id, &DeleteCustomerParams{IfMatch: ifMatch(ifVersion)})
	if err != nil {
		return err
	}
	if resp.StatusCode() != http.StatusNoContent {
		return failure(resp.HTTPResponse, resp.Body)
	}
	c.remember(id, resp.HTTPResponse.Header.Get("Consistency-Token"))
	return nil
}

// Get reads a customer, never older than what this client last did to it.
func (c *Customers) Get(ctx context.Context, id string) (*Customer, error) {
	params := &GetCustomerParams{}
	c.mu.Lock()
	if token, ok := c.tokens[id]; ok {
		params.ConsistencyToken = &token
	}
	c.mu.Unlock()
	resp, err := c.queries.GetCustomerWithResponse(ctx, id, params)
	if err != nil {
		return nil, err
	}
	if resp.JSON200 == nil {
		return nil, failure(resp.HTTPResponse, resp.Body)
	}
	return resp.JSON200, nil
}

func (c *Customers) commanded(resp *http.Response, body []byte, customer *Customer) (*Customer, error) {
	if customer == nil {
		return nil, failure(resp, body)
	}
	c.remember(customer.Id.String(), resp.Header.Get("Consistency-Token"))
	return customer, nil
}

func (c *Customers) remember(id, token string) {
	if token == "" {
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

func failure(resp *http.Response, body []byte) error {
	e := &Error{StatusCode: resp.StatusCode, Header: resp.Header}
	if err := json.Unmarshal(body, &e.Problem); err != nil {
		e.Problem = Problem{}
	}
	return e
}

func ifMatch(version int64) *IfMatch {
	if version <= 0 {
		return nil
	}
	tag := `"` + strconv.FormatInt(version, 10) + `"`
	return &tag
}

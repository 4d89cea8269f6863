package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Client is a plain HTTP client of the service. It takes the processes of one
// kind in turn, so that with several of them a read hardly ever goes where the
// write went.
type Client struct {
	http             *http.Client
	commands, reads  []string
	nextWrite, nextR atomic.Uint64
}

// NewClient returns a client of all of the cluster's APIs.
func (c *Cluster) NewClient() *Client {
	client := &Client{http: &http.Client{
		Timeout: 20 * time.Second,
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 512, MaxIdleConns: 2048,
		},
	}}
	for _, p := range c.Commands {
		client.commands = append(client.commands, p.URL())
	}
	for _, p := range c.Queries {
		client.reads = append(client.reads, p.URL())
	}
	return client
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Token is the answer's consistency token.
func (a Answer) Token() string { return a.Header.Get("Consistency-Token") }

// Document is the customer as the contract has it, as far as tests look at it.
type Document struct {
	ID        string  `json:"id"`
	Version   int64   `json:"version"`
	Status    string  `json:"status"`
	FirstName *string `json:"first_name"`
	LastName  *string `json:"last_name"`
	Email     string  `json:"email"`
	Phone     *string `json:"phone"`
}

// Document decodes the answer's body.
func (a Answer) Document() (Document, error) {
	var d Document
	if err := json.Unmarshal(a.Body, &d); err != nil {
		return d, fmt.Errorf("not a customer: %w: %.200s", err, a.Body)
	}
	return d, nil
}

// Write sends a command; header pairs may follow.
func (c *Client) Write(ctx context.Context, method, path, body string, header ...string) (Answer, error) {
	base := c.commands[c.nextWrite.Add(1)%uint64(len(c.commands))]
	return c.do(ctx, method, base+path, body, header)
}

// Read sends a GET; header pairs may follow.
func (c *Client) Read(ctx context.Context, path string, header ...string) (Answer, error) {
	base := c.reads[c.nextR.Add(1)%uint64(len(c.reads))]
	return c.do(ctx, http.MethodGet, base+path, "", header)
}

// ReadFrom sends a GET to one process.
func (c *Client) ReadFrom(ctx context.Context, p *Process, path string, header ...string) (Answer, error) {
	return c.do(ctx, http.MethodGet, p.URL()+path, "", header)
}

// Search sends a search; header pairs may follow.
func (c *Client) Search(ctx context.Context, body string, header ...string) (Answer, error) {
	base := c.reads[c.nextR.Add(1)%uint64(len(c.reads))]
	return c.do(ctx, http.MethodPost, base+"/v1/customers/search", body, header)
}

func (c *Client) do(ctx context.Context, method, url, body string, header []string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return Answer{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Status: res.StatusCode, Header: res.Header, Body: text}, nil
}

// Insist sends a command until it gets an answer that settles it, through lost
// connections and 503s, always under one Idempotency-Key. So the command takes
// effect once, however often it was sent. It returns how often that was.
func (c *Client) Insist(ctx context.Context, method, path, body string, header ...string) (Answer, int, error) {
	header = append([]string{"Idempotency-Key", uuid.NewString()}, header...)
	for tries := 1; ; tries++ {
		a, err := c.Write(ctx, method, path, body, header...)
		switch {
		case ctx.Err() != nil:
			return a, tries, errors.Join(ctx.Err(), err)
		case err == nil && a.Status != http.StatusServiceUnavailable && a.Status != http.StatusConflict,
			err == nil && a.Status == http.StatusConflict && !bytes.Contains(a.Body, []byte("idempotency-in-flight")):
			return a, tries, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	dialTimeout    = time.Second
	commandTimeout = 3 * time.Second
	// A read waits two seconds for what its token names; the rest is for
	// a machine that is busy.
	readWait    = 2
	readTimeout = readWait*time.Second + 1500*time.Millisecond
)

// newHTTP is a client's own connections, kept alive, so that it meets those that
// were reset or lead nowhere any more.
func newHTTP() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true,
	}}
}

// request is one to send, to any of the processes.
type request struct {
	method, path string
	media        string // of body
	body         []byte
	header       []string // name, value, name, value
}

// reply is what came back of one attempt: an answer, read to its end, or err.
type reply struct {
	sent    bool // whether a connection was there to send it on
	err     error
	process string
	status  int
	code    string // of the problem
	header  http.Header
	body    []byte
}

func (r *reply) json() bool { return json.Valid(r.body) }

// version is the answer's ETag, 0 for none.
func (r *reply) version() int64 {
	v, err := strconv.ParseInt(strings.Trim(r.header.Get("ETag"), `"`), 10, 64)
	if err != nil {
		return 0
	}
	return v
}

// retryAfter is how long the answer asks to wait, at most limit.
func (r *reply) retryAfter(limit time.Duration) time.Duration {
	seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, limit)
}

// attempt sends req to one process once.
func (c *client) attempt(ctx context.Context, to Endpoint, req *request, within time.Duration) *reply {
	out := &reply{process: to.Name, header: http.Header{}}
	var sent atomic.Bool
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	res, err := c.send(ctx, to, req)
	if err == nil {
		out.status, out.header = res.StatusCode, res.Header
		out.body, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
	}
	out.sent = sent.Load()
	if err != nil {
		// Half an answer is none: what it would have said is not known.
		out.err, out.status = err, 0
		return out
	}
	if res.StatusCode >= 400 {
		out.code = codeOf(out.body)
	}
	return out
}

func (c *client) send(ctx context.Context, to Endpoint, req *request) (*http.Response, error) {
	var body io.Reader
	if len(req.body) > 0 {
		// No *bytes.Reader, which net/http could rewind: a request that was on its
		// way is not to be sent again unseen, or a refusal would not tell that
		// nothing happened.
		body = io.MultiReader(bytes.NewReader(req.body))
	}
	r, err := http.NewRequestWithContext(ctx, req.method, to.URL+req.path, body)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	r.ContentLength = int64(len(req.body))
	if req.media != "" {
		r.Header.Set("Content-Type", req.media)
	}
	for i := 0; i+1 < len(req.header); i += 2 {
		// Not in canonical form, for the same reason: net/http sends a request
		// with an Idempotency-Key again by itself when it knows it by that name.
		r.Header[strings.ToLower(req.header[i])] = []string{req.header[i+1]}
	}
	return c.http.Do(r)
}

func codeOf(problem []byte) string {
	var p struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(problem, &p) != nil {
		return ""
	}
	return p.Code
}

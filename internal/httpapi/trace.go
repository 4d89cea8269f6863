package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"strings"
)

// Trace places a request in a distributed trace.
type Trace struct {
	ID     string // 32 hexadecimal digits, in every log line and problem
	Parent string // the traceparent recorded with events
}

type contextKey int

const (
	traceKey contextKey = iota
	principalKey
	unboundedKey
	mediaKey
	placeKey
)

// newTrace continues the trace of the one traceparent header there is, or
// begins one when there is none that W3C Trace Context lets pass.
func newTrace(headers []string, pattern *regexp.Regexp) Trace {
	if len(headers) == 1 {
		if m := pattern.FindStringSubmatch(headers[0]); m != nil && strings.Trim(m[1], "0") != "" && strings.Trim(m[2], "0") != "" {
			return Trace{ID: m[1], Parent: m[0]}
		}
	}
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails, as of Go 1.24
	id := hex.EncodeToString(b[:16])
	return Trace{ID: id, Parent: "00-" + id + "-" + hex.EncodeToString(b[16:]) + "-00"}
}

// traceparentPattern is version 00's format, the only one that can be passed on
// without understanding what else a later version may hold.
func traceparentPattern() *regexp.Regexp {
	return regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$`)
}

// TraceOf is the trace of the request that ctx is of.
func TraceOf(ctx context.Context) Trace {
	t, _ := ctx.Value(traceKey).(Trace)
	return t
}

// PrincipalOf is who sent the request that ctx is of.
func PrincipalOf(ctx context.Context) string {
	p, _ := ctx.Value(principalKey).(string)
	return p
}

// streaming is a request's context without the bound on its duration.
type streaming struct {
	context.Context // as net/http made it: it ends when the client goes
	values          context.Context
}

// Value is that of the request's own context.
func (s streaming) Value(key any) any { return s.values.Value(key) }

// Streaming is ctx, a request's, without the bound on its duration: for what
// takes as long as the client sends or reads. It still ends with the client.
// Whoever uses it bounds each step, and moves the connection's deadlines on.
func Streaming(ctx context.Context) context.Context {
	unbounded, ok := ctx.Value(unboundedKey).(context.Context)
	if !ok {
		return ctx
	}
	return streaming{Context: unbounded, values: ctx}
}

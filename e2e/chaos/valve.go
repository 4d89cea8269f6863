package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"sync"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// valveType is what toxiproxy knows the valve by.
const valveType = "valve"

// valveBuffer is how many chunks wait in one direction of a connection, as in
// flight over a slow network. Without room latency would act as a bandwidth.
const valveBuffer = 256

// valve is a toxic that does as another toxic does, and changes which one
// while data flows, for all connections of a link in one direction.
type valve struct {
	mu      sync.Mutex
	current *turn
}

// turn is the time between two changes of a valve.
type turn struct {
	toxic toxics.Toxic
	lossy bool // what it did to the data cannot be made up for
	over  chan struct{}
	pipes sync.WaitGroup // those that still do as its toxic does
}

// registerValve also silences toxiproxy, which logs through a package variable.
var registerValve = sync.OnceFunc(func() {
	toxics.Register(valveType, new(valve))
	zerolog.SetGlobalLevel(zerolog.Disabled)
})

// addValve puts an open valve into every pipe of a proxy in one direction. It is to
// be called before there are any.
func addValve(proxy *toxiproxy.Proxy, direction stream.Direction) (*valve, error) {
	registerValve()
	spec, err := json.Marshal(map[string]any{"type": valveType, "stream": direction.String(), "attributes": map[string]any{}})
	if err != nil {
		return nil, err
	}
	wrapper, err := proxy.Toxics.AddToxicJson(bytes.NewReader(spec))
	if err != nil {
		return nil, fmt.Errorf("add a valve: %w", err)
	}
	v, ok := wrapper.Toxic.(*valve)
	if !ok {
		return nil, fmt.Errorf("toxiproxy made a %T of a valve", wrapper.Toxic)
	}
	v.set(new(toxics.NoopToxic), false)
	return v, nil
}

// set makes the valve do as toxic does from now on, and returns the turn that
// is over. After a lossy toxic the connections it acted on are closed: a peer
// that goes on would find a hole in the stream, and TCP has none.
func (v *valve) set(toxic toxics.Toxic, lossy bool) *turn {
	v.mu.Lock()
	defer v.mu.Unlock()
	last := v.current
	v.current = &turn{toxic: toxic, lossy: lossy, over: make(chan struct{})}
	if last != nil {
		close(last.over)
	}
	return last
}

// enter adds a pipe to the turn of now.
func (v *valve) enter() *turn {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.current.pipes.Add(1)
	return v.current
}

// left waits until no pipe does as the turn's toxic does, but no longer than
// until ctx ends: a pipe whose reader hangs changes when that reads on.
func (t *turn) left(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.pipes.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// GetBufferSize implements [toxics.BufferedToxic].
func (*valve) GetBufferSize() int { return valveBuffer }

// Pipe implements [toxics.Toxic].
func (v *valve) Pipe(stub *toxics.ToxicStub) {
	for v.take(stub, v.enter()) {
	}
}

// take does as the turn's toxic does until the turn is over, and tells whether
// the stream is not.
func (v *valve) take(stub *toxics.ToxicStub, now *turn) bool {
	defer now.pipes.Done()
	part := toxics.NewToxicStub(stub.Input, stub.Output)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		part.Run(&toxics.ToxicWrapper{Toxic: now.toxic, Toxicity: 1})
	}()
	select {
	case <-ended: // and the toxic has closed its output
		return false
	case <-now.over:
	}
	if !part.InterruptToxic() {
		return false
	}
	if now.lossy {
		part.Close()
	}
	return !now.lossy
}

// address is the host and port of a URL.
func address(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Port() == "" {
		return "", fmt.Errorf("%q has no host and port to lead to", raw)
	}
	return u.Host, nil
}

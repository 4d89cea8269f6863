package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"

	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

// Link carries all connections of one process to one service. It listens on
// loopback, and what passes through can be slowed, cut or lost.
//
// The pipes and what they do to data are toxiproxy's. Its own listener is not
// used, because it can neither reset a connection nor give up dialling a
// service that hangs; and its toxics are not added to and removed from running
// connections, because that waits for ever for one whose end has just gone.
// Instead every pipe has one [valve], and what the valve does is changed.
type Link struct {
	Process string
	Service devstack.Kind

	listen, upstream string
	proxy            *toxiproxy.Proxy
	server           *toxiproxy.ApiServer
	up, down         *valve
	carried          atomic.Int64

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	pairs    map[*pair]struct{}
}

// pair is a client's connection and the service's that it leads to.
type pair struct{ client, service *net.TCPConn }

func newLink(process string, service devstack.Kind, upstream string) (*Link, error) {
	port, err := devstack.FreePort() // below the ephemeral range: still free after a refusal
	if err != nil {
		return nil, err
	}
	k := &Link{
		Process: process, Service: service, upstream: upstream,
		listen: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		server: &toxiproxy.ApiServer{Metrics: toxiproxy.NewMetricsContainer(nil)},
		pairs:  make(map[*pair]struct{}),
	}
	k.proxy = &toxiproxy.Proxy{Name: k.Name()}
	k.proxy.Toxics = toxiproxy.NewToxicCollection(k.proxy)
	if k.up, err = addValve(k.proxy, stream.Upstream); err != nil {
		return nil, err
	}
	if k.down, err = addValve(k.proxy, stream.Downstream); err != nil {
		return nil, err
	}
	return k, k.accept()
}

// Name is as in command-api-1→postgres.
func (k *Link) Name() string { return k.Process + "→" + string(k.Service) }

// Carried is how many connections came through so far.
func (k *Link) Carried() int64 { return k.carried.Load() }

// accept takes connections until refuse is called.
func (k *Link) accept() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", k.listen)
	if err != nil {
		return fmt.Errorf("revive %s: %w", k.Name(), err)
	}
	k.listener = l
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // closed
			}
			if tcp, ok := client.(*net.TCPConn); ok {
				go k.connect(tcp)
			}
		}
	}()
	return nil
}

// connect leads a client to the service. One that the service does not take is
// reset, which is as near to a refusal as a proxy can come.
func (k *Link) connect(client *net.TCPConn) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", k.upstream)
	service, ok := conn.(*net.TCPConn)
	if err != nil || !ok {
		reset(client)
		return
	}
	p := &pair{client: client, service: service}
	k.mu.Lock()
	if k.listener == nil {
		k.mu.Unlock()
		reset(client)
		reset(service)
		return
	}
	k.pairs[p] = struct{}{}
	k.mu.Unlock()
	name := client.RemoteAddr().String() + "#" + strconv.FormatInt(k.carried.Add(1), 10)
	k.proxy.Toxics.StartLink(k.server, name+"up", client, &end{p.service, k, p}, stream.Upstream)
	k.proxy.Toxics.StartLink(k.server, name+"down", service, &end{p.client, k, p}, stream.Downstream)
}

// end is where a pipe writes to. Once either of a pair's is closed the pair is
// done, as neither PostgreSQL, AMQP nor Redis goes on with half a connection.
type end struct {
	*net.TCPConn
	link *Link
	pair *pair
}

// Close implements [io.Closer].
func (e *end) Close() error {
	e.link.mu.Lock()
	delete(e.link.pairs, e.pair)
	e.link.mu.Unlock()
	return errors.Join(ignoreClosed(e.pair.client.Close()), ignoreClosed(e.pair.service.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// refuse closes the listener and cuts what is open.
func (k *Link) refuse() {
	k.mu.Lock()
	if k.listener != nil {
		_ = k.listener.Close()
		k.listener = nil
	}
	k.mu.Unlock()
	k.cut()
}

// cut resets all connections, on both sides.
func (k *Link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p := range k.pairs {
		reset(p.client)
		reset(p.service)
	}
	clear(k.pairs)
}

// reset closes with RST: what was not sent yet is lost, and the other end gets
// an error instead of an end.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// Links are the links of a cluster, made as its processes ask for URLs.
type Links struct {
	mu    sync.Mutex
	all   []*Link
	fault error
}

// NewLinks returns no links yet.
func NewLinks() *Links { return new(Links) }

// URL leads process to the service at url through a link; it fits
// cluster.Options. Several URLs of one service share the link.
func (l *Links) URL(process string, service devstack.Kind, url string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	addr, err := address(url)
	if err != nil {
		l.fault = errors.Join(l.fault, err)
		return url
	}
	for _, k := range l.all {
		if k.Process == process && k.Service == service && k.upstream == addr {
			return strings.Replace(url, addr, k.listen, 1)
		}
	}
	k, err := newLink(process, service, addr)
	if err != nil {
		l.fault = errors.Join(l.fault, fmt.Errorf("make a link from %s to %s: %w", process, service, err))
		return url
	}
	l.all = append(l.all, k)
	return strings.Replace(url, addr, k.listen, 1)
}

// Find returns the links of a process to a service; an empty word means any.
func (l *Links) Find(process string, service devstack.Kind) []*Link {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []*Link
	for _, k := range l.all {
		if (process == "" || k.Process == process) && (service == "" || k.Service == service) {
			found = append(found, k)
		}
	}
	return found
}

// Err says what went wrong when links were made.
func (l *Links) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

// Close cuts and ends all links.
func (l *Links) Close() {
	for _, k := range l.Find("", "") {
		k.refuse()
	}
}

package rediscache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ebrahem-outlook/customer-service/internal/query"
)

const (
	// listenPing is how often a subscription is asked whether it lives. An answer
	// proves what was announced before the question, and readers rely on proofs of
	// up to a second: three may be late before they have to do without.
	listenPing = 250 * time.Millisecond
	// listenPatience is how long a subscription may owe an answer before another
	// connection is worth trying.
	listenPatience = 3 * time.Second
	// listenElsewhere is how long announcements of a server that the projector
	// does not name are listened to: its identity may have changed since, and a
	// subscribed connection cannot be asked.
	listenElsewhere = 5 * time.Second
)

var (
	errSilent     = errors.New("no answer on the subscription")
	errUnexpected = errors.New("unexpected message on the subscription")
)

// Listen tells to what is announced.
//
// The driver subscribes anew by itself when a connection fails, and what was
// announced in between is lost. So whatever is not in the course of one
// connection ends the listening: an error, a second confirmation, an answer
// that was not asked for.
func (r *Reader) Listen(ctx context.Context, to query.Listener) error {
	var server string
	o := r.options()
	o.PoolSize = 1
	o.OnConnect = func(ctx context.Context, conn *redis.Conn) (err error) {
		server, err = identity(ctx, conn)
		return err
	}
	own := redis.NewClient(o)
	defer func() { _ = own.Close() }()
	sub := own.Subscribe(ctx)
	defer func() { _ = sub.Close() }()
	// Receiving ends with its connection, not with its context.
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
	if err := sub.Subscribe(ctx, r.channel()); err != nil {
		return r.listenError(ctx, err)
	}
	if m, err := sub.ReceiveTimeout(ctx, o.ReadTimeout); err != nil {
		return r.listenError(ctx, err)
	} else if _, ok := m.(*redis.Subscription); !ok {
		return r.listenError(ctx, errUnexpected)
	}
	to.Connected(server)
	return r.listenError(ctx, r.follow(ctx, sub, server, to))
}

func (r *Reader) listenError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("listen: %w", err)
}

// follow reads a subscription until it ends. One goroutine asks and reads, so
// that an answer is told after everything that came before it.
func (r *Reader) follow(ctx context.Context, sub *redis.PubSub, server string, to query.Listener) error {
	began := time.Now()
	var asked, next time.Time // of the ping under way, zero when none is; when to ask again
	for n := 0; ; {
		now := time.Now()
		switch {
		case !asked.IsZero() && now.Sub(asked) > listenPatience:
			return errSilent
		case now.Sub(began) > listenElsewhere && r.elsewhere(server):
			return errMoved
		case asked.IsZero() && !now.Before(next):
			n++
			asked, next = now, now.Add(listenPing)
			if err := sub.Ping(ctx, strconv.Itoa(n)); err != nil {
				return err
			}
		}
		received, err := sub.ReceiveTimeout(ctx, max(time.Until(next), time.Millisecond))
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() && ctx.Err() == nil {
			if !asked.IsZero() {
				next = time.Now().Add(listenPing)
			}
			continue
		}
		if err != nil {
			return err
		}
		switch m := received.(type) {
		case *redis.Message:
			if id, v, err := parseAnnouncement(m.Payload); err == nil {
				to.Changed(id, v)
			}
		case *redis.Pong:
			if asked.IsZero() || m.Payload != strconv.Itoa(n) {
				return errUnexpected
			}
			to.Heard(asked)
			asked = time.Time{}
		default:
			return errUnexpected
		}
	}
}

// elsewhere tells whether the projector names another server than this one.
func (r *Reader) elsewhere(server string) bool {
	state := r.state.Load()
	return state != nil && state.RunID != "" && state.RunID != server
}

package chaos

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

// echo answers with what it gets, and counts that.
type echo struct {
	addr string
	got  atomic.Int64
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	e := &echo{addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				b := make([]byte, 64<<10)
				for {
					n, err := conn.Read(b)
					if err != nil {
						return
					}
					e.got.Add(int64(n))
					if _, err := conn.Write(b[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return e
}

// world is one link to an echo, and a connection through it that works.
type world struct {
	*echo
	link *Link
	conn net.Conn
	rnd  *rand.Rand
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{echo: newEcho(t), rnd: rand.New(rand.NewPCG(1, 2))}
	links := NewLinks()
	t.Cleanup(links.Close)
	url := links.URL("p-1", devstack.Redis, "redis://"+w.addr+"/0")
	require.NoError(t, links.Err())
	found := links.Find("p-1", devstack.Redis)
	require.Len(t, found, 1)
	w.link = found[0]
	require.Equal(t, "redis://"+w.link.listen+"/0", url)
	w.conn = w.dial(t)
	w.say(t, w.conn, "hello")
	return w
}

func (w *world) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", w.link.listen)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// say sends and waits for all of the echo; it tells how long that took.
func (w *world) say(t *testing.T, conn net.Conn, text string) time.Duration {
	t.Helper()
	began := time.Now()
	require.NoError(t, conn.SetDeadline(began.Add(20*time.Second)))
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
	back := make([]byte, len(text))
	_, err = io.ReadFull(conn, back)
	require.NoError(t, err)
	require.True(t, bytes.Equal([]byte(text), back), "what comes back is something else")
	return time.Since(began)
}

// strike does damage until the returned function is called, which waits until
// all is mended.
func (w *world) strike(t *testing.T, d Damage) (mend func()) {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	_, mended, err := Break(ctx, []*Link{w.link}, d, w.rnd)
	require.NoError(t, err)
	t.Cleanup(end)
	return func() {
		end()
		require.NoError(t, mended())
	}
}

// silent tells that a read gets nothing for a while, and that the connection is open.
func (w *world) silent(t *testing.T, conn net.Conn) {
	t.Helper()
	require.NoError(t, conn.SetDeadline(time.Now().Add(300*time.Millisecond)))
	n, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Zero(t, n)
}

// gone waits until the connection ends and returns how.
func (w *world) gone(t *testing.T, conn net.Conn) error {
	t.Helper()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err := io.Copy(io.Discard, conn)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection stays open")
	return err
}

func TestLatencyAndBandwidthAndCrumbsSlowWhatPasses(t *testing.T) {
	t.Parallel()
	for damage, least := range map[Damage]time.Duration{Latency: 200 * time.Millisecond, Bandwidth: 500 * time.Millisecond, Slicer: 0} {
		t.Run(string(damage), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			text := strings.Repeat("0123456789", 50)
			if damage == Bandwidth {
				text = strings.Repeat(text, 60) // 30 kB at no more than 50 kB/s
			}
			mend := w.strike(t, damage)
			require.GreaterOrEqual(t, w.say(t, w.conn, text), least)
			other := w.dial(t)
			require.GreaterOrEqual(t, w.say(t, other, text), least, "a new connection is slow too")
			mend()
			w.say(t, w.conn, "hello")
			require.Less(t, w.say(t, w.conn, "hello"), 150*time.Millisecond)
			require.Less(t, w.say(t, other, "hello"), 150*time.Millisecond)
		})
	}
}

func TestStallKeepsEverythingForLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mend := w.strike(t, Stall)
	text := strings.Repeat("all of it", 100)
	_, err := io.WriteString(w.conn, text)
	require.NoError(t, err)
	w.silent(t, w.conn)
	require.EqualValues(t, len("hello"), w.got.Load(), "it passed")
	mend()
	require.NoError(t, w.conn.SetDeadline(time.Now().Add(10*time.Second)))
	back := make([]byte, len(text))
	_, err = io.ReadFull(w.conn, back)
	require.NoError(t, err)
	require.Equal(t, text, string(back))
	w.say(t, w.conn, "hello")
}

func TestHalfOpenLosesDataAndResetsInTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mend := w.strike(t, HalfOpen)
	for _, conn := range []net.Conn{w.conn, w.dial(t)} {
		_, err := io.WriteString(conn, "lost")
		require.NoError(t, err)
		w.silent(t, conn)
	}
	require.EqualValues(t, len("hello"), w.got.Load(), "it passed")
	mend()
	require.ErrorIs(t, w.gone(t, w.conn), syscall.ECONNRESET)
	w.say(t, w.dial(t), "hello")
	require.EqualValues(t, 2*len("hello"), w.got.Load(), "it passed later")
}

func TestOneWayLosesOneDirection(t *testing.T) {
	t.Parallel()
	requests, replies := 0, 0
	for i := range 20 {
		if i >= 2 && requests > 0 && replies > 0 {
			break
		}
		w := newWorld(t)
		w.rnd = rand.New(rand.NewPCG(uint64(i), 0))
		mend := w.strike(t, OneWay)
		_, err := io.WriteString(w.conn, "passing?")
		require.NoError(t, err)
		w.silent(t, w.conn)
		if w.got.Load() == int64(len("hello")) {
			requests++
		} else {
			replies++
		}
		mend()
		require.ErrorIs(t, w.gone(t, w.conn), syscall.ECONNRESET)
		w.say(t, w.dial(t), "hello")
	}
	require.Positive(t, requests)
	require.Positive(t, replies)
}

func TestLostRepliesReachTheServiceAndNotTheClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mend := w.strike(t, LostReplies)
	lost, answered := 0, 0
	deadline := time.Now().Add(20 * time.Second)
	for (lost < 3 || answered < 3) && time.Now().Before(deadline) {
		conn := w.dial(t)
		before := w.got.Load()
		for conn != nil {
			require.NoError(t, conn.SetDeadline(deadline))
			_, err := io.WriteString(conn, "commit")
			if err == nil {
				_, err = io.ReadFull(conn, make([]byte, len("commit")))
			}
			switch {
			case err == nil:
				answered++
				before = w.got.Load()
			case w.got.Load() > before:
				lost++
				fallthrough
			default:
				conn = nil
			}
		}
	}
	mend()
	require.GreaterOrEqual(t, lost, 3, "requests that passed and whose replies were lost")
	require.GreaterOrEqual(t, answered, 3, "requests that were answered in between")
	w.say(t, w.dial(t), "hello")
}

func TestResetPeerResets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mend := w.strike(t, ResetPeer)
	require.ErrorIs(t, w.gone(t, w.conn), syscall.ECONNRESET)
	mend()
	w.say(t, w.dial(t), "hello")
}

func TestRefusedRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mend := w.strike(t, Refused)
	require.ErrorIs(t, w.gone(t, w.conn), syscall.ECONNRESET)
	_, err := net.Dial("tcp", w.link.listen)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	mend()
	w.say(t, w.dial(t), "hello")
	require.EqualValues(t, 2, w.link.Carried())
}

func TestAServiceThatDoesNotListenIsAReset(t *testing.T) {
	t.Parallel()
	port, err := devstack.FreePort()
	require.NoError(t, err)
	links := NewLinks()
	t.Cleanup(links.Close)
	links.URL("p-1", devstack.Redis, "redis://"+(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String())
	conn, err := net.Dial("tcp", links.Find("", "")[0].listen)
	if err == nil {
		defer conn.Close()
		_, err = io.ReadAll(conn)
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestLinksAreSharedByAServicesURLs(t *testing.T) {
	t.Parallel()
	e := newEcho(t)
	links := NewLinks()
	t.Cleanup(links.Close)
	a := links.URL("p-1", devstack.Postgres, "postgres://u@"+e.addr+"/a")
	b := links.URL("p-1", devstack.Postgres, "postgres://u@"+e.addr+"/b")
	other := links.URL("p-2", devstack.Postgres, "postgres://u@"+e.addr+"/a")
	require.Equal(t, strings.TrimSuffix(a, "a"), strings.TrimSuffix(b, "b"))
	require.NotEqual(t, a, other)
	require.Len(t, links.Find("", devstack.Postgres), 2)
	require.Len(t, links.Find("p-1", ""), 1)
	require.Empty(t, links.Find("", devstack.Redis))
	require.NoError(t, links.Err())
	require.Equal(t, "nonsense", links.URL("p-1", devstack.Redis, "nonsense"))
	require.Error(t, links.Err())
}

// The end of one side is the end of the other, at any time.
func TestEndsReachTheOtherSide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.conn.Close())
	require.Eventually(t, func() bool {
		w.link.mu.Lock()
		defer w.link.mu.Unlock()
		return len(w.link.pairs) == 0
	}, 5*time.Second, 5*time.Millisecond)

	conn := w.dial(t)
	w.say(t, conn, "hello")
	mend := w.strike(t, HalfOpen)
	mend()
	err := w.gone(t, conn)
	require.True(t, errors.Is(err, syscall.ECONNRESET), "%v", err)
}

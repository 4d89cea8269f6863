package httpapi

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
)

// A message with both Content-Length and Transfer-Encoding is how requests are
// smuggled past a proxy that believes the other one (RFC 9112 §6.1, §11.2).
// net/http believes Transfer-Encoding and drops Content-Length before a handler
// can see it, so the bytes are looked at on their way in: framedConn follows the
// messages of a connection just well enough to know where each header begins.
// Whatever it cannot follow net/http refuses by itself.

// framedListener watches the framing of HTTP/1.1 messages on its connections.
type framedListener struct {
	net.Listener
	log *slog.Logger
}

func (l framedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &framedConn{Conn: conn, log: l.log}, nil
}

type framedConn struct {
	net.Conn
	log     *slog.Logger
	framing framing // used by the one reader that net/http has
	doubted atomic.Bool
}

func (c *framedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.doubted.Load() && c.framing.feed(b[:n]) {
		c.doubted.Store(true)
	}
	return n, err
}

type framedKey struct{}

// withFraming is for http.Server.ConnContext.
func withFraming(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, framedKey{}, conn)
}

// ambiguous tells that a message on the request's connection was doubtful: this
// one, or one sent behind it without waiting, which says as little good.
func ambiguous(ctx context.Context) bool {
	c, ok := ctx.Value(framedKey{}).(*framedConn)
	return ok && c.doubted.Load()
}

// maxHeader is how many bytes of header net/http takes at most; what is longer
// it refuses, so there is nothing more to follow.
const maxHeader = 16 << 10

type framingState uint8

const (
	inHeader framingState = iota
	inBody
	inChunkSize
	inChunkEnd
	inTrailer
	lost // not to be followed any further
)

// framing follows the messages of one connection.
type framing struct {
	state framingState
	line  []byte // of the header, size or trailer being read
	size  int    // of the header so far
	left  int64  // of the body or chunk

	lengths, codings int // Content-Length and Transfer-Encoding lines of this header
	length           int64
	chunked          bool
}

// feed looks at the next bytes and tells whether a header among them has both.
func (f *framing) feed(b []byte) bool {
	for len(b) > 0 && f.state != lost {
		if f.state == inBody {
			n := min(f.left, int64(len(b)))
			b, f.left = b[n:], f.left-n
			if f.left == 0 {
				f.state = f.after()
			}
			continue
		}
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			f.keep(b)
			return false
		}
		f.keep(b[:end])
		b = b[end+1:]
		if f.state == lost {
			return false
		}
		line := strings.TrimSuffix(string(f.line), "\r")
		f.line = f.line[:0]
		if f.endLine(line) {
			return true
		}
	}
	return false
}

func (f *framing) keep(b []byte) {
	f.line = append(f.line, b...)
	if f.size += len(b); f.size > maxHeader+4096 { // the slack is net/http's own
		f.state, f.line = lost, nil
	}
}

func (f *framing) after() framingState {
	f.size = 0
	if f.chunked {
		return inChunkEnd
	}
	f.reset()
	return inHeader
}

func (f *framing) reset() { *f = framing{line: f.line[:0]} }

func (f *framing) endLine(line string) (doubtful bool) {
	switch f.state {
	case inHeader:
		return f.headerLine(line)
	case inChunkSize:
		size, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseInt(strings.TrimSpace(size), 16, 64)
		f.size = 0
		switch {
		case err != nil || n < 0:
			f.state = lost
		case n == 0:
			f.state = inTrailer
		default:
			f.state, f.left = inBody, n
		}
	case inChunkEnd:
		f.state = inChunkSize
	case inTrailer:
		if line == "" {
			f.reset()
		}
	}
	return false
}

func (f *framing) headerLine(line string) (doubtful bool) {
	if line == "" {
		doubtful = f.lengths > 0 && f.codings > 0
		switch {
		case f.codings > 0 && f.chunked:
			f.state, f.size = inChunkSize, 0
		case f.codings > 0:
			f.state = lost // net/http answers 501
		case f.length > 0:
			f.state, f.left = inBody, f.length
		default:
			f.reset()
		}
		return doubtful
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return false // the request line, or what net/http refuses
	}
	switch value = strings.Trim(value, " \t"); {
	case strings.EqualFold(strings.TrimSpace(name), "Content-Length"):
		f.lengths++
		f.length, _ = strconv.ParseInt(value, 10, 64)
	case strings.EqualFold(strings.TrimSpace(name), "Transfer-Encoding"):
		f.codings++
		f.chunked = strings.EqualFold(value, "chunked")
	}
	return false
}

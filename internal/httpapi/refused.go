package httpapi

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/ebrahem-outlook/customer-service/api"
)

// What cannot be read as a request reaches no handler: net/http answers it by
// itself, in one write, in plain text. Such an answer is found on its way out
// and made a problem, so that a client has one form of error to know.

// plainRefusal is how net/http's own answers go on after the status line. A
// handler's never do: each has the headers that setHeaders gives it, and
// Cache-Control sorts first.
const plainRefusal = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

func (c *framedConn) Write(b []byte) (int, error) {
	status, ok := refusedByNetHTTP(b)
	if !ok {
		return c.Conn.Write(b)
	}
	trace := newTrace(nil, nil).ID
	// No request was read, so there is none whose context it could have.
	c.log.Info("message could not be read", "status", status, "trace_id", trace) //nolint:sloglint // see above
	answer, err := unreadable(status, trace)
	if err != nil {
		return 0, err
	}
	if _, err := c.Conn.Write(answer); err != nil {
		return 0, err
	}
	return len(b), nil
}

// CloseWrite ends what is sent and still receives. net/http asks for it before
// it hangs up on a request that it has not read to its end; without it the
// connection is reset, and the client may lose the answer.
func (c *framedConn) CloseWrite() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.CloseWrite()
	}
	return nil
}

// refusedByNetHTTP reads the status of an answer that no handler gave.
func refusedByNetHTTP(b []byte) (status int, ok bool) {
	end := bytes.IndexByte(b, '\r')
	// No route answers 417, which net/http does with no body at all.
	if end < 0 || !bytes.HasPrefix(b[end:], []byte(plainRefusal)) && !bytes.HasPrefix(b, []byte("HTTP/1.1 417 ")) {
		return 0, false
	}
	version, rest, _ := strings.Cut(string(b[:end]), " ")
	if !strings.HasPrefix(version, "HTTP/1.") || len(rest) < 3 {
		return 0, false
	}
	status, err := strconv.Atoi(rest[:3])
	return status, err == nil && http.StatusText(status) != ""
}

// unreadable is the whole answer, as bytes on the wire.
func unreadable(status int, trace string) ([]byte, error) {
	p := newProblemTypes().document(&Refusal{Code: api.MalformedRequest, Detail: whyUnreadable(status)}, trace)
	p.Status = status
	body, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {MediaProblem}, "Connection": {"close"}, "Content-Length": {strconv.Itoa(len(body))}}
	setHeaders(header)
	var out bytes.Buffer
	out.WriteString("HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status) + "\r\n")
	_ = header.Write(&out) // a Buffer takes everything
	out.WriteString("\r\n")
	out.Write(body)
	return out.Bytes(), nil
}

// whyUnreadable says what to do about it. net/http's own words may repeat a name
// from the request and are not sent.
func whyUnreadable(status int) string {
	switch status {
	case http.StatusRequestHeaderFieldsTooLarge:
		return "Nothing was done. A header may have at most " + strconv.Itoa(maxHeader) + " bytes in all."
	case http.StatusNotImplemented:
		return "Nothing was done. Of the transfer codings only chunked is known here."
	case http.StatusHTTPVersionNotSupported:
		return "Nothing was done. Speak HTTP/1.1."
	case http.StatusExpectationFailed:
		return "Nothing was done. Of the expectations only 100-continue is known here."
	default:
		return "Nothing was done. Send one well-formed HTTP/1.1 message with a Host. The connection is closed."
	}
}

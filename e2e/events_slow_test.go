package e2e

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// A client that takes nothing is cut off and loses nothing by it; others do not
// notice, and one that is stuck does not keep the process from stopping.
func TestSlowFollowersAreCutOff(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{})
	c.Projectors[0].Kill() // the table is filled by hand
	const events = 60_000
	ctx := cluster.Within(t, time.Minute)
	_, err := c.ReadModel().Exec(ctx, `
		WITH filled AS (
			INSERT INTO readmodel.events (position, event_id, type, customer_id, version, changed, at)
			SELECT n, gen_random_uuid(), 'customer.tagged', gen_random_uuid(), 1, '{tags}', now() FROM generate_series(1, $1::bigint) n)
		UPDATE readmodel.events_checkpoint SET position = $1`, events)
	require.NoError(t, err)
	q := c.Queries[0]
	before := q.ResidentMiB()

	slow := ask(t, q, 0)
	require.NoError(t, slow.SetReadBuffer(4096))
	began := time.Now()
	quickAt := readTo(t, ask(t, q, 0), events)
	require.EqualValues(t, events, quickAt)
	t.Logf("%d events in %s beside a client that takes none", events, time.Since(began).Round(time.Millisecond))

	<-time.After(11 * time.Second) // as long as a stream has patience, and a little
	at := readTo(t, slow, events)
	require.Less(t, at, int64(events), "everything fitted into the sockets' buffers, so nothing was shown")
	require.EqualValues(t, events, readTo(t, ask(t, q, at), events))
	require.Less(t, q.ResidentMiB(), before+150)
	t.Logf("cut off at %d, and then to the end; %d MiB more in all", at, q.ResidentMiB()-before)

	stuck := ask(t, q, 0)
	_, err = bufio.NewReader(stuck).ReadString('\n') // it has begun
	require.NoError(t, err)
	began = time.Now()
	code, err := q.Terminate(10 * time.Second)
	require.NoError(t, err)
	require.Zero(t, code)
	require.Less(t, time.Since(began), 5*time.Second)
}

func ask(t *testing.T, p *cluster.Process, after int64) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, "GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nLast-Event-ID: "+strconv.FormatInt(after, 10)+"\r\n\r\n")
	require.NoError(t, err)
	return conn.(*net.TCPConn)
}

// readTo reads a stream up to a position or its end and returns the last
// position that came whole.
func readTo(t *testing.T, conn net.Conn, last int64) int64 {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	var at, id int64
	lines := bufio.NewReader(conn)
	for at < last {
		line, err := lines.ReadString('\n')
		if err != nil {
			return at
		}
		if text, ok := strings.CutPrefix(line, "id: "); ok {
			id, err = strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			require.NoError(t, err)
		}
		if strings.HasPrefix(line, "data: ") {
			at = id
		}
	}
	return at
}

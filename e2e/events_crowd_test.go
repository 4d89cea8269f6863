package e2e

import (
	"bufio"
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// Thousands follow one query API at rest: they cost it bounded memory and next
// to no time, ordinary reads go on, an event reaches all of them, and all of
// them are sent away at once. EVENTS_FOLLOWERS sets how many; 2,200 unless said.
func TestThousandsFollowAtRest(t *testing.T) {
	n := 2200
	if text := os.Getenv("EVENTS_FOLLOWERS"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	c := cluster.New(t, stack, cluster.Size{})
	client := c.NewClient()
	ctx := cluster.Within(t, 80*time.Second)
	register(ctx, t, client, 1)
	q := c.Queries[0]
	before := q.ResidentMiB()

	var opened, first, second, ended atomic.Int64
	var crowd, opening errgroup.Group
	opening.SetLimit(64)
	for range n {
		opening.Go(func() error {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", q.Addr)
			if err != nil {
				return err
			}
			context.AfterFunc(ctx, func() { _ = conn.Close() })
			if _, err := conn.Write([]byte("GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")); err != nil {
				return err
			}
			opened.Add(1)
			crowd.Go(func() error {
				defer conn.Close()
				lines := bufio.NewReaderSize(conn, 512) // what the test itself holds
				for {
					line, err := lines.ReadString('\n')
					if err != nil {
						return nil
					}
					switch strings.TrimSpace(line) {
					case "id: 1":
						first.Add(1)
					case "id: 2":
						second.Add(1)
					case "0": // the last chunk: a proper end, not a cut
						ended.Add(1)
					}
				}
			})
			return nil
		})
	}
	require.NoError(t, opening.Wait())
	reached := func(count *atomic.Int64) {
		t.Helper()
		require.NoError(t, cluster.Poll(ctx, 20*time.Millisecond, func() bool { return count.Load() == int64(n) }), "%d of %d", count.Load(), n)
	}
	reached(&first)

	resident := q.ResidentMiB()
	spent := cpuOf(t, q)
	rest := 5 * time.Second
	<-time.After(rest)
	share := float64(cpuOf(t, q)-spent) / float64(rest)
	t.Logf("%d followers at rest: %d MiB more, %.1f kB each, %.1f%% of one core", n, resident-before, float64(resident-before)*1024/float64(n), 100*share)
	require.Less(t, resident-before, int64(n)*80/1024+30, "a follower costs more than 80 kB")
	require.Less(t, share, 0.25)

	quick(ctx, t, client)
	began := time.Now()
	reached(&second)
	t.Logf("an event reached all of them within %s", time.Since(began).Round(time.Millisecond))

	began = time.Now()
	code, err := q.Terminate(15 * time.Second)
	require.NoError(t, err)
	require.Zero(t, code)
	require.NoError(t, crowd.Wait())
	require.EqualValues(t, n, ended.Load())
	t.Logf("all of them were sent away within %s", time.Since(began).Round(time.Millisecond))
}

// cpuOf is how much processor time a process has had.
func cpuOf(t *testing.T, p *cluster.Process) time.Duration {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.Pid()), "stat"))
	require.NoError(t, err)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, i := range []int{11, 12} { // user and system time, proc(5), in hundredths
		n, err := strconv.ParseInt(fields[i], 10, 64)
		require.NoError(t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

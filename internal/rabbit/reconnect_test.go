//go:build !race

package rabbit_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/rabbit/rabbittest"
)

// Not under the race detector: watermill-amqp v2.1.3 replaces the channel that
// tells of a connection (ConnectionWrapper.connected) while its subscriptions
// read it. Either value makes a subscription look again 0.1 s later.
func TestSubscribeSurvivesAnAbsentBroker(t *testing.T) {
	t.Parallel()
	direct := rabbittest.Config(t)
	proxy, cfg := rabbittest.NewProxy(t, direct)
	proxy.Refuse(true)
	c := subscribe(t, newSubscriber(t, cfg), "lane.00")
	p := newPublisher(t, direct)
	require.NoError(t, p.Publish("lane.00", numbered(0, 30)...))
	proxy.Refuse(false)
	next := 0
	for next < 30 {
		msg := receive(t, c)
		n, err := strconv.Atoi(msg.UUID)
		require.NoError(t, err)
		require.LessOrEqual(t, n, next)
		if n == next && n%10 == 5 {
			proxy.Cut()
		}
		next = max(next, n+1)
		msg.Ack()
	}
}

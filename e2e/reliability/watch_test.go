package reliability

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// watch asks once a second how far behind the read model is, for the timeline.
type watch struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	lags   []float64 // by second; below zero where nobody could say
}

func watching(ctx context.Context, c *cluster.Cluster) *watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{cancel: cancel}
	client := c.NewClient()
	w.done.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			w.lags = append(w.lags, lag(ctx, client, c))
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	return w
}

// lag is what the first query API says that answers.
func lag(ctx context.Context, client *cluster.Client, c *cluster.Cluster) float64 {
	for _, p := range c.Queries {
		limited, cancel := context.WithTimeout(ctx, 400*time.Millisecond)
		a, err := client.ReadFrom(limited, p, "/v1/status")
		cancel()
		var seconds float64
		if err == nil && a.Status == http.StatusOK && decode(a.Body, &seconds) == nil {
			return seconds
		}
	}
	return -1
}

func (w *watch) stop() {
	w.cancel()
	w.done.Wait()
}

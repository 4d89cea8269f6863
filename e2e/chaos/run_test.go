package chaos

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// bench is something to break that tells what is broken when.
type bench struct {
	mu     sync.Mutex
	broken []string
	most   int // at a time
	worked int // probes that found nothing broken
}

func (b *bench) fault(kind, target string) Fault {
	return Fault{Kind: kind, Targets: []string{target}, Inject: func(_ context.Context, in *Injection) error {
		in.Undo(func(ctx context.Context) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.broken = slices.DeleteFunc(b.broken, func(s string) bool { return s == kind })
			return ctx.Err()
		})
		in.Say("on the bench")
		b.mu.Lock()
		defer b.mu.Unlock()
		b.broken = append(b.broken, kind)
		b.most = max(b.most, len(b.broken))
		return nil
	}}
}

func (b *bench) probe(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.broken) > 0 {
		return errors.New("broken: " + strings.Join(b.broken, ", "))
	}
	b.worked++
	return nil
}

func (b *bench) config() Config {
	return Config{
		Seed: 7, Faults: 40, Cluster: new(cluster.Cluster), Probe: b.probe,
		Catalogue: []Fault{b.fault("a", "x"), b.fault("b", "y"), b.fault("c", "z")},
		Extra:     []Fault{b.fault("d", "x")},
	}
}

func TestRunHealsEveryFaultAndRecordsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, log := new(bench), new(bytes.Buffer)
		c := b.config()
		c.Log = log
		records, err := Run(t.Context(), c)
		require.NoError(t, err)
		require.Len(t, records, c.Faults)
		together := 0
		for i, r := range records {
			require.Equal(t, i+1, r.Number)
			require.Equal(t, "on the bench", r.Detail)
			require.Empty(t, r.Missed+r.Error)
			require.True(t, r.Began < r.Healed && r.Healed <= r.Recovered, "%+v", r)
			if r.With == 0 {
				continue
			}
			together++
			other := records[r.With-1]
			require.Equal(t, r.Number, other.With)
			require.NotEqual(t, r.Target, other.Target)
			require.Equal(t, r.Healed, other.Healed)
		}
		require.Positive(t, together)
		require.Equal(t, 2, b.most)
		require.Empty(t, b.broken)
		require.Equal(t, 1+c.Faults-together/2, b.worked, "a probe before all, and one after each step")
		require.Contains(t, log.String(), "seed 7: 40 faults of 4 kinds\n")
		require.Regexp(t, `fault 1/40 [a-d] [xyz] [0-9.]+ s \(on the bench\).*: recovered 0.0 s after\n`, log.String())

		again, err := Run(t.Context(), c)
		require.NoError(t, err)
		for i, r := range again {
			require.Equal(t, [2]string{records[i].Fault, records[i].Target}, [2]string{r.Fault, r.Target})
			require.Equal(t, records[i].Healed-records[i].Began, r.Healed-r.Began)
		}
	})
}

func TestSlowRecoveryIsAViolation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := new(bench)
		c := b.config()
		c.Faults, c.Catalogue, c.Extra = 1, c.Catalogue[:1], nil
		var ill time.Time
		c.Probe = func(context.Context) error {
			if b.most > 0 && ill.IsZero() {
				ill = time.Now()
			}
			if !ill.IsZero() && time.Since(ill) < RecoveryLimit+time.Second {
				return errors.New("it is behind")
			}
			return nil
		}
		records, err := Run(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, "not whole within 30s: it is behind", records[0].Missed)
		require.Greater(t, records[0].Recovery(), RecoveryLimit)

		b.most, ill = 0, time.Time{}
		c.Probe = func(context.Context) error {
			if b.most > 0 {
				return errors.New("it is dead")
			}
			return nil
		}
		records, err = Run(t.Context(), c)
		require.ErrorContains(t, err, "it is dead")
		require.Len(t, records, 1)
		require.Zero(t, records[0].Recovered)
		require.Empty(t, b.broken)
	})
}

func TestAFaultThatFailsEndsTheRunHealed(t *testing.T) {
	t.Parallel()
	fails := errors.New("no such tool: install it")
	for name, spoil := range map[string]func(f *Fault){
		"injecting": func(f *Fault) {
			inject := f.Inject
			f.Inject = func(ctx context.Context, in *Injection) error { return errors.Join(inject(ctx, in), fails) }
		},
		"under way": func(f *Fault) {
			inject := f.Inject
			f.Inject = func(ctx context.Context, in *Injection) error {
				in.During(func(context.Context) error { return fails })
				return inject(ctx, in)
			}
		},
		"healing": func(f *Fault) {
			inject := f.Inject
			f.Inject = func(ctx context.Context, in *Injection) error {
				err := inject(ctx, in)
				in.Undo(func(context.Context) error { return fails })
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := new(bench)
				c := b.config()
				spoil(&c.Extra[0])
				records, err := Run(t.Context(), c)
				require.ErrorIs(t, err, fails)
				require.ErrorContains(t, err, "d")
				require.Less(t, len(records), c.Faults)
				last := records[len(records)-1]
				if last.With != 0 && last.Error == "" {
					last = records[last.With-1]
				}
				require.Contains(t, last.Error, "install it")
				require.Empty(t, b.broken)
			})
		})
	}
}

func TestCancellingHealsFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := new(bench)
		ctx, cancel := context.WithCancel(t.Context())
		c := b.config()
		inject := c.Extra[0].Inject
		c.Extra[0].Inject = func(ctx context.Context, in *Injection) error {
			defer cancel()
			return inject(ctx, in)
		}
		began := time.Now()
		records, err := Run(ctx, c)
		require.ErrorIs(t, err, context.Canceled)
		require.NotEmpty(t, records)
		require.Empty(t, b.broken)
		require.Less(t, time.Since(began), 4*8*time.Second, "it waits for nothing more")
	})
}

func TestARunThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(c *Config){
		"no faults":   func(c *Config) { c.Faults = 0 },
		"no probe":    func(c *Config) { c.Probe = nil },
		"no targets":  func(c *Config) { c.Extra[0].Targets = nil },
		"no inject":   func(c *Config) { c.Extra[0].Inject = nil },
		"a lost link": func(c *Config) { c.Links = NewLinks(); c.Links.URL("p", "redis", "nonsense") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := new(bench).config()
			spoil(&c)
			_, err := Run(t.Context(), c)
			require.Error(t, err)
		})
	}
}

package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// redisFaults are what can happen to Redis beside its end.
func redisFaults(c *cluster.Cluster) []Fault {
	target := []string{"redis"}
	// with opens a connection that ends when the fault is healed.
	with := func(inject func(context.Context, *Injection, *redis.Client) error) func(context.Context, *Injection) error {
		return func(ctx context.Context, in *Injection) error {
			options, err := redis.ParseURL(c.Stack.URLs().Redis)
			if err != nil {
				return err
			}
			options.DisableIdentity = true
			client := redis.NewClient(options)
			in.Undo(func(context.Context) error { return client.Close() })
			return inject(ctx, in, client)
		}
	}
	return []Fault{
		{Kind: "flush", Targets: target, Inject: with(func(_ context.Context, in *Injection, r *redis.Client) error {
			in.During(func(ctx context.Context) error {
				for more := true; more; more = pause(ctx, 200*time.Millisecond) {
					if err := r.FlushAll(ctx).Err(); err != nil {
						return fmt.Errorf("flush: %w", err)
					}
				}
				return nil
			})
			return nil
		})},
		{Kind: "read-only", Targets: target, Inject: with(func(ctx context.Context, in *Injection, r *redis.Client) error {
			in.Undo(func(ctx context.Context) error { return r.ReplicaOf(ctx, "NO", "ONE").Err() })
			return r.ReplicaOf(ctx, "127.0.0.1", "1").Err() // where no master listens
		})},
		{Kind: "out-of-memory", Targets: target, Inject: with(func(ctx context.Context, in *Injection, r *redis.Client) error {
			in.Undo(func(ctx context.Context) error { return r.ConfigSet(ctx, "maxmemory", "0").Err() })
			return errors.Join(
				r.ConfigSet(ctx, "maxmemory-policy", "noeviction").Err(),
				r.ConfigSet(ctx, "maxmemory", "1mb").Err())
		})},
		{Kind: "client-pause", Targets: target, Inject: with(func(ctx context.Context, in *Injection, r *redis.Client) error {
			// It ends by itself: what would end it sooner is a command, and held too.
			in.Undo(func(ctx context.Context) error {
				return cluster.Poll(ctx, 20*time.Millisecond, func() bool { return r.Ping(ctx).Err() == nil })
			})
			return r.Do(ctx, "CLIENT", "PAUSE", in.For.Milliseconds(), "ALL").Err()
		})},
		{Kind: "garbage", Targets: target, Most: 3 * time.Second, Inject: with(func(_ context.Context, in *Injection, r *redis.Client) error {
			in.During(func(ctx context.Context) error { return litter(ctx, in, c, r) })
			return nil
		})},
	}
}

// litter overwrites what the cache holds with what it never wrote.
func litter(ctx context.Context, in *Injection, c *cluster.Cluster, r *redis.Client) error {
	spoilt := 0
	for more := true; more; more = pause(ctx, 100*time.Millisecond) {
		keys, _, err := r.Scan(ctx, in.Rand.Uint64N(1<<20), c.Prefix+":*", 200).Result()
		if err != nil {
			return fmt.Errorf("scan: %w", err)
		}
		for _, key := range keys {
			if in.Rand.IntN(2) == 0 {
				continue
			}
			if err := spoil(ctx, in, r, key); err != nil && ctx.Err() == nil {
				return fmt.Errorf("write garbage: %w", err)
			}
			spoilt++
		}
	}
	in.Say("%d keys", spoilt)
	return nil
}

func spoil(ctx context.Context, in *Injection, r *redis.Client, key string) error {
	switch in.Rand.IntN(4) {
	case 0: // no value at all
		return r.Set(ctx, key, "", redis.KeepTTL).Err()
	case 1: // bytes
		b := make([]byte, in.Rand.IntN(300))
		for i := range b {
			b[i] = byte(in.Rand.Uint32())
		}
		return r.Set(ctx, key, b, redis.KeepTTL).Err()
	case 2: // of another type
		if err := r.Del(ctx, key).Err(); err != nil {
			return err
		}
		return r.RPush(ctx, key, "x").Err()
	default: // cut
		value, err := r.Get(ctx, key).Result()
		if err != nil || value == "" {
			return nil //nolint:nilerr // gone or spoilt already
		}
		return r.Set(ctx, key, value[:in.Rand.IntN(len(value))], redis.KeepTTL).Err()
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/config"
	"github.com/ebrahem-outlook/customer-service/internal/crash"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/postgres"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
)

const (
	// rewrapBatch is how many keys one transaction puts under another key: 500
	// rows are locked for some milliseconds.
	rewrapBatch = 500
	// rewrapSettle is how long processes that share the file have to notice a new
	// primary key, several times over.
	rewrapSettle = 3 * time.Second
	// rewrapPasses is how often the table is gone through before somebody is
	// told that there are processes which still use an older key.
	rewrapPasses = 5
)

type keysTask struct {
	task
	config.Keys
}

type keysAdd struct{ config.Keys }

// Run adds a key that wraps nothing yet.
func (k *keysAdd) Run(context.Context) error {
	name, err := privacy.AddKEK(string(k.KeysFile))
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(os.Stderr, "%s: added, and used for nothing yet. Give the file to every process, then run 'command-api keys rotate'.\n", name)
	return nil
}

type keysRotate struct{ keysTask }

// Run makes a newer key the primary one, adding it if need be, and puts every
// data key under it.
func (k *keysRotate) Run(ctx context.Context) error {
	path := string(k.KeysFile)
	keys, err := privacy.ListKEKs(path)
	if err != nil {
		return err
	}
	name, ok := privacy.Standby(keys)
	if !ok {
		if name, err = privacy.AddKEK(path); err != nil {
			return err
		}
	}
	if err := privacy.PromoteKEK(path, name); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(os.Stderr, "%s: wraps new keys from now on\n", name)
	return k.rewrap(ctx)
}

type keysRewrap struct{ keysTask }

// Run puts every data key under the primary key.
func (k *keysRewrap) Run(ctx context.Context) error { return k.rewrap(ctx) }

func (k *keysTask) rewrap(ctx context.Context) error {
	ring, err := privacy.LoadKeyring(string(k.KeysFile))
	if err != nil {
		return err
	}
	primary, err := ring.Primary()
	if err != nil {
		return err
	}
	pool, err := k.open(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	store := postgres.NewSubjectKeys(pool)
	total := int64(0)
	for pass := 1; ; pass++ {
		moved, err := rewrapPass(ctx, ring, store, primary, total, os.Stderr)
		total += moved
		if err != nil {
			return fmt.Errorf("%w; %d keys were put under %s before that, and 'keys rewrap' goes on", err, total, primary)
		}
		if pass > 1 && moved == 0 {
			break
		}
		if pass == rewrapPasses {
			return fmt.Errorf("keys are still being wrapped under an older key: some process has an older file. Give it the new one, then run 'command-api keys rewrap'")
		}
		// A process that has not noticed the new key yet wraps under the old one.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rewrapSettle):
		}
	}
	_, err = fmt.Fprintf(os.Stdout, "%d keys put under %s\n", total, primary)
	return err
}

// rewrapPass goes through the table once and returns how many keys it moved.
func rewrapPass(ctx context.Context, ring *privacy.Keyring, store *postgres.SubjectKeys, primary string, before int64, progress io.Writer) (int64, error) {
	var (
		after customer.ID
		moved int64
		shown = time.Now()
	)
	for {
		part, err := store.NotUnder(ctx, primary, after, rewrapBatch)
		if err != nil || len(part) == 0 {
			return moved, err
		}
		after = part[len(part)-1].CustomerID
		wrapped := make([][]byte, len(part))
		for i, o := range part {
			next, err := ring.Rewrap(o.CustomerID, o.Key)
			if err != nil {
				return moved, err
			}
			if next.KEK != primary {
				return moved, fmt.Errorf("the primary key became %s meanwhile", next.KEK)
			}
			wrapped[i] = next.Wrapped
		}
		n, err := store.Rewrap(ctx, part, wrapped, primary)
		if err != nil {
			return moved, err
		}
		moved += n
		crash.Here(crash.RotationBetweenBatches)
		if time.Since(shown) > time.Second {
			shown = time.Now()
			_, _ = fmt.Fprintf(progress, "%d keys put under %s\n", before+moved, primary)
		}
	}
}

type keysStatus struct{ keysTask }

// Run says which key-encryption key wraps how many data keys.
func (k *keysStatus) Run(ctx context.Context) error {
	keys, err := privacy.ListKEKs(string(k.KeysFile))
	if err != nil {
		return err
	}
	pool, err := k.open(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	uses, err := postgres.NewSubjectKeys(pool).Count(ctx)
	if err != nil {
		return err
	}
	missing := printKeys(os.Stdout, keys, uses)
	if len(missing) > 0 {
		return fmt.Errorf("the keyring has no %s: the customers under it cannot be read", strings.Join(missing, ", "))
	}
	return nil
}

// printKeys returns the keys that are used and not there.
func printKeys(out io.Writer, keys []privacy.KEK, uses map[string]int64) (missing []string) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "key\tstate\tdata keys")
	beforePrimary := true
	for _, k := range keys {
		state := "older"
		switch {
		case k.Primary:
			state, beforePrimary = "primary", false
		case !beforePrimary:
			state = "standby"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\n", k.Name, state, uses[k.Name])
		delete(uses, k.Name)
	}
	for name, n := range uses {
		missing = append(missing, name)
		_, _ = fmt.Fprintf(w, "%s\tmissing\t%d\n", name, n)
	}
	slices.Sort(missing)
	_ = w.Flush()
	return missing
}

type keysRetire struct{ keysTask }

// Run drops the keys before the primary one that wrap nothing any more.
func (k *keysRetire) Run(ctx context.Context) error {
	path := string(k.KeysFile)
	keys, err := privacy.ListKEKs(path)
	if err != nil {
		return err
	}
	primary := slices.IndexFunc(keys, func(one privacy.KEK) bool { return one.Primary })
	older := keys[:max(primary, 0)]
	if len(older) == 0 {
		_, err := fmt.Fprintln(os.Stdout, "no key is older than the primary one: nothing to retire")
		return err
	}
	pool, err := k.open(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	store := postgres.NewSubjectKeys(pool)
	var (
		retired []string
		refused []error
	)
	for _, one := range older {
		used, err := store.Retire(ctx, one.Name)
		switch {
		case err != nil:
			return err
		case used > 0:
			refused = append(refused, fmt.Errorf("%s stays: %d data keys are wrapped under it; run 'command-api keys rewrap' first", one.Name, used))
		default:
			retired = append(retired, one.Name)
		}
	}
	// The log comes first: it refuses what would be wrapped under a key that is
	// about to go.
	if len(retired) > 0 {
		if err := privacy.DropKEKs(path, retired...); err != nil {
			return errors.Join(err, errors.Join(refused...))
		}
		_, _ = fmt.Fprintf(os.Stdout, "%s: dropped. A backup of the log from before the rotation can be read only with a keyring that still has it.\n", strings.Join(retired, ", "))
	}
	return errors.Join(refused...)
}

package postgres

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/ebrahem-outlook/customer-service/internal/projection"
)

// digests are of the rows that this process wrote, to tell whether the tables
// hold exactly those. A part's is, for each table, how many rows there are and
// the sum of their hashes, which depends on no order. The seed is this
// process's, so there is nothing to keep: what another process wrote is compared
// in another way.
type digests struct {
	seed maphash.Seed
	mu   sync.Mutex
	of   map[int][]digest // by part, then table
}

type digest struct{ rows, sum uint64 }

func (d *digest) add(seed maphash.Seed, row []byte) {
	d.rows++
	d.sum += maphash.Bytes(seed, row)
}

func (d *digests) keep(part int, written []digest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of[part] = written
}

// addRows adds what was written of each table.
func addRows(to []digest, seed maphash.Seed, written []encodedRows) {
	for i := range written {
		written[i].each(func(row []byte) { to[i].add(seed, row) })
	}
}

const selectParts = `SELECT part, first_id, last_id FROM readmodel.rebuild_parts WHERE generation = $1 ORDER BY first_id`

// Parts implements projection.NextGeneration.
func (r *Rebuild) Parts(ctx context.Context) ([]projection.Part, error) {
	return r.parts(ctx, selectParts)
}

// Altered implements projection.NextGeneration. It reads each table once, in the
// order it is stored.
func (r *Rebuild) Altered(ctx context.Context) ([]projection.Part, error) {
	parts, err := r.Parts(ctx)
	if err != nil || len(r.written.of) == 0 {
		return parts, err
	}
	tables := derivedTables()
	found := make([][]digest, len(tables))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(indexers)
	for i, t := range tables {
		group.Go(func() (err error) {
			found[i], err = r.digestOf(ctx, t, parts)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read back what was filled: %w", err)
	}
	var altered []projection.Part
	for at, p := range parts {
		written := r.written.of[p.Number]
		for i := range tables {
			if written == nil || written[i] != found[i][at] {
				altered = append(altered, p)
				break
			}
		}
	}
	return altered, nil
}

// digestOf is a table's digest of each part.
func (r *Rebuild) digestOf(ctx context.Context, t table, parts []projection.Part) ([]digest, error) {
	all := make([]digest, len(parts))
	at := 0
	split := rowSplitter{row: func(row []byte) error {
		// How many columns there are, how long the first one is, and its 16 bytes.
		const length = 2 + 4
		if len(row) < length+16 {
			return errCopyFormat
		}
		id := row[length : length+16]
		if p := parts[at]; bytes.Compare(id, p.First[:]) < 0 || bytes.Compare(id, p.Last[:]) > 0 {
			at, _ = slices.BinarySearchFunc(parts, id, func(p projection.Part, id []byte) int { return bytes.Compare(p.Last[:], id) })
		}
		if at == len(parts) {
			return errCopyFormat // parts leave nobody out
		}
		all[at].add(r.written.seed, row)
		return nil
	}}
	from := fmt.Sprintf("COPY %s (%s) TO STDOUT (FORMAT binary)", in(nextSchema, t.name), strings.Join(t.columns, ", "))
	err := pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, longSession); err != nil {
			return err
		}
		_, err := tx.Conn().PgConn().CopyTo(ctx, &split, from)
		return err
	})
	return all, err
}

package postgres

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// checkBatch holds a batch to the conditions that append_batch relies on.
func checkBatch(items []eventlog.Append) error {
	type key struct{ principal, key string }
	customers := make(map[customer.ID]struct{}, len(items))
	claims := make(map[eventlog.Claim]struct{}, len(items))
	keys := make(map[key]struct{})
	for i := range items {
		item := &items[i]
		misuse := func(what string) error { return fmt.Errorf("%w: item %d: %s", eventlog.ErrMisuse, i, what) }
		if _, twice := customers[item.CustomerID]; twice {
			return misuse("the customer is in the batch twice")
		}
		customers[item.CustomerID] = struct{}{}
		if item.Expected < 0 {
			return misuse("negative expected version")
		}
		for j, e := range item.Events {
			if e.CustomerID != item.CustomerID || e.Version != item.Expected+1+customer.Version(j) {
				return misuse("the events do not follow the expected version")
			}
		}
		if len(item.Events) == 0 && (item.NewKey != nil || item.DestroyKey || len(item.Take)+len(item.Free) > 0) {
			return misuse("claims or keys without events")
		}
		if item.NewKey != nil && (item.Expected != 0 || item.DestroyKey) {
			return misuse("a new key after the first events")
		}
		for _, list := range [][]eventlog.Claim{item.Take, item.Free} {
			for _, c := range list {
				if _, twice := claims[c]; twice {
					return misuse("the claim is in the batch twice")
				}
				claims[c] = struct{}{}
			}
		}
		if p := item.Idempotency; p != nil {
			k := key{p.Principal, p.Key}
			if _, twice := keys[k]; twice {
				return misuse("the idempotency key is in the batch twice")
			}
			keys[k] = struct{}{}
		}
	}
	return nil
}

// appendArgs lays a batch out in the columns of append_batch.
func appendArgs(items []eventlog.Append) []any {
	n := len(items)
	var (
		customers  = make([]pgtype.UUID, n)
		expected   = make([]int64, n)
		counts     = make([]int32, n)
		slots      = make([]int16, n)
		events     = makeEventColumns(n)
		take, free claimColumns
		keys       = keyColumns{item: []int32{}, wrapped: [][]byte{}, kek: []string{}}
		destroy    = []int32{}
		records    recordColumns
	)
	for i := range items {
		item, number := &items[i], int32(i+1) //nolint:gosec // a batch has nowhere near 2³¹ items
		customers[i] = uuidOf(item.CustomerID)
		expected[i] = int64(item.Expected)
		counts[i] = int32(len(item.Events)) //nolint:gosec // as above
		slots[i] = int16(eventlog.SlotOf(item.CustomerID))
		for j := range item.Events {
			events.add(number, &item.Events[j])
		}
		take.add(number, item.Take)
		free.add(number, item.Free)
		if item.NewKey != nil {
			keys.item = append(keys.item, number)
			keys.wrapped = append(keys.wrapped, item.NewKey.Wrapped)
			keys.kek = append(keys.kek, item.NewKey.KEK)
		}
		if item.DestroyKey {
			destroy = append(destroy, number)
		}
		if item.Idempotency != nil {
			records.add(number, item.Idempotency)
		}
	}
	args := make([]any, 0, 30)
	args = append(args, customers, expected, counts, slots)
	args = append(args, events.item, events.version, events.id, events.kind, events.schema,
		events.data, events.personal, events.metadata, events.at)
	args = append(args, notNull(take.item), notNull(take.kind), notNull(take.digest))
	args = append(args, notNull(free.item), notNull(free.kind), notNull(free.digest))
	args = append(args, keys.item, keys.wrapped, keys.kek, destroy)
	return append(args, notNull(records.item), notNull(records.principal), notNull(records.key), notNull(records.digest),
		notNull(records.version), notNull(records.status), notNull(records.command))
}

// notNull keeps an empty column an empty array: a nil slice would be NULL,
// whose cardinality is no number.
func notNull[T any](column []T) []T {
	if column == nil {
		return []T{}
	}
	return column
}

type eventColumns struct {
	item     []int32
	version  []int64
	id       []pgtype.UUID
	kind     []string
	schema   []int16
	data     [][]byte
	personal [][]byte
	metadata [][]byte
	at       []time.Time
}

func makeEventColumns(n int) eventColumns {
	return eventColumns{
		item: make([]int32, 0, n), version: make([]int64, 0, n), id: make([]pgtype.UUID, 0, n), kind: make([]string, 0, n),
		schema: make([]int16, 0, n), data: make([][]byte, 0, n), personal: make([][]byte, 0, n), metadata: make([][]byte, 0, n),
		at: make([]time.Time, 0, n),
	}
}

func (c *eventColumns) add(item int32, e *eventlog.Envelope) {
	metadata, err := json.Marshal(e.Metadata)
	if err != nil {
		panic(fmt.Sprintf("marshal metadata: %v", err)) // strings and a UUID cannot fail
	}
	c.item = append(c.item, item)
	c.version = append(c.version, int64(e.Version))
	c.id = append(c.id, uuidOf(e.EventID))
	c.kind = append(c.kind, e.Type)
	c.schema = append(c.schema, e.SchemaVersion)
	c.data = append(c.data, e.Data)
	c.personal = append(c.personal, e.Personal)
	c.metadata = append(c.metadata, metadata)
	c.at = append(c.at, e.RecordedAt)
}

type claimColumns struct {
	item   []int32
	kind   []int16
	digest [][]byte
}

func (c *claimColumns) add(item int32, claims []eventlog.Claim) {
	for i := range claims {
		c.item = append(c.item, item)
		c.kind = append(c.kind, int16(claims[i].Kind))
		c.digest = append(c.digest, claims[i].Digest[:])
	}
}

type keyColumns struct {
	item    []int32
	wrapped [][]byte
	kek     []string
}

type recordColumns struct {
	item           []int32
	principal, key []string
	digest         [][]byte
	version        []int64
	status         []int16
	command        []pgtype.UUID
}

func (c *recordColumns) add(item int32, p *eventlog.Idempotency) {
	c.item = append(c.item, item)
	c.principal = append(c.principal, p.Principal)
	c.key = append(c.key, p.Key)
	c.digest = append(c.digest, p.RequestDigest[:])
	c.version = append(c.version, int64(p.Version))
	c.status = append(c.status, p.Status)
	c.command = append(c.command, uuidOf(p.CommandID))
}

func uuidOf(id uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }

package query

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

func serving(t *testing.T, bytes int64, entries int) *l1 {
	t.Helper()
	c, err := newL1(bytes, entries)
	require.NoError(t, err)
	t.Cleanup(c.close)
	c.use(CacheState{Epoch: 1, RunID: "a"})
	c.connected("a")
	c.proven(time.Now())
	return c
}

func version(v customer.Version) Entry {
	return Entry{Version: v, Status: customer.StatusActive, Body: []byte("{}")}
}

func (c *l1) put(id customer.ID, v customer.Version) { c.keep(id, c.begin(id), version(v)) }

func (c *l1) has(id customer.ID) customer.Version {
	e, _ := c.get(id, 0)
	return e.Version
}

func TestL1KeepsNothingThatWasOvertaken(t *testing.T) {
	t.Parallel()
	c := serving(t, 1<<20, 100)
	id := uuid.New()
	for name, overtake := range map[string]func(){
		"by a newer version":        func() { c.changed(id, 3) },
		"by its own version":        func() { c.changed(id, 2) },
		"by an older version":       func() { c.changed(id, 1) }, // who was first is not known
		"by another epoch":          func() { c.use(CacheState{Epoch: c.state.Epoch + 1, RunID: "a"}) },
		"by a lost connection":      func() { c.lost(); c.connected("a"); c.proven(time.Now()) },
		"by the cache's suspension": func() { c.use(CacheState{Epoch: 9}); c.use(CacheState{Epoch: 9, RunID: "a"}) },
	} {
		fill := c.begin(id)
		overtake()
		c.keep(id, fill, version(2))
		require.Zero(t, c.has(id), name)
	}
	c.put(id, 2)
	require.Equal(t, customer.Version(2), c.has(id))
}

func TestL1DropsWhatMayBeOlder(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		event func(c *l1, id customer.ID)
		stays bool
	}{
		"a newer version":                      {event: func(c *l1, id customer.ID) { c.changed(id, 6) }},
		"its own version, perhaps a tombstone": {event: func(c *l1, id customer.ID) { c.changed(id, 5) }},
		"an older version, late":               {event: func(c *l1, id customer.ID) { c.changed(id, 4) }, stays: true},
		"another customer":                     {event: func(c *l1, _ customer.ID) { c.changed(uuid.New(), 9) }, stays: true},
		"the same state again":                 {event: func(c *l1, _ customer.ID) { c.use(CacheState{Epoch: 1, RunID: "a"}) }, stays: true},
		"an epoch":                             {event: func(c *l1, _ customer.ID) { c.use(CacheState{Epoch: 2, RunID: "a"}) }},
		"nothing to be trusted":                {event: func(c *l1, _ customer.ID) { c.use(CacheState{Epoch: 1}) }},
		"a lost connection":                    {event: func(c *l1, _ customer.ID) { c.lost() }},
		"a connection renewed":                 {event: func(c *l1, _ customer.ID) { c.connected("a"); c.proven(time.Now()) }},
		"a connection elsewhere":               {event: func(c *l1, _ customer.ID) { c.connected("b"); c.proven(time.Now()) }},
		"an old proof":                         {event: func(c *l1, _ customer.ID) { c.proven(time.Now().Add(-l1Silence)) }},
	} {
		c, id := serving(t, 1<<20, 100), uuid.New()
		c.put(id, 5)
		require.Equal(t, customer.Version(5), c.has(id), name)
		row.event(c, id)
		require.Equal(t, row.stays, c.has(id) == 5, name)
	}
}

func TestL1NeedsProof(t *testing.T) {
	t.Parallel()
	c, err := newL1(1<<20, 100)
	require.NoError(t, err)
	defer c.close()
	id := uuid.New()
	c.connected("a")
	c.use(CacheState{Epoch: 1, RunID: "a"})
	c.put(id, 1)
	require.Zero(t, c.has(id), "connected but never heard of")
	c.proven(time.Now())
	require.Equal(t, customer.Version(1), c.has(id))
	_, ok := c.get(id, 2)
	require.False(t, ok, "a token asks for more")
	c.put(id, 3)
	c.put(id, 2)
	require.Equal(t, customer.Version(3), c.has(id), "an older one that was slower")
}

// Bytes bound it when documents are large, entries when they are small.
func TestL1IsBounded(t *testing.T) {
	t.Parallel()
	const bytes, entries = 1 << 20, 1000
	for _, size := range []int{10, 2000, 60_000, 2 * bytes} {
		c := serving(t, bytes, entries)
		body := make([]byte, size)
		for i := range 5 * entries {
			var id customer.ID
			binary.BigEndian.PutUint64(id[8:], uint64(i)) //nolint:gosec // small
			c.keep(id, c.begin(id), Entry{Version: 1, Status: customer.StatusActive, Body: body})
		}
		c.entries.CleanUp()
		n, held := 0, 0
		for range c.entries.All() {
			n++
			held += size
		}
		require.LessOrEqual(t, n, entries, "of %d bytes", size)
		require.LessOrEqual(t, held, bytes)
		require.LessOrEqual(t, c.entries.WeightedSize(), uint64(bytes))
		if size <= 2000 {
			require.Greater(t, n, entries*3/10, "of %d bytes", size)
		}
	}
}

func TestL1TurnedOff(t *testing.T) {
	t.Parallel()
	c := serving(t, -1, 1)
	id := uuid.New()
	c.put(id, 1)
	c.changed(id, 2)
	c.lost()
	require.Zero(t, c.has(id))
}

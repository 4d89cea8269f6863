package mutate

const (
	// The sequencer's look for what became visible between two snapshots.
	byVisibility = "WHERE e.xid >= pg_snapshot_xmax(t.taken) AND e.xid < pg_snapshot_xmax(cur)\n" +
		"                   AND pg_visible_in_snapshot(e.xid, cur) AND p.has IS NULL\n"
	late = "finished := ARRAY(SELECT x FROM pg_snapshot_xip(t.taken) x WHERE pg_visible_in_snapshot(x, cur));"

	lastSequenced = "(SELECT coalesce(max(q.event), 0) FROM eventlog.positions q)"
)

// sequencing are bugs in giving the log its order.
func sequencing() []Mutation {
	return []Mutation{
		{
			Name: "order-by-identity", Programs: []string{"command-api"},
			Expect: []string{"P5", "P6"},
			Why: "The sequencer goes by the last id it has seen, and never sees an event whose transaction drew its id " +
				"earlier and ended later. Customers that change again have the gap in their versions closed from their " +
				"streams; the event has no position all the same.",
			Edits: []Edit{
				{sequenceSQL, byVisibility, "WHERE e.id > " + lastSequenced + "\n"},
				{sequenceSQL, late, "finished := '{}';"},
			},
		},
		{
			Name: "gap-skipped-after-a-while", Programs: []string{"command-api"},
			Faults: []Fault{{"pause", "postgres"}},
			Expect: []string{"P5", "P6"},
			Why: "The sequencer goes by ids and waits at a gap between them, but for no longer than 50 ms: then it takes " +
				"the transaction for one that was rolled back.",
			Edits: []Edit{
				{
					sequenceSQL, byVisibility,
					"WHERE e.id > " + lastSequenced + " AND (e.recorded_at < clock_timestamp() - interval '50 ms'\n" +
						"                    OR e.id - " + lastSequenced + " = (SELECT count(*) FROM eventlog.events g\n" +
						"                        WHERE g.id > " + lastSequenced + " AND g.id <= e.id))\n",
				},
				{sequenceSQL, late, "finished := '{}';"},
			},
		},
		{
			Name: "two-leaders", Programs: []string{"command-api"},
			Faults: []Fault{{"two-leaders", "command-api"}},
			Expect: []string{"P5"},
			Why: "A leader that was paused and overtaken goes on as one, and its epoch is compared nowhere. That alone does " +
				"no harm: two sequencers take turns by their row's lock and look anew once they have it, no position and no " +
				"event can be given twice, checkpoints only ever grow, and consumers pass over what they had. So the lock " +
				"and the keys go as well.",
			Edits: []Edit{
				{"internal/relay/relay.go", "if asked.After(until) {", "if asked.IsZero() {"},
				{
					"internal/relay/relay.go", "\t\tcase errors.Is(err, ErrFenced):\n\t\t\treturn err\n",
					"\t\tcase errors.Is(err, ErrFenced) && term.Err() != nil:\n\t\t\treturn err\n",
				},
				{
					"internal/postgres/relay.go",
					"relay = $1 AND lane = $2 AND epoch = $3\n   AND EXISTS (SELECT FROM eventlog.leases WHERE duty = $5 AND epoch = $3)",
					"relay = $1 AND lane = $2 AND $3::bigint IS NOT NULL AND $5::text IS NOT NULL",
				},
				{
					sequenceSQL, "            SELECT * INTO STRICT s FROM eventlog.sequencer FOR UPDATE;\n            fenced := s.epoch > i_epoch OR",
					"            SELECT * INTO STRICT s FROM eventlog.sequencer;\n            fenced := i_epoch < 0 AND",
				},
				{
					sequenceSQL, "fenced := NOT EXISTS (SELECT FROM eventlog.leases l WHERE l.duty = i_duty AND l.epoch = i_epoch);",
					"fenced := false;",
				},
				{
					sequenceSQL, "    pos   bigint   PRIMARY KEY,\n    event bigint   NOT NULL UNIQUE, -- events.id\n",
					"    pos   bigint   NOT NULL,\n    event bigint   NOT NULL,\n",
				},
				{
					sequenceSQL, "CREATE INDEX positions_lane",
					"CREATE INDEX ON eventlog.positions (pos);\nCREATE INDEX ON eventlog.positions (event);\nCREATE INDEX positions_lane",
				},
				{sequenceSQL, "    tick   bigint      PRIMARY KEY,\n", "    tick   bigint      NOT NULL,\n"},
			},
		},
	}
}

package mutate

const (
	logTables   = "migrations/eventlog/00001_log.sql"
	sequenceSQL = "migrations/eventlog/00002_sequencing.sql"
	appendSQL   = "migrations/eventlog/00003_append.sql"
	appendGo    = "internal/postgres/append.go"
	executeGo   = "internal/command/execute.go"
	claimsGo    = "internal/command/claims.go"
)

// appending are bugs in committing commands to the log.
func appending() []Mutation {
	return []Mutation{
		{
			Name: "both-writers-win", Programs: []string{"command-api"},
			Expect: []string{"P5"},
			Why: "Two commands that decided on the same version are both appended. Without the unique key alone nothing " +
				"happens, because the stream's row is locked and its version compared and set; without those alone, " +
				"the key refuses the second. So all three go.",
			Edits: []Edit{
				{logTables, "    PRIMARY KEY (customer_id, version)\n", "    PRIMARY KEY (customer_id, version, id)\n"},
				{
					appendSQL, "IF o_verdict[i] = 0 AND present[i] <> i_expected[i] THEN",
					"IF o_verdict[i] = 0 AND present[i] < i_expected[i] THEN",
				},
				{appendSQL, "SET version = u.expected + u.count", "SET version = greatest(s.version, u.expected + u.count)"},
				{
					appendSQL, "WHERE s.customer_id = u.customer_id AND s.version = u.expected\n",
					"WHERE s.customer_id = u.customer_id\n",
				},
			},
		},
		{
			Name: "answer-before-commit", Programs: []string{"command-api"},
			Faults: []Fault{{"kill", "command-api-*"}, {"kill", "postgres"}},
			Expect: []string{"P1"},
			Why: "Commands are answered before their transaction commits, 20 ms later. Their order and their verdicts stay " +
				"right, so that only who dies in between shows it.",
			Edits: []Edit{
				{
					appendGo, "\tdefer conn.Release()\n\tpid := conn.Conn().PgConn().PID()\n",
					"\tpid := conn.Conn().PgConn().PID()\n" +
						"\tif _, err := conn.Exec(ctx, \"BEGIN\"); err != nil {\n\t\tconn.Release()\n\t\treturn nil, err\n\t}\n",
				},
				{
					appendGo, "\t\t\tl.doubts.add(pid)\n\t\t}\n\t\treturn nil, err\n",
					"\t\t\tl.doubts.add(pid)\n\t\t}\n\t\tconn.Release()\n\t\treturn nil, err\n",
				},
				{
					appendGo, "\treturn r.outcomes(items), nil\n",
					"\tgo func() {\n\t\tdefer conn.Release()\n\t\t<-time.After(20 * time.Millisecond)\n" +
						"\t\t_, _ = conn.Exec(context.WithoutCancel(ctx), \"COMMIT\")\n\t}()\n\treturn r.outcomes(items), nil\n",
				},
			},
		},
		{
			Name: "commit-not-on-disk", Programs: []string{"command-api"},
			Faults: []Fault{{"kill", "postgres"}, {"immediate-shutdown", "postgres"}},
			Expect: []string{"P1"},
			Why: "COMMIT does not wait for the disk: a server that is killed forgets the last fifth of a second. " +
				"Processes that die lose nothing by it.",
			Edits: []Edit{{
				"internal/postgres/pool.go",
				"CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END",
				"'off'",
			}},
		},
		{
			Name: "commit-retried-blindly", Programs: []string{"command-api"},
			Faults: []Fault{{"lost-replies", "command-api-*→postgres"}, {"terminate-all-backends", "postgres"}},
			Expect: []string{"P2", "P4"},
			Why: "A command whose COMMIT was not answered is carried out anew, as another command. Handing the same events " +
				"in again would be harmless, because the log knows their ids, and so would another command under the same " +
				"Idempotency-Key: the retry has new ids and leaves the key out.",
			Edits: []Edit{
				{
					appendGo, "\t\t\tdoubt = doubt || !errors.Is(err, errNoConnection)\n",
					"\t\t\tif !errors.Is(err, errNoConnection) {\n\t\t\t\treturn nil, logError(\"append\", err)\n\t\t\t}\n",
				},
				{
					"internal/command/commit.go", "\t\tif inDoubt && !untouched {\n\t\t\tdoubt = err\n\t\t}\n",
					"\t\tif inDoubt && !untouched {\n\t\t\ta.fail(ctx, batch, err, nil)\n\t\t\treturn\n\t\t}\n",
				},
				{
					executeGo, "\t\tif !errors.Is(err, errAgain) {\n\t\t\treturn res, err\n\t\t}\n",
					"\t\tif errors.Is(err, ErrUnavailable) && !errors.Is(err, eventlog.ErrUntouched) {\n" +
						"\t\t\tc.key, c.uuid, fresh = \"\", uuid.New(), true\n\t\t\tcontinue\n\t\t}\n" +
						"\t\tif !errors.Is(err, errAgain) {\n\t\t\treturn res, err\n\t\t}\n",
				},
				{
					executeGo, "\tres, err := s.attempt(ctx, c, subject{state: customer.NewState(id), fresh: true})\n",
					"\tres, err := s.attempt(ctx, c, subject{state: customer.NewState(id), fresh: true})\n" +
						"\tfor errors.Is(err, ErrUnavailable) && !errors.Is(err, eventlog.ErrUntouched) {\n" +
						"\t\tc.id, c.key, c.uuid = uuid.New(), \"\", uuid.New()\n" +
						"\t\tres, err = s.attempt(ctx, c, subject{state: customer.NewState(c.id), fresh: true})\n\t}\n",
				},
			},
		},
		{
			Name: "idempotency-after-commit", Programs: []string{"command-api"},
			Faults: []Fault{{"crash command-after-commit", "command-api"}, {"kill", "command-api-*"}},
			Expect: []string{"P4"},
			Why: "Idempotency records are read before the append and written after its commit, each in a transaction of its " +
				"own. Who dies in between has the same request carried out twice.",
			Edits: []Edit{
				{
					appendGo, "\treturn l.append(ctx, items, false)\n}\n",
					`	outcomes := make([]eventlog.Outcome, len(items))
	var rest []eventlog.Append
	var of []int
	for i, item := range items {
		if p := item.Idempotency; p != nil {
			recorded, err := l.FindIdempotency(ctx, p.Principal, p.Key)
			if err != nil {
				return nil, err
			}
			if recorded != nil {
				outcomes[i] = eventlog.Outcome{Verdict: eventlog.Replayed, Recorded: recorded}
				continue
			}
		}
		item.Idempotency = nil
		rest, of = append(rest, item), append(of, i)
	}
	appended, err := l.append(ctx, rest, false)
	if err != nil {
		return nil, err
	}
	for j, o := range appended {
		outcomes[of[j]] = o
		if p := items[of[j]].Idempotency; p != nil && o.Verdict == eventlog.Appended {
			_, _ = l.pool.Exec(ctx, "INSERT INTO eventlog.idempotency (principal, key, request_digest, customer_id, version, status, command_id) "+
				"VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
				p.Principal, p.Key, p.RequestDigest[:], uuidOf(p.CustomerID), int64(p.Version), p.Status, uuidOf(p.CommandID))
		}
	}
	return outcomes, nil
}
`,
				},
			},
		},
		{
			Name: "refused-though-committed", Programs: []string{"command-api"},
			Faults: []Fault{{"pause", "postgres"}, {"latency", "all→postgres"}},
			Expect: []string{"P2"},
			Why: "A command that waited too long is answered as not carried out, though it is with the log already and may " +
				"be committed.",
			Edits: []Edit{{
				"internal/command/appender.go", "\tif a.withdraw(s) {\n\t\treturn eventlog.Outcome{}, gaveUp\n\t}\n\t<-s.done\n",
				"\ta.withdraw(s)\n\tif gaveUp != nil {\n\t\treturn eventlog.Outcome{}, gaveUp\n\t}\n\t<-s.done\n",
			}},
		},
	}
}

package mutate

const (
	projectorGo  = "internal/projection/projector.go"
	foldGo       = "internal/projection/fold.go"
	projectionGo = "internal/postgres/projection.go"
)

// healsBefore takes away that a message says which position it follows.
func healsBefore() Edit {
	return Edit{foldGo, "\tif v.Position < p.previous {\n", "\tif v.Position < 0 {\n"}
}

// healsLast takes away the sweep.
func healsLast() Edit {
	return Edit{
		projectorGo, "if !known || heads[l.id] <= at[l.id] || at[l.id] != was && heads[l.id]-at[l.id] < backlog {",
		"if !known || heads[l.id] >= at[l.id] || at[l.id] != was && heads[l.id]-at[l.id] < backlog {",
	}
}

// projecting are bugs in making the read model.
func projecting() []Mutation {
	return []Mutation{
		{
			Name: "acknowledged-before-commit", Programs: []string{"projector"},
			Faults: []Fault{{"crash project-before-commit", "projector"}, {"kill", "projector-*"}}, Strikes: 12,
			Expect: []string{"P6"},
			Why: "A message is acknowledged before its events are in the read model. Healing hides it, twice: the next " +
				"message says which position it follows, and a sweep compares checkpoint and head. Both go. What is left " +
				"closes the gaps of customers that change again, and only of those.",
			Edits: []Edit{
				{
					projectorGo, "\t\tpolicy := backoff.NewExponentialBackOff()\n",
					"\t\tmsg.Ack()\n\t\tctx = context.WithoutCancel(ctx)\n\t\tpolicy := backoff.NewExponentialBackOff()\n",
				},
				healsBefore(), healsLast(),
			},
		},
		{
			Name: "broker-trusted", Programs: []string{"projector"},
			Faults: []Fault{{"purge-queues", "rabbitmq"}},
			Expect: []string{"P6"},
			Why: "Nothing heals what the broker lost: messages are applied as they come, and no sweep looks for what none " +
				"announced. Without the sweep alone, the next message of the lane heals; without looking at positions " +
				"alone, the sweep would if the lane stood still, but the next message passes over the gap.",
			Edits: []Edit{healsBefore(), healsLast()},
		},
		{
			Name: "checkpoint-first", Programs: []string{"projector"},
			Faults: []Fault{{"crash project-before-commit", "projector"}}, Strikes: 12,
			Expect: []string{"P6"},
			Why: "A lane's checkpoint is committed before the rows it stands for. Customers that change again have the gap " +
				"in their versions closed from their streams.",
			Edits: []Edit{{
				projectionGo, "\t\td, err := fold(v)\n\t\tif err != nil {\n\t\t\treturn err\n\t\t}\n",
				"\t\td, err := fold(v)\n\t\tif err != nil {\n\t\t\treturn err\n\t\t}\n" +
					"\t\tif !d.Probe && m.generation == 0 {\n" +
					"\t\t\tif _, err := tx.Exec(ctx, moveCheckpoint, m.generation, lane, d.Position, d.Cached, 0); err != nil {\n\t\t\t\treturn err\n\t\t\t}\n" +
					"\t\t\tif _, err := tx.Exec(ctx, \"COMMIT\"); err != nil {\n\t\t\t\treturn err\n\t\t\t}\n" +
					"\t\t\tif _, err := tx.Exec(ctx, \"BEGIN\"); err != nil {\n\t\t\t\treturn err\n\t\t\t}\n\t\t}\n",
			}},
		},
		{
			Name: "unknown-event-skipped", Programs: []string{"projector"},
			Expect: []string{"P6", "P12"},
			Why: "The projector is a release that does not know customer.phone_changed, and passes over what it does not know " +
				"without a word, instead of halting that customer.",
			Edits: []Edit{
				{
					"internal/projection/opener.go", "\tentry, err := o.codec.Decode(e.Envelope, key)\n",
					"\tentry, err := o.codec.Decode(e.Envelope, key)\n\tif e.Type == \"customer.phone_changed\" {\n\t\terr = eventlog.ErrUnknownType\n\t}\n",
				},
				{
					"internal/projection/opener.go", "out.poison = \"unknown event type\"\n",
					"out.poison, out.passOver = \"unknown event type\", true\n",
				},
				{foldGo, "if e.poison != \"\" && !e.shredded {", "if e.poison != \"\" && !e.shredded && !e.passOver {"},
			},
		},
		{
			Name: "deleted-stay-listed", Programs: []string{"projector"},
			Expect: []string{"P6", "P10"},
			Why:    "Customers that are deleted stay in lists and searches.",
			Edits:  []Edit{{projectionGo, "if len(gone) > 0 {", "if len(gone) < 0 {"}},
		},
	}
}

package mutate

// erasing are bugs in forgetting a person.
func erasing() []Mutation {
	return []Mutation{
		{
			Name: "key-outlives-erasure", Programs: []string{"command-api"},
			Expect: []string{"P10"},
			Why: "Erasing a customer leaves its data key, so that whoever has a backup of the log can read it. No answer " +
				"changes by it: what is shown goes by the event.",
			Edits: []Edit{{
				appendSQL, "WHERE o_verdict[u.item] = 0 AND k.customer_id = i_customer[u.item];",
				"WHERE o_verdict[u.item] < 0 AND k.customer_id = i_customer[u.item];",
			}},
		},
		{
			Name: "history-outlives-erasure", Programs: []string{"projector"},
			Expect: []string{"P10"},
			Why:    "Erasing a customer leaves what its history says about each change.",
			Edits:  []Edit{{projectionGo, "if len(d.Blank) > 0 {", "if len(d.Blank) < 0 {"}},
		},
	}
}

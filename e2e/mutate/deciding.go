package mutate

// deciding are bugs in what is decided about a command.
func deciding() []Mutation {
	return []Mutation{
		{
			Name: "if-match-ignored", Programs: []string{"command-api"},
			Expect: []string{"P3"},
			Why:    "A command on a version that is no longer the customer's is carried out.",
			Edits: []Edit{{
				executeGo, "if !missing(refusal) && !c.IfMatch.metBy(from.state.Version()) {",
				"if !missing(refusal) && !c.IfMatch.metBy(from.state.Version()) && from.state.Version() < 0 {",
			}},
		},
		{
			Name: "restored-without-claim", Programs: []string{"command-api"},
			Expect: []string{"P3"},
			Why: "A customer that is restored does not claim its e-mail address again, which somebody else may have got " +
				"meanwhile or may get later.",
			Edits: []Edit{{
				claimsGo, "\thad, has := before.HoldsClaims(), after.HoldsClaims()\n",
				"\thad, has := before.HoldsClaims(), after.HoldsClaims()\n" +
					"\tif has && before.Status() == customer.StatusDeleted {\n\t\treturn nil, nil\n\t}\n",
			}},
		},
		{
			Name: "claim-kept-by-the-deleted", Programs: []string{"command-api"},
			Expect: []string{"P2", "P3"},
			Why:    "A customer that is deleted keeps its e-mail address, so that nobody else can have it.",
			Edits: []Edit{{
				claimsGo, "\thad, has := before.HoldsClaims(), after.HoldsClaims()\n",
				"\thad, has := before.HoldsClaims(), after.HoldsClaims()\n" +
					"\tif had && after.Status() == customer.StatusDeleted {\n\t\treturn nil, nil\n\t}\n",
			}},
		},
		{
			Name: "claim-kept-by-the-refused", Programs: []string{"command-api"},
			Expect: []string{"P2", "P3"},
			Why: "Of a registration that is refused because one of its two claims is taken, the other one stays, held by a " +
				"customer that does not exist.",
			Edits: []Edit{{
				appendSQL, "IF kept > 0 THEN -- a loser gives back", "IF kept < 0 THEN -- a loser gives back",
			}},
		},
	}
}

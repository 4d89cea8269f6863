package mutate

// relaying are bugs in telling others of events.
func relaying() []Mutation {
	return []Mutation{
		{
			Name: "published-without-confirms", Programs: []string{"command-api"},
			Faults: []Fault{{"half-open", "all→rabbitmq"}},
			Expect: []string{"P6"},
			Why: "What was written to the broker's connection counts as published. The read model does not notice, because " +
				"it finds what is missing by positions and reads it from the log; other services have nobody to do that.",
			Edits: []Edit{{
				"internal/rabbit/publisher.go", "\tfor _, confirm := range confirms {\n\t\tselect {\n",
				"\tif len(confirms) > 0 {\n\t\treturn nil\n\t}\n\tfor _, confirm := range confirms {\n\t\tselect {\n",
			}},
		},
		{
			Name: "checkpoint-before-publish", Programs: []string{"command-api"},
			Faults: []Fault{{"crash integration-before-publish", "command-api"}, {"half-open", "all→rabbitmq"}},
			Expect: []string{"P6"},
			Why: "The checkpoint of what other services are told moves first, and what is not published then is gone. " +
				"A broker that is away for less than the ten seconds for which a publisher is patient shows nothing of it.",
			Edits: []Edit{{
				"internal/relay/integration.go", "\tmessages := make([]*message.Message, len(notices))\n",
				"\ti.at = notices[len(notices)-1].Position\n" +
					"\tif err := i.deps.Checkpoints.Advance(ctx, i.fence, integrationName, integrationLane, i.at); err != nil {\n" +
					"\t\treturn 0, err\n\t}\n\tmessages := make([]*message.Message, len(notices))\n",
			}},
		},
	}
}

package mutate

const l1Go = "internal/query/l1.go"

// caching are bugs in what reads are answered from.
func caching() []Mutation {
	return []Mutation{
		{
			Name: "last-write-wins-in-the-cache", Programs: []string{"projector", "query-api"},
			Faults: []Fault{{"flush", "redis"}, {"kill", "redis"}},
			Expect: []string{"P7", "P9"},
			Why: "The cache keeps what was written last and not what is newest: neither do projectors compare versions, nor " +
				"do reads that fill it look whether they still may.",
			Edits: []Edit{
				{"internal/rediscache/writer.go", "  if v and v > version then return 0 end\n", ""},
				{"internal/rediscache/reader.go", "if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n", ""},
			},
		},
		{
			Name: "token-ignored", Programs: []string{"query-api"},
			Expect: []string{"P7"},
			Why:    "A read does not wait for the versions its tokens name.",
			Edits: []Edit{{
				"internal/query/service.go", "\twant := versionOf(id, tokens)\n", "\ttokens = nil\n\twant := versionOf(id, tokens)\n",
			}},
		},
		{
			Name: "memory-never-invalidated", Programs: []string{"query-api"},
			Expect: []string{"P7", "P8", "P9", "P10"},
			Why: "What a query process keeps in memory stays there when it is announced to have changed. Reads with a token " +
				"ask past it; and it is asked for again after ten seconds whatever was announced, which goes as well.",
			Edits: []Edit{
				{l1Go, "\ts.announced++\n\tif have, ok := c.entries.GetIfPresent(id); ok && have.Version <= v {", "\tif have, ok := c.entries.GetIfPresent(id); ok && have.Version < 0 && have.Version <= v {"},
				{l1Go, "l1Age = 10 * time.Second", "l1Age = time.Hour"},
			},
		},
	}
}

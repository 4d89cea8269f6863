package mutate

const l1Go = "internal/query/l1.go"

// caching are bugs in what reads are answered from.
func caching() []Mutation {
	return []Mutation{
		{
			Name: "last-write-wins-in-the-cache", Programs: []string{"projector"},
			Expect: []string{"P9"},
			Why: "The cache keeps what was written last and not what is newest, and projectors write it in the background, " +
				"in any order. That alone does no harm while they live, because versions are compared; last write wins alone " +
				"needs a projector that is overtaken between its commit and its write, and a customer that is left alone " +
				"from then on, since every later change puts it right.",
			Edits: []Edit{
				{"internal/rediscache/writer.go", "if v and v > version then return 0 end\n", ""},
				{"internal/rediscache/writer.go", "if v < version or ARGV[4] == '1' then", "if true then"},
				{
					"internal/projection/caching.go", "\terr := l.p.cacheRows(ctx, from.Cache, d.Rows)\n",
					"\tvar err error\n\tgo func() {\n\t\t<-time.After(time.Duration(time.Now().UnixNano() % int64(500*time.Millisecond)))\n" +
						"\t\t_ = l.p.cacheRows(ctx, from.Cache, d.Rows)\n\t}()\n",
				},
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
			Expect: []string{"P7"},
			Why: "What a query process keeps in memory stays there when it is announced to have changed. It is asked for again " +
				"after ten seconds whatever was announced, and a read with a token asks past what is too old for it: both " +
				"go as well.",
			Edits: []Edit{
				{l1Go, "\ts.announced++\n\tif have, ok := c.entries.GetIfPresent(id); ok && have.Version <= v {", "\tif have, ok := c.entries.GetIfPresent(id); ok && have.Version < 0 && have.Version <= v {"},
				{l1Go, "l1Age = 10 * time.Second", "l1Age = time.Hour"},
				{l1Go, "e.session != session || e.Version < want || now-e.at > l1Age", "e.session != session || want < 0 || now-e.at > l1Age"},
			},
		},
	}
}

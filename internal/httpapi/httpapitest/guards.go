package httpapitest

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
)

// CheckGuards holds the guards of an API to what the contract says of the
// operations with its tag: media types, query parameters, header fields.
func CheckGuards(t testing.TB, tag string, routes map[string]httpapi.Route) {
	t.Helper()
	guarded := make(map[string]bool)
	for path, item := range Document(t).Paths.Map() {
		for method, op := range item.Operations() {
			if !slices.Contains(op.Tags, tag) {
				continue
			}
			rt, ok := routes[op.OperationID]
			require.True(t, ok, "%s %s has no guard", method, path)
			guarded[op.OperationID] = true
			var params, headers []string
			for _, p := range op.Parameters {
				switch p.Value.In {
				case "query":
					params = append(params, p.Value.Name)
				case "header":
					headers = append(headers, p.Value.Name)
				}
			}
			require.ElementsMatch(t, params, rt.Params, op.OperationID)
			// A malformed traceparent is no error, so it is in neither list.
			headers = slices.DeleteFunc(headers, func(name string) bool { return name == "traceparent" })
			require.ElementsMatch(t, headers, slices.Concat(rt.Once, rt.Lists), op.OperationID)
			var bodies []string
			if op.RequestBody != nil {
				bodies = slices.Sorted(maps.Keys(op.RequestBody.Value.Content))
			}
			require.ElementsMatch(t, bodies, rt.Bodies, op.OperationID)
			var offers []string
			for status := 200; status < 300; status++ {
				if answer := op.Responses.Status(status); answer != nil {
					for media := range answer.Value.Content {
						offers = append(offers, media)
					}
				}
			}
			require.ElementsMatch(t, offers, rt.Offers, op.OperationID)
		}
	}
	require.Len(t, guarded, len(routes), "a guard without an operation")
}

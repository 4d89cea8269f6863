package api_test

import (
	"encoding/json"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/api"
)

// asyncSchemas are the schemas of the AsyncAPI document, which are JSON Schema
// as OpenAPI has it.
func asyncSchemas(t *testing.T, doc map[string]any) openapi3.Schemas {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"openapi": "3.1.0", "info": doc["info"], "paths": map[string]any{},
		"components": map[string]any{"schemas": doc["components"].(map[string]any)["schemas"]},
	})
	require.NoError(t, err)
	loaded, err := openapi3.NewLoader().LoadFromData(body)
	require.NoError(t, err)
	return loaded.Components.Schemas
}

func asyncDocument(t *testing.T) map[string]any {
	t.Helper()
	body, err := api.AsyncJSON()
	require.NoError(t, err)
	var doc map[string]any
	require.NoError(t, json.Unmarshal(body, &doc))
	return doc
}

func TestAsyncAPIExamplesAreWhatTheSchemasSay(t *testing.T) {
	t.Parallel()
	doc := asyncDocument(t)
	require.Equal(t, "3.0.0", doc["asyncapi"])
	schemas := asyncSchemas(t, doc)
	examples := doc["components"].(map[string]any)["messages"].(map[string]any)["event"].(map[string]any)["examples"].([]any)
	require.NotEmpty(t, examples)
	for _, e := range examples {
		example := e.(map[string]any)
		require.NoError(t, schemas["headers"].Value.VisitJSON(example["headers"], openapi3.EnableJSONSchema2020()))
		require.NoError(t, schemas["event"].Value.VisitJSON(example["payload"], openapi3.EnableJSONSchema2020()))
		wrong := example["payload"].(map[string]any)
		wrong["position"] = 0.0
		require.Error(t, schemas["event"].Value.VisitJSON(wrong, openapi3.EnableJSONSchema2020()), "the check tells right from wrong")
	}
}

// The broker and HTTP show the same thing.
func TestAsyncAPIAndOpenAPIHaveOneEvent(t *testing.T) {
	t.Parallel()
	document, err := openapi3.NewLoader().LoadFromData(api.YAML())
	require.NoError(t, err)
	http, message := document.Components.Schemas["FeedEvent"].Value, asyncSchemas(t, asyncDocument(t))["event"].Value
	require.ElementsMatch(t, http.Required, message.Required)
	for name := range http.Properties {
		require.Contains(t, message.Properties, name)
	}
	require.Len(t, message.Properties, len(http.Properties))
}

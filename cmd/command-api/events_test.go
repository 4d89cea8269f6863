package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/rabbit/rabbittest"
)

// Every kind of command, and what other services are told of it, held to
// api/asyncapi.yaml.
func TestMessagesAreWhatTheContractSays(t *testing.T) {
	t.Parallel()
	broker := rabbittest.Config(t)
	w := newWorld(t, "--amqp-url="+os.Getenv("AMQP_URL"), "--amqp-prefix="+broker.Prefix)
	ch := rabbittest.Channel(t, broker)
	exchange := rabbittest.IntegrationExchange(broker)
	require.NoError(t, ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil))
	queue, err := ch.QueueDeclare("", false, true, true, false, nil)
	require.NoError(t, err)
	require.NoError(t, ch.QueueBind(queue.Name, "#", exchange, false, nil))

	d := w.full(t)
	on := "/v1/customers/" + d.ID
	canary := "canary" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	for _, c := range []struct{ method, path, body string }{
		{"PATCH", "", fmt.Sprintf(`{"first_name": %q, "email": "%s@example.com", "phone": "+14155552671", "locale": "de", "external_id": %q,
			"metadata": {%q: %q}}`, canary, canary, canary, canary, canary)},
		{"POST", "/addresses", `{"line1": "` + canary + `", "city": "` + canary + `", "postal_code": "75001", "country": "FR"}`},
		{"PUT", "/addresses/" + d.Addresses[0].ID, `{"line1": "` + canary + `", "city": "Paris", "postal_code": "75001", "country": "FR"}`},
		{"DELETE", "/addresses/" + d.Addresses[0].ID, ""},
		{"PUT", "/tags/" + canary, ""},
		{"DELETE", "/tags/" + canary, ""},
		{"PUT", "/consents/sms", `{"granted": true, "source": "` + canary + `", "wording": "` + canary + `"}`},
		{"PUT", "/consents/sms", `{"granted": false, "source": "` + canary + `"}`},
		{"POST", "/suspend", `{"reason": "` + canary + `"}`},
		{"POST", "/reinstate", ""},
		{"DELETE", "", ""},
		{"POST", "/restore", ""},
		{"POST", "/erase", `{"reason": "asked for it"}`},
	} {
		a := w.Do(t, c.method, on+c.path, c.body, "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		require.Less(t, a.StatusCode, 300, "%s %s: %s", c.method, c.path, a.Body)
	}

	schemas := asyncSchemas(t)
	types := map[string]bool{}
	for at := 1; at <= w.events(t); at++ {
		m := take(t, ch, queue.Name)
		require.NotContains(t, fmt.Sprintf("%+v %s", m, m.Body), canary, "a value is told")
		headers := map[string]any{}
		for name, value := range m.Headers {
			headers[name] = value
		}
		require.NoError(t, schemas["headers"].Value.VisitJSON(headers, openapi3.EnableJSONSchema2020(), openapi3.EnableFormatValidation()))
		var payload map[string]any
		require.NoError(t, json.Unmarshal(m.Body, &payload))
		require.NoError(t, schemas["event"].Value.VisitJSON(payload, openapi3.EnableJSONSchema2020(), openapi3.EnableFormatValidation()))

		require.EqualValues(t, at, payload["position"])
		require.EqualValues(t, at, payload["version"], "there is one customer")
		require.Equal(t, "application/json", m.ContentType)
		require.Equal(t, payload["type"], m.RoutingKey)
		require.Equal(t, payload["type"], m.Type)
		require.Equal(t, payload["id"], m.MessageId)
		for name, member := range map[string]string{"id": "id", "type": "type", "subject": "customer_id", "time": "time"} {
			require.Equal(t, payload[member], m.Headers["cloudEvents:"+name], name)
		}
		require.Equal(t, strconv.Itoa(at), m.Headers["cloudEvents:position"])
		require.Equal(t, strconv.Itoa(at), m.Headers["cloudEvents:version"])
		if at > 1 {
			require.Contains(t, m.Headers["traceparent"], "4bf92f3577b34da6a3ce929d0e0e4736")
		}
		token, err := eventlog.ParseToken(payload["token"].(string))
		require.NoError(t, err)
		require.Equal(t, d.ID, token.CustomerID.String())
		types[m.Type] = true
	}
	// All that the document knows, and no others.
	for _, example := range schemas["type"].Value.Examples {
		require.True(t, types[example.(string)], "%s was never told", example)
	}
	require.Len(t, types, len(schemas["type"].Value.Examples))
}

func take(t *testing.T, ch *amqp091.Channel, queue string) amqp091.Delivery {
	t.Helper()
	var m amqp091.Delivery
	require.Eventually(t, func() bool {
		var ok bool
		var err error
		m, ok, err = ch.Get(queue, true)
		require.NoError(t, err)
		return ok
	}, 15*time.Second, 10*time.Millisecond)
	return m
}

// asyncSchemas are the schemas of the AsyncAPI document, which are JSON Schema
// as OpenAPI has it.
func asyncSchemas(t *testing.T) openapi3.Schemas {
	t.Helper()
	body, err := api.AsyncJSON()
	require.NoError(t, err)
	var doc struct {
		Info       any `json:"info"`
		Components struct {
			Schemas any `json:"schemas"`
		} `json:"components"`
	}
	require.NoError(t, json.Unmarshal(body, &doc))
	body, err = json.Marshal(map[string]any{
		"openapi": "3.1.0", "info": doc.Info, "paths": map[string]any{}, "components": map[string]any{"schemas": doc.Components.Schemas},
	})
	require.NoError(t, err)
	loaded, err := openapi3.NewLoader().LoadFromData(body)
	require.NoError(t, err)
	return loaded.Components.Schemas
}

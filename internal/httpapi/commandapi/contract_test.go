package commandapi

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/httpapitest"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/strictjson"
)

func TestGuardsFollowTheContract(t *testing.T) {
	t.Parallel()
	httpapitest.CheckGuards(t, "commands", routes())
}

// verdict is ours on a body.
func verdict(t *testing.T, text string, body any) customer.Violations {
	t.Helper()
	shape, err := strictjson.Decode([]byte(text), body)
	require.NoError(t, err, text)
	values, err := check(body, shape)
	require.NoError(t, err)
	return append(shape, values...)
}

// variants are values for each field; the contract's schema and our rules must
// agree on every one of them. Rules that a schema cannot tell (which phone
// numbers are in use, what a country's postal codes look like) are left to the
// fault table.
func variants() map[string][]string {
	text := func(r string, n int) string { return `"` + strings.Repeat(r, n) + `"` }
	wrong := []string{`1`, `true`, `[]`, `{}`}
	name := append([]string{`"Ada"`, `null`, text("é", 200), text("é", 201), `"\ud83d\ude00"`}, wrong...)
	address := func(more string) string { return `[{"line1": "x", "city": "x", "country": "IE"` + more + `}]` }
	return map[string][]string{
		"first_name":  name,
		"last_name":   name,
		"email":       append([]string{`"a@example.com"`, `null`, text("a", 255)}, wrong...),
		"phone":       append([]string{`"+14155552671"`, `null`, text("1", 41)}, wrong...),
		"locale":      append([]string{`"de-CH"`, `null`, text("a", 36)}, wrong...),
		"external_id": append([]string{`"crm 42~"`, `null`, text("x", 128), text("x", 129), `"é"`, `""`}, wrong...),
		"tags":        {`[]`, `["a"]`, `["A"]`, `[""]`, `["` + strings.Repeat("a", 40) + `"]`, `["` + strings.Repeat("a", 41) + `"]`, `[1]`, `null`, `{}`, `"a"`},
		"metadata": {
			`{}`, `{"a": ""}`, `{"": "x"}`, `{"a": null}`, `{"a": 1}`, `{"a": ` + text("x", 500) + `}`, `{"a": ` + text("x", 501) + `}`,
			`{` + text("k", 40) + `: "x"}`, `{` + text("k", 41) + `: "x"}`, `null`, `[]`, manyKeys(50), manyKeys(51),
		},
		"consents": {
			`{}`, `{"email": {"granted": true}}`, `{"sms": {"granted": false, "source": "x", "wording": "y"}}`, `{"fax": {"granted": true}}`,
			`{"post": {}}`, `{"phone": {"granted": "true"}}`, `{"phone": {"granted": true, "at": "x"}}`, `{"phone": null}`, `null`,
			`{"email": {"granted": true, "source": ` + text("x", 501) + `}}`, `{"email": {"granted": true, "wording": ` + text("x", 2001) + `}}`,
		},
		"addresses": {
			`[]`, address(""), address(`, "label": null`), address(`, "default_for": ["billing"]`), address(`, "default_for": ["x"]`), address(`, "id": "x"`),
			address(`, "city": "y", "x": 1`), `[{}]`, `[null]`, `null`, `{}`, address(`, "label": ` + text("x", 41)), address(`, "line2": ` + text("x", 201)), address(`, "state": ` + text("x", 101)),
			`[{"line1": "", "city": "x", "country": "IE"}]`, `[{"line1": "x", "city": "x", "country": "IRL"}]`, `[` + strings.TrimSuffix(strings.Repeat(strings.Trim(address(""), "[]")+",", 21), ",") + `]`,
		},
		"unknown": {`1`},
		// Of an address, a consent and a reason.
		"line1": append([]string{`"x"`, `""`, `null`, text("é", 200), text("é", 201)}, wrong...), "line2": append([]string{`""`, `null`, text("x", 201)}, wrong...),
		"city": append([]string{`"x"`, `""`, text("x", 101)}, wrong...), "state": append([]string{`""`, text("x", 101)}, wrong...),
		"country": append([]string{`"IE"`, `"ie"`, `"IRL"`, `""`}, wrong...), "label": append([]string{`"home"`, text("x", 41)}, wrong...),
		"default_for": {`[]`, `["shipping", "billing"]`, `["x"]`, `"billing"`, `[1]`, `null`},
		"granted":     {`true`, `false`, `"true"`, `1`, `null`}, "source": append([]string{`""`, `null`, text("é", 500), text("é", 501)}, wrong...),
		"wording": append([]string{`""`, `"a\nb"`, text("x", 2000), text("x", 2001)}, wrong...), "reason": append([]string{`"x"`, `""`, `null`, text("é", 500), text("é", 501)}, wrong...),
	}
}

func manyKeys(n int) string {
	keys := make(map[string]string, n)
	for i := range n {
		keys["k"+string(rune('a'+i%26))+string(rune('a'+i/26))] = "x"
	}
	b, _ := json.Marshal(keys)
	return string(b)
}

func TestVerdictsAgreeWithTheContract(t *testing.T) {
	t.Parallel()
	doc := httpapitest.Document(t)
	compared := 0
	least := map[string]map[string]string{
		"Registration": {"email": `"a@example.com"`, "last_name": `"x"`, "first_name": `"y"`},
		"AddressInput": {"line1": `"x"`, "city": `"x"`, "country": `"IE"`},
		"ConsentInput": {"granted": `true`},
		"ReasonInput":  {"reason": `"x"`},
	}
	for schema, body := range map[string]func() any{
		"Registration":  func() any { return new(Registration) },
		"CustomerPatch": func() any { return new(CustomerPatch) },
		"AddressInput":  func() any { return new(AddressInput) },
		"ConsentInput":  func() any { return new(ConsentInput) },
		"ReasonInput":   func() any { return new(ReasonInput) },
	} {
		for field, values := range variants() {
			for _, value := range values {
				members := map[string]json.RawMessage{field: json.RawMessage(value)}
				for name, value := range least[schema] {
					if _, there := members[name]; !there {
						members[name] = json.RawMessage(value)
					}
				}
				text, err := json.Marshal(members)
				require.NoError(t, err)
				var plain any
				require.NoError(t, json.Unmarshal(text, &plain))
				theirs := doc.Components.Schemas[schema].Value.VisitJSON(plain, openapi3.EnableJSONSchema2020())
				ours := verdict(t, string(text), body())
				require.Equal(t, theirs == nil, len(ours) == 0, "%s %.200s\nours: %v\ntheirs: %v", schema, text, ours, errors.Unwrap(theirs))
				compared++
			}
		}
	}
	require.Greater(t, compared, 200)
}

// Bodies with faults in any number of fields: the contract's schema and our
// rules find the same ones, and one answer names them all.
func TestWholeBodiesAreFaultedAsTheContractSays(t *testing.T) {
	t.Parallel()
	doc, values := httpapitest.Document(t), variants()
	for schema, body := range map[string]func() any{
		"Registration":  func() any { return new(Registration) },
		"CustomerPatch": func() any { return new(CustomerPatch) },
		"AddressInput":  func() any { return new(AddressInput) },
		"ConsentInput":  func() any { return new(ConsentInput) },
		"ReasonInput":   func() any { return new(ReasonInput) },
	} {
		of := doc.Components.Schemas[schema].Value
		fields := slices.Sorted(maps.Keys(of.Properties))
		rapid.Check(t, func(rt *rapid.T) {
			members := map[string]json.RawMessage{}
			for _, name := range append(fields, "unknown") {
				if len(values[name]) > 0 && rapid.Bool().Draw(rt, "with "+name) {
					members[name] = json.RawMessage(rapid.SampledFrom(values[name]).Draw(rt, name))
				}
			}
			if schema == "Registration" {
				members["last_name"] = json.RawMessage(`"x"`) // that one of two is enough, no schema here says
			}
			text, err := json.Marshal(members)
			require.NoError(rt, err)
			var plain map[string]any
			require.NoError(rt, json.Unmarshal(text, &plain))
			theirs := faulted(of, plain)
			require.Equal(rt, len(theirs) == 0, of.VisitJSON(plain, openapi3.EnableJSONSchema2020()) == nil, "%.300s", text)
			ours := map[string]bool{}
			for _, v := range verdict(t, string(text), body()) {
				name, _, _ := strings.Cut(strings.TrimPrefix(v.Pointer, "/"), "/")
				ours[name] = true
			}
			require.Equal(rt, theirs, ours, "%s %.300s", schema, text)
		})
	}
}

// faulted are the members of a body that its schema does not let pass.
func faulted(of *openapi3.Schema, body map[string]any) map[string]bool {
	out := map[string]bool{}
	for name, value := range body {
		if member, known := of.Properties[name]; !known || member.Value.VisitJSON(value, openapi3.EnableJSONSchema2020()) != nil {
			out[name] = true
		}
	}
	for _, name := range of.Required {
		if _, there := body[name]; !there {
			out[name] = true
		}
	}
	return out
}

// FuzzBodies holds three things for any body: reading it never panics, what it
// faults is reported once for each place, and what passes converts.
func FuzzBodies(f *testing.F) {
	for field, values := range variants() {
		for _, value := range values {
			f.Add(`{"last_name":"x","email":"a@example.com","` + field + `":` + value + `}`)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, body := range []any{new(Registration), new(CustomerPatch), new(AddressInput), new(ConsentInput), new(ReasonInput)} {
			shape, err := strictjson.Decode([]byte(text), body)
			if err != nil {
				continue
			}
			broken, err := check(body, shape)
			require.NoError(t, err)
			if r, ok := body.(*Registration); ok && len(shape)+len(broken) == 0 {
				args, again := registration(r, nil)
				require.Empty(t, again)
				require.NotEmpty(t, args.Email)
			}
		}
	})
}

func TestRoutesAreTheContractsOperations(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{
		"addAddress", "addTag", "changeAddress", "changeCustomer", "deleteCustomer", "eraseCustomer", "importCustomers", "registerCustomer",
		"reinstateCustomer", "removeAddress", "removeTag", "restoreCustomer", "setConsent", "suspendCustomer",
	}, slices.Sorted(maps.Keys(routes())))
}

// BenchmarkBody is what reading and checking a registration costs before the
// command service sees it.
func BenchmarkBody(b *testing.B) {
	const text = `{"first_name": "Zoë", "last_name": "Đặng", "email": "zoe@example.com", "phone": "+14155552671", "locale": "vi-VN", "external_id": "crm-0042",
		"addresses": [{"line1": "1 Rue de Rivoli", "city": "Paris", "postal_code": "75001", "country": "FR", "default_for": ["shipping"]}],
		"tags": ["vip"], "metadata": {"plan": "gold"}, "consents": {"email": {"granted": true, "source": "checkout"}}}`
	b.ReportAllocs()
	for b.Loop() {
		var body Registration
		shape, err := strictjson.Decode([]byte(text), &body)
		if err != nil || len(shape) > 0 {
			b.Fatal(shape, err)
		}
		if broken, err := check(&body, shape); err != nil || len(broken) > 0 {
			b.Fatal(broken, err)
		}
	}
}

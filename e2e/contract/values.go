package contract

import (
	"fmt"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// draw makes a value that schema allows, as often as it can tell what that is.
func draw(t *rapid.T, name string, schema *openapi3.Schema, depth int) *value {
	schema = variant(t, schema)
	switch {
	case schema == nil || depth > 6:
		return scalar("x")
	case schema.Const != nil:
		return from(schema.Const)
	case len(schema.Enum) > 0:
		return from(rapid.SampledFrom(schema.Enum).Draw(t, name))
	case schema.Type.Includes("null") && rapid.IntRange(0, 9).Draw(t, name+" null") == 0:
		return literal("null")
	case schema.Type.Includes("object"):
		return drawObject(t, name, schema, depth)
	case schema.Type.Includes("array"):
		n := int(schema.MinItems) + rapid.IntRange(0, 3).Draw(t, name+" items")
		if schema.MaxItems != nil {
			n = min(n, int(*schema.MaxItems))
		}
		a := &value{kind: 'a'}
		for range n {
			a.items = append(a.items, draw(t, name, refOf(schema.Items), depth+1))
		}
		return a
	case schema.Type.Includes("boolean"):
		return scalar(rapid.Bool().Draw(t, name))
	case schema.Type.Includes("integer"), schema.Type.Includes("number"):
		low, high := 0, 1000
		if schema.Min != nil {
			low = int(*schema.Min)
		}
		if schema.Max != nil {
			high = int(*schema.Max)
		}
		return scalar(rapid.IntRange(low, max(low, high)).Draw(t, name))
	default:
		return scalar(text(t, name, schema))
	}
}

func variant(t *rapid.T, schema *openapi3.Schema) *openapi3.Schema {
	if schema == nil {
		return nil
	}
	for _, several := range []openapi3.SchemaRefs{schema.OneOf, schema.AnyOf} {
		if len(several) > 0 {
			return several[rapid.IntRange(0, len(several)-1).Draw(t, "variant")].Value
		}
	}
	return schema
}

func refOf(ref *openapi3.SchemaRef) *openapi3.Schema {
	if ref == nil {
		return nil
	}
	return ref.Value
}

func drawObject(t *rapid.T, name string, schema *openapi3.Schema, depth int) *value {
	o := &value{kind: 'o'}
	required := make(map[string]bool, len(schema.Required))
	for _, r := range schema.Required {
		required[r] = true
	}
	for _, property := range sorted(schema.Properties) {
		if required[property] || rapid.IntRange(0, 2).Draw(t, property+" there") == 0 {
			o.members = append(o.members, member{property, draw(t, property, refOf(schema.Properties[property]), depth+1)})
		}
	}
	if free := refOf(schema.AdditionalProperties.Schema); free != nil {
		seen := map[string]bool{}
		for range rapid.IntRange(0, 3).Draw(t, name+" entries") {
			key := rapid.StringMatching(`[a-z]{1,8}`).Draw(t, name+" key")
			if names := refOf(schema.PropertyNames); names != nil && len(names.Enum) > 0 {
				key = fmt.Sprint(rapid.SampledFrom(names.Enum).Draw(t, name+" key"))
			}
			if !seen[key] {
				seen[key] = true
				o.members = append(o.members, member{key, draw(t, name, free, depth+1)})
			}
		}
	}
	return o
}

// text is a string that schema allows. The service knows more than a schema
// says (which phone numbers there are, say), so the schema's own example comes
// up often; e-mail addresses are new each time, since they can be taken.
func text(t *rapid.T, name string, schema *openapi3.Schema) string {
	example, _ := schema.Example.(string)
	switch {
	case strings.Contains(example, "@"):
		return fmt.Sprintf("%s@example.com", uuid.NewString())
	case schema.Format == "uuid":
		return uuid.NewString()
	case schema.Format == "date-time":
		return "2026-01-02T03:04:05.000006Z"
	case example != "" && rapid.IntRange(0, 2).Draw(t, name+" example") > 0:
		return example
	case schema.Pattern != "":
		return rapid.StringMatching(schema.Pattern).Draw(t, name)
	}
	low, high := int(schema.MinLength), 40
	if schema.MaxLength != nil {
		high = int(*schema.MaxLength)
	}
	switch rapid.IntRange(0, 5).Draw(t, name+" length") {
	case 0: // at the limits
		return strings.Repeat("a", low)
	case 1:
		return strings.Repeat("a", high)
	case 2: // and beyond; what becomes of it is checked by the schema
		return strings.Repeat("a", high+1)
	case 3:
		return rapid.SampledFrom(strange).Draw(t, name)
	}
	return rapid.StringMatching(`[A-Za-zÀ-ÿ0-9][A-Za-zÀ-ÿ0-9 .,'-]{0,30}[a-z]`).Draw(t, name)
}

// strange are texts that software stumbles over.
var strange = []string{
	"", " ", "\u00a0", "\t\n", "Zoe\u0308", "İstanbul", "ﬁ", "ß", "Đặng", "مرحبا", "日本語", "👩‍👩‍👧‍👦", "🇫🇷",
	"a\u202eb", "\u200b", "\u200d\u200d", "\ufeff", "\ufffd", "\U0010ffff", "\u0000", "\u0001", "\u007f", "\u0085", "\u2028",
	"a\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307", "' OR 1=1 --", "<script>", "../../etc/passwd", "%00", "${jndi:x}", "null", "NaN",
	"1e309", strings.Repeat("é", 254), strings.Repeat("e\u0301", 200), strings.Repeat("\U0001F600", 100),
}

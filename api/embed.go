// Package api is the public contract: the OpenAPI document, the problem types
// that errors are answered with, and the page that shows the document. It must
// not know how the service works inside.
//
// To add an endpoint: describe it in openapi.yaml, run "go generate ./api/...",
// implement the new method of the generated interface in internal/httpapi, and
// add its rows to the fault table of that package's tests.
package api

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"

	"go.yaml.in/yaml/v3"
)

//go:generate ../.local/bin/oapi-codegen -config oapi/commands.yaml openapi.yaml
//go:generate ../.local/bin/oapi-codegen -config oapi/queries.yaml openapi.yaml
//go:generate ../.local/bin/oapi-codegen -config oapi/client.yaml openapi.yaml

//go:embed openapi.yaml
var document []byte

//go:embed asyncapi.yaml
var events []byte

//go:embed docs-ui
var docs embed.FS

// YAML is the OpenAPI document as it is written. The caller owns the copy.
func YAML() []byte { return bytes.Clone(document) }

// JSON is the OpenAPI document as JSON, its members in the order of the YAML.
func JSON() ([]byte, error) { return toJSON("openapi.yaml", document) }

// AsyncYAML is the AsyncAPI document, which describes the messages that other
// services get, as it is written. The caller owns the copy.
func AsyncYAML() []byte { return bytes.Clone(events) }

// AsyncJSON is the AsyncAPI document as JSON.
func AsyncJSON() ([]byte, error) { return toJSON("asyncapi.yaml", events) }

func toJSON(name string, text []byte) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := writeJSON(&out, root.Content[0]); err != nil {
		return nil, fmt.Errorf("convert %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// DocsUI holds the files of the documentation page.
func DocsUI() (fs.FS, error) { return fs.Sub(docs, "docs-ui") }

func writeJSON(out *bytes.Buffer, n *yaml.Node) error {
	open, end, step := byte('['), byte(']'), 1
	switch n.Kind {
	case yaml.ScalarNode:
		var v any
		if err := n.Decode(&v); err != nil {
			return fmt.Errorf("line %d: %w", n.Line, err)
		}
		if n.Tag == "!!timestamp" {
			v = n.Value // JSON has no times; the document means the text
		}
		return writeValue(out, v)
	case yaml.MappingNode:
		open, end, step = '{', '}', 2
	case yaml.SequenceNode:
	default:
		return fmt.Errorf("line %d: only mappings, sequences and scalars have a JSON form", n.Line)
	}
	out.WriteByte(open)
	for i := 0; i < len(n.Content); i += step {
		if i > 0 {
			out.WriteByte(',')
		}
		if step == 2 {
			if err := writeValue(out, n.Content[i].Value); err != nil {
				return err
			}
			out.WriteByte(':')
		}
		if err := writeJSON(out, n.Content[i+step-1]); err != nil {
			return err
		}
	}
	out.WriteByte(end)
	return nil
}

func writeValue(out *bytes.Buffer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	out.Truncate(out.Len() - 1) // Encode ends each value with a newline
	return nil
}

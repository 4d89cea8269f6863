package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/ebrahem-outlook/customer-service/api"
)

func TestJSONSaysWhatTheYAMLSays(t *testing.T) {
	t.Parallel()
	document, err := api.JSON()
	require.NoError(t, err)
	var fromJSON, fromYAML any
	require.NoError(t, json.Unmarshal(document, &fromJSON))
	require.NoError(t, yaml.Unmarshal(api.YAML(), &fromYAML))
	want, err := json.Marshal(fromYAML)
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(document))
	require.True(t, strings.HasPrefix(string(document), `{"openapi":"3.1.0","info":`), "in the order of the document")
}

func TestCodesAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	var doc struct {
		Components struct {
			Schemas struct {
				ProblemCode struct{ Enum []string } `yaml:"ProblemCode"`
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(api.YAML(), &doc))
	want, have := doc.Components.Schemas.ProblemCode.Enum, []string(nil)
	for _, p := range api.Problems() {
		have = append(have, string(p.Code))
		require.NotEmpty(t, p.Title)
		require.True(t, strings.HasSuffix(p.Advice, "."), "%s says what to do next", p.Code)
		require.GreaterOrEqual(t, p.Status, 400)
	}
	require.ElementsMatch(t, want, have)
}

func TestVendoredFilesAreUnchanged(t *testing.T) {
	t.Parallel()
	files, err := api.DocsUI()
	require.NoError(t, err)
	note, err := fs.ReadFile(files, "VENDORED.md")
	require.NoError(t, err)
	sums := regexp.MustCompile(`(?m)^([0-9a-f]{64})  (\S+)$`).FindAllStringSubmatch(string(note), -1)
	require.Len(t, sums, 4)
	for _, sum := range sums {
		content, err := fs.ReadFile(files, sum[2])
		require.NoError(t, err)
		got := sha256.Sum256(content)
		require.Equal(t, sum[1], hex.EncodeToString(got[:]), sum[2])
	}
}

func TestThePageAsksNobodyElse(t *testing.T) {
	t.Parallel()
	files, err := api.DocsUI()
	require.NoError(t, err)
	for _, name := range []string{"index.html", "init.js"} {
		content, err := fs.ReadFile(files, name)
		require.NoError(t, err)
		require.NotContains(t, string(content), "//cdn")
		require.NotRegexp(t, `https?://`, string(content))
		require.NotRegexp(t, `(?i)<script>|<style|\son\w+=`, string(content), "nothing inline, so that the policy can be strict")
	}
}

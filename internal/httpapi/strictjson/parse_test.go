package strictjson

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestParseRefusesWhatIsNotJSON(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"empty": "", "blank": " \n", "open object": "{", "open string": `{"a":"b`, "trailing object": "{}{}", "trailing text": "{} x",
		"byte order mark": "\xEF\xBB\xBF{}", "raw NUL": "{\"a\":\"\x00\"}", "NUL behind": "{}\x00", "NaN": `{"a":NaN}`, "single quotes": `{'a':1}`,
		"comment": `{/* */}`, "trailing comma": `{"a":1,}`, "array comma": `[1,]`, "invalid UTF-8": "{\"a\":\"\xff\"}", "overlong": "{\"a\":\"\xc0\xaf\"}",
		"encoded surrogate": "{\"a\":\"\xed\xa0\x80\"}", "bad escape": `{"a":"\x"}`, "short escape": `{"a":"\u12"}`, "leading zero": `{"a":01}`,
		"plus": `{"a":+1}`, "bare point": `{"a":1.}`, "bare exponent": `{"a":1e}`, "raw newline": "{\"a\":\"\n\"}", "no colon": `{"a" 1}`, "number name": `{1:1}`,
		"deep and open": strings.Repeat("[", 40), "deep and wrong": strings.Repeat("[", 20) + "}" + strings.Repeat("]", 20),
		"deep name": strings.Repeat(`{"a":`, 20) + "{b:1}" + strings.Repeat("}", 20),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := parse([]byte(body))
			_, isSyntax := errors.AsType[*SyntaxError](err)
			require.True(t, isSyntax, "%v", err)
		})
	}
}

func TestParseReportsWhatWasNotMeant(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ body, pointer, code string }{
		"NUL":                        {`{"a":"x\u0000"}`, "/a", CodeInvalidText},
		"lone high":                  {`{"a":"\ud800"}`, "/a", CodeInvalidText},
		"lone low":                   {`{"a":"\udc00"}`, "/a", CodeInvalidText},
		"high and text":              {`{"a":"\ud800x"}`, "/a", CodeInvalidText},
		"two high":                   {`{"a":"\ud800\ud800"}`, "/a", CodeInvalidText},
		"NUL in a name":              {`{"a\u0000":1}`, "", CodeInvalidText},
		"duplicate":                  {`{"a":1,"a":2}`, "/a", CodeDuplicateField},
		"escaped duplicate":          {`{"a":1,"\u0061":2}`, "/a", CodeDuplicateField},
		"nested duplicate":           {`{"m":{"k":1,"k":1}}`, "/m/k", CodeDuplicateField},
		"value as a name":            {`{"ada@example.com":1,"ada@example.com":2}`, "", CodeDuplicateField},
		"too deep":                   {strings.Repeat("[", 17) + strings.Repeat("]", 17), strings.Repeat("/0", 15), CodeTooDeep},
		"much too deep":              {strings.Repeat("[", 20000) + strings.Repeat("]", 20000), strings.Repeat("/0", 15), CodeTooDeep},
		"deep, various":              {strings.Repeat(`{"a":`, 17) + `[{"b":[1,"\n",true,null,-0.1e5,{}]},[]]` + strings.Repeat("}", 17), strings.Repeat("/a", 15), CodeTooDeep},
		"in an array":                {`{"tags":["a","\u0000"]}`, "/tags/1", CodeInvalidText},
		"a name that may be a value": {`{"a/b~c":"\u0000"}`, "", CodeInvalidText},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, faults, err := parse([]byte(test.body))
			require.NoError(t, err)
			require.Len(t, faults, 1)
			require.Equal(t, test.pointer, faults[0].Pointer)
			require.Equal(t, test.code, faults[0].Code)
		})
	}
	_, faults, err := parse([]byte(strings.Repeat("[", 16) + strings.Repeat("]", 16)))
	require.NoError(t, err)
	require.Empty(t, faults, "16 levels are let in")
}

// FuzzParse holds the parser to encoding/json: what is JSON for one is JSON for
// the other, but for bytes that are not UTF-8, which encoding/json lets in; and
// what has no fault has the same meaning.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5e-3,"x\u00e9\ud83d\ude00",null,true]}`, `[[[[]]]]`, `"\ud800"`, `{"a":1,"a":1}`, ` 0 `, strings.Repeat("[", 30)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, faults, err := parse(data)
		require.Equal(t, json.Valid(data) && utf8.Valid(data), err == nil, "%v", err)
		if err != nil || len(faults) > 0 {
			return
		}
		var want any
		dec := json.NewDecoder(strings.NewReader(string(data)))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&want))
		require.Equal(t, want, plain(v))
	})
}

func plain(v value) any {
	switch v.kind {
	case kindBool:
		return v.text == "true"
	case kindNumber:
		return json.Number(v.text)
	case kindString:
		return v.text
	case kindArray:
		out := make([]any, len(v.items))
		for i, item := range v.items {
			out[i] = plain(item)
		}
		return out
	case kindObject:
		out := make(map[string]any, len(v.members))
		for _, m := range v.members {
			out[m.name] = plain(m.value)
		}
		return out
	default:
		return nil
	}
}

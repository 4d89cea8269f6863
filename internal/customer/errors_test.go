package customer

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestViolations(t *testing.T) {
	t.Parallel()
	var vs Violations
	if vs.Err() != nil {
		t.Fatal("no violations are an error")
	}
	vs.Add("/fine", nil)
	Parse(&vs, "/email", "secret", ParseEmail)
	vs.Add("/addresses/1", fmt.Errorf("wrapped: %w", broken("/city", CodeRequired, "", CodeTooMany)))
	vs.Add("/other", errors.New("secret"))
	checkViolations(t, vs.Err(), "/email", CodeInvalidEmail, "/addresses/1/city", CodeRequired, "/addresses/1", CodeTooMany, "/other", CodeInvalid)
	if text := vs.Error(); strings.Contains(text, "secret") || !strings.Contains(text, "/addresses/1/city required") {
		t.Fatalf("text %q", text)
	}
	for _, v := range vs {
		if strings.Contains(v.Detail, "secret") {
			t.Errorf("%s repeats the value", v.Pointer)
		}
	}
	if got := PointerToken("a/b~c~1"); got != "a~1b~0c~01" {
		t.Errorf("token %q", got)
	}
}

package upstream_test

import (
	"errors"
	"io"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestMaskReplacesSecretsInEveryEncoding(t *testing.T) {
	for text, want := range map[string]string{
		"no secret":                   "no secret",
		`p"w\ü&d twice p"w\ü&d`:       "[secret] twice [secret]",
		`{"password":"p\"w\\ü&d"}`:    `{"password":"[secret]"}`,
		`{"p":"p\"w\\ü\u0026d"}`:      `{"p":"[secret]"}`,
		`{"p":"p\"w\\\u00fc&d"}`:      `{"p":"[secret]"}`,
		`"{\"p\":\"p\\\"w\\\\ü&d\"}"`: `"{\"p\":\"[secret]\"}"`,
		"?p=p%22w%5C%C3%BC%26d":       "?p=[secret]",
		"longer-token, token":         "[secret], [secret]",
		"a and abc":                   "a and abc",
	} {
		if got := upstream.Mask(text, `p"w\ü&d`, "token", "longer-token", "", "a", "abc"); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestAMaskedErrorWrapsItsCause(t *testing.T) {
	err := upstream.MaskError(errors.Join(io.EOF, errors.New("token")), "token")
	if err.Error() != "EOF\n[secret]" || !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	if got := upstream.MaskError(io.EOF, "token"); got != io.EOF { //nolint:errorlint // the same error, not one that wraps it
		t.Errorf("got %v", got)
	}
	if got := upstream.MaskError(nil, "token"); got != nil {
		t.Errorf("got %v", got)
	}
}

package upstream_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

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

// Mask does not look for encodings of a secret such as a token, because no encoding changes these characters.
func TestNoEncodingChangesAPlainSecret(t *testing.T) {
	const secret = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz-"
	body, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, encoded := range []string{string(body[1 : len(body)-1]), url.QueryEscape(secret), url.PathEscape(secret)} {
		if encoded != secret {
			t.Errorf("got %s", encoded)
		}
	}
	if quoted := strconv.QuoteToASCII(secret); quoted != `"`+secret+`"` {
		t.Errorf("got %s", quoted)
	}
}

// A secret can have special characters of one kind only, or be long. The encodings of such a secret must stay few and short.
func TestMaskingNeedsLittleMemory(t *testing.T) {
	for _, special := range []string{`"`, `\`, "<", "&", "é", "🚀", "\x00", "a", `"<`, `\é🚀<"`} {
		for _, secret := range []string{"pass" + special + "word", strings.Repeat(special, 4096/utf8.RuneCountInString(special))} {
			quoted := strconv.Quote(secret)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got := upstream.Mask("the body "+quoted+" is refused", secret)
			runtime.ReadMemStats(&after)
			if got != `the body "[secret]" is refused` {
				t.Errorf("%q: got %.60s", special, got)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
				t.Errorf("%q, %d bytes: masking used %d bytes", special, len(secret), used)
			}
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

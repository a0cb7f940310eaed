package api

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"
)

// A body is refused if it exceeds one of these limits. The limits restrict the memory that the checks of a body use.
const (
	maxBody   = 114688 // in bytes, as in OpenStack's services
	maxDepth  = 16     // of nested objects and arrays
	maxTokens = 200    // names, strings, numbers and other values, and the brackets of objects and arrays
)

// readBody reads a body of one JSON value, and returns the value in its canonical form (RFC 8785). readBody refuses duplicate keys,
// invalid UTF-8, and characters that cannot be stored.
func readBody(c echo.Context) (jsontext.Value, error) {
	body, err := readRaw(c, maxBody)
	if err != nil {
		return nil, err
	}
	if err := check(body); err != nil {
		return nil, err
	}
	if err := body.Canonicalize(); err != nil {
		return nil, refuse(bodyMalformed, "the body is not valid JSON")
	}
	return body, nil
}

// readRaw reads a body of at most `limit` bytes. The body need not be JSON, although its Content-Type must be application/json.
func readRaw(c echo.Context, limit int64) (jsontext.Value, error) {
	r := c.Request()
	if kind, _ := mediaType(r.Header.Get(echo.HeaderContentType)); kind != echo.MIMEApplicationJSON {
		return nil, refuse(contentTypeUnsupported, "the Content-Type must be application/json")
	}
	if coding := r.Header.Get(echo.HeaderContentEncoding); coding != "" && !strings.EqualFold(coding, "identity") {
		c.Response().Header().Set(echo.HeaderAcceptEncoding, "identity")
		return nil, refuse(contentEncodingUnsupported, "the body must not be compressed: send it without Content-Encoding")
	}
	var text bytes.Buffer
	if n := r.ContentLength; n > 0 {
		text.Grow(int(min(n, limit)) + bytes.MinRead)
	}
	_, err := text.ReadFrom(http.MaxBytesReader(c.Response(), r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, refuse(bodyTooLarge, "the body is larger than %d bytes", limit)
	}
	if err != nil {
		return nil, refuse(bodyMalformed, "the body ended early")
	}
	return text.Bytes(), nil
}

// The function `check` refuses a body that is not one JSON value, that exceeds a limit, or that contains strings that cannot be stored. The
// problem lists up to maxFaults strings that cannot be stored. At any other fault, `check` stops, and the problem names this fault only.
// The problem never quotes the body.
func check(body jsontext.Value) error {
	decoder := jsontext.NewDecoder(bytes.NewReader(body))
	var faults []InvalidParam
	for n := 1; ; n++ {
		token, err := decoder.ReadToken()
		switch {
		case err != nil:
			return malformed(err)
		case decoder.StackDepth() > maxDepth:
			return refuse(bodyMalformed, "the body has more than %d objects and arrays inside each other", maxDepth)
		case n > maxTokens:
			return refuse(bodyMalformed, "the body has more than %d keys, values and brackets", maxTokens)
		case token.Kind() != '"':
		case isName(decoder) && len(token.String()) > maxName:
			return refuse(bodyMalformed, "the body contains a key that is longer than %d bytes", maxName)
		case decoder.StackPointer() == "/password", decoder.StackPointer() == "/user/password": // a password is never stored; the operations check it
		case len(faults) < maxFaults:
			if fault := badText(token.String()); fault != "" {
				faults = append(faults, InvalidParam{Pointer: some(string(decoder.StackPointer())), Detail: fault})
			}
		}
		if decoder.StackDepth() > 0 {
			continue
		}
		if _, err := decoder.ReadToken(); !errors.Is(err, io.EOF) {
			return refuse(bodyMalformed, "the body continues after the JSON value (at byte %d)", decoder.InputOffset())
		}
		if len(faults) > 0 {
			return invalid(faults...)
		}
		return nil
	}
}

// isName reports whether the token that the decoder returned last is the name of an object's member.
func isName(decoder *jsontext.Decoder) bool {
	kind, n := decoder.StackIndex(decoder.StackDepth())
	return kind == '{' && n%2 == 1
}

// The function `malformed` returns the problem for a body that is not JSON.
func malformed(err error) error {
	what := "the body is not valid JSON"
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		what = "the body contains a key twice"
	case errors.Is(err, io.EOF):
		what = "the body is empty"
	case errors.Is(err, io.ErrUnexpectedEOF):
		what = "the body ends early"
	}
	refused := refuse(bodyMalformed, "%s", what)
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		refused.detail += fmt.Sprintf(" (at byte %d)", e.ByteOffset)
		refused.params = []InvalidParam{{Pointer: some(string(e.JSONPointer)), Detail: what}}
	}
	return refused
}

// badText returns an error text if the string contains control characters, or characters above U+FFFF. BillingStack's MySQL tables
// cannot store characters that need four bytes in UTF-8.
func badText(text string) string {
	for _, r := range text {
		switch {
		case unicode.IsControl(r):
			return fmt.Sprintf("control characters, such as U+%04X, cannot be stored", r)
		case r > 0xFFFF:
			return fmt.Sprintf("characters above U+FFFF, such as U+%04X, cannot be stored", r)
		}
	}
	return ""
}

// The function `fits` decodes a body that must match the schema. `fits` ignores the keyword oneOf at the top of the schema. The caller must
// check the alternatives of oneOf. If `fits` checked oneOf and no alternative matched, the check would stop without naming the other
// faults.
func fits[T any](body jsontext.Value, schema *openapi3.Schema) (T, error) {
	var value any
	var decoded T
	if err := stdjson.Unmarshal(body, &value); err != nil {
		return decoded, refuse(bodyMalformed, "the body is not valid JSON")
	}
	fields := *schema
	fields.OneOf = nil
	if err := fields.VisitJSON(value, openapi3.MultiErrors()); err != nil {
		return decoded, invalid(faultsOf(err)...)
	}
	if err := stdjson.Unmarshal(body, &decoded); err != nil {
		return decoded, refuse(bodyMalformed, "the body does not match the schema of the operation")
	}
	return decoded, nil
}

// bodyAs checks the request body against the operation's schema, and decodes it.
func bodyAs[T any](c echo.Context, o operation) (T, error) { return fits[T](bodyOf(c), o.body()) }

// The function `visible` reports whether a character can be seen. White space, control characters and format characters cannot be
// seen.
func visible(r rune) bool { return unicode.IsGraphic(r) && !unicode.IsSpace(r) }

// The function `blank` returns an error text if the name is empty, or begins or ends with white space. For a valid name, `blank`
// returns an empty string.
func blank(name string) string {
	switch {
	case !strings.ContainsFunc(name, visible):
		return "the name is empty"
	case strings.TrimSpace(name) != name:
		return "the name begins or ends with white space"
	}
	return ""
}

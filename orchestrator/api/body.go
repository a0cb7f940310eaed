package api

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"
)

// maxBody is the maximum size of a request body in bytes, as in OpenStack's services.
const maxBody = 114688

// readBody reads a body of one JSON value, and returns the value in its canonical form (RFC 8785). readBody refuses duplicate keys,
// invalid UTF-8, and characters that cannot be stored.
func readBody(c echo.Context) (jsontext.Value, error) {
	r := c.Request()
	if kind, _, err := mime.ParseMediaType(r.Header.Get(echo.HeaderContentType)); err != nil || kind != echo.MIMEApplicationJSON {
		return nil, refuse(contentTypeUnsupported, "the Content-Type must be application/json")
	}
	text, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, refuse(bodyTooLarge, "the body is larger than %d bytes", maxBody)
	}
	if err != nil {
		return nil, refuse(bodyMalformed, "the body ended early")
	}
	body := jsontext.Value(text)
	if err := wellFormed(body); err != nil {
		return nil, err
	}
	if faults := badTexts(body); len(faults) > 0 {
		return nil, invalid(faults...)
	}
	if err := body.Canonicalize(); err != nil {
		return nil, refuse(bodyMalformed, "the body is not valid JSON")
	}
	return body, nil
}

// wellFormed checks that the body is one JSON value. The returned error says where the JSON is malformed, but does not quote the
// JSON.
func wellFormed(body jsontext.Value) error {
	decoder := jsontext.NewDecoder(strings.NewReader(string(body)))
	_, err := decoder.ReadValue()
	if err == nil {
		if _, err = decoder.ReadToken(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("the body continues after the JSON value")
	}
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

// badTexts returns a fault for each string with control characters or with characters above U+FFFF. BillingStack's MySQL tables
// cannot store characters that need four bytes in UTF-8.
func badTexts(body jsontext.Value) []InvalidParam {
	var faults []InvalidParam
	decoder := jsontext.NewDecoder(strings.NewReader(string(body)))
	for {
		token, err := decoder.ReadToken()
		if err != nil {
			return faults
		}
		if token.Kind() != '"' {
			continue
		}
		if fault := badText(token.String()); fault != "" {
			faults = append(faults, InvalidParam{Pointer: some(string(decoder.StackPointer())), Detail: fault})
		}
	}
}

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

// fits decodes a body. The body must match the schema.
func fits[T any](body jsontext.Value, schema *openapi3.Schema) (T, error) {
	var value any
	var decoded T
	if err := stdjson.Unmarshal(body, &value); err != nil {
		return decoded, refuse(bodyMalformed, "the body is not valid JSON")
	}
	if err := schema.VisitJSON(value, openapi3.MultiErrors()); err != nil {
		return decoded, invalid(faultsOf(err)...)
	}
	if err := stdjson.Unmarshal(body, &decoded); err != nil {
		return decoded, refuse(bodyMalformed, "the body does not match the schema of the operation")
	}
	return decoded, nil
}

// readAs reads the request body, checks the body against the operation's schema, and decodes it.
func readAs[T any](c echo.Context, o operation) (T, error) {
	body, err := readBody(c)
	if err != nil {
		var none T
		return none, err
	}
	return fits[T](body, o.body())
}

// visible reports whether a character can be seen. White space, control characters and format characters cannot be seen.
func visible(r rune) bool { return unicode.IsGraphic(r) && !unicode.IsSpace(r) }

// blank returns an error text if the name is empty, or begins or ends with white space. For a valid name, blank returns an empty
// string.
func blank(name string) string {
	switch {
	case !strings.ContainsFunc(name, visible):
		return "the name is empty"
	case strings.TrimSpace(name) != name:
		return "the name begins or ends with white space"
	}
	return ""
}

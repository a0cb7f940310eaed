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

// maxBody is the limit of OpenStack's services, in bytes.
const maxBody = 114688

// readBody reads one JSON value strictly. It refuses duplicate keys, invalid UTF-8, and characters in strings that a database or a
// page cannot hold. It returns the value in its canonical form (RFC 8785).
func readBody(c echo.Context) (jsontext.Value, error) {
	r := c.Request()
	if kind, _, err := mime.ParseMediaType(r.Header.Get(echo.HeaderContentType)); err != nil || kind != echo.MIMEApplicationJSON {
		return nil, refuse(contentTypeUnsupported, "the body must be application/json")
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

// wellFormed returns an error that says where the JSON is malformed, without repeating it.
func wellFormed(body jsontext.Value) error {
	decoder := jsontext.NewDecoder(strings.NewReader(string(body)))
	_, err := decoder.ReadValue()
	if err == nil {
		if _, err = decoder.ReadToken(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("something follows the JSON value")
	}
	what := "it is not valid JSON"
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		what = "a key occurs twice"
	case errors.Is(err, io.EOF):
		what = "it is empty"
	case errors.Is(err, io.ErrUnexpectedEOF):
		what = "it ends early"
	}
	refused := refuse(bodyMalformed, "reading the body: %s", what)
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		refused.detail += fmt.Sprintf(" (at byte %d)", e.ByteOffset)
		refused.params = []InvalidParam{{Pointer: some(string(e.JSONPointer)), Detail: what}}
	}
	return refused
}

// badTexts returns the strings with control characters, or with characters that need four bytes in UTF-8: BillingStack's MySQL
// tables can store at most three.
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
			return fmt.Sprintf("control characters (U+%04X) cannot be stored", r)
		case r > 0xFFFF:
			return fmt.Sprintf("characters like U+%04X, such as emoji, cannot be stored: use those up to U+FFFF", r)
		}
	}
	return ""
}

// fits checks a body against its schema and decodes it.
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
		return decoded, refuse(bodyMalformed, "the body does not match its schema")
	}
	return decoded, nil
}

// readAs reads a body, checks it against the operation's schema and decodes it.
func readAs[T any](c echo.Context, o operation) (T, error) {
	body, err := readBody(c)
	if err != nil {
		var none T
		return none, err
	}
	return fits[T](body, o.body())
}

// visible reports whether a character can be seen: it is neither white space nor one of Unicode's control or format characters.
func visible(r rune) bool { return unicode.IsGraphic(r) && !unicode.IsSpace(r) }

// blank returns what is wrong with a name that is empty or has white space at an end; empty if nothing is.
func blank(name string) string {
	switch {
	case !strings.ContainsFunc(name, visible):
		return "it is empty"
	case strings.TrimSpace(name) != name:
		return "it begins or ends with white space"
	}
	return ""
}

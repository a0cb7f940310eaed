package server

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/billing"
)

const maxBody = 112 << 10

// The type `field` is the value of a key in a JSON body. An update changes only the fields whose keys are in the body, and null
// clears a field.
type field[T any] struct {
	set, null bool
	value     T
}

// UnmarshalJSON decodes a field. The decoder calls UnmarshalJSON for null too.
func (f *field[T]) UnmarshalJSON(text []byte) error {
	f.set = true
	if string(text) == "null" {
		f.null = true
		return nil
	}
	return json.Unmarshal(text, &f.value)
}

// The function `decode` decodes the JSON body of a request. `decode` refuses unknown keys, duplicate keys and invalid UTF-8.
func decode[B any](c echo.Context) (B, error) {
	var body B
	r := c.Request()
	if kind, _, err := mime.ParseMediaType(r.Header.Get(echo.HeaderContentType)); err != nil || kind != echo.MIMEApplicationJSON {
		return body, &requestError{http.StatusUnsupportedMediaType, "the Content-Type must be application/json"}
	}
	text, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return body, &requestError{http.StatusRequestEntityTooLarge, "the body is over 112 KiB"}
	}
	if err != nil {
		return body, badRequest("reading the body: %s", err)
	}
	if len(text) == 0 {
		return body, badRequest(`Missing argument: "body"`)
	}
	if strings.TrimSpace(string(text)) == "null" {
		return body, badRequest("the body is null")
	}
	if err := json.Unmarshal(text, &body, json.RejectUnknownMembers(true)); err != nil {
		return body, badRequest("reading the body: %s", err)
	}
	return body, nil
}

// The methods of the type `changes` copy the fields of a body into an object. The field `err` keeps the first error of these
// methods.
type changes struct {
	created bool // the object is new, so required fields must be set
	err     error
}

func (c *changes) complain(format string, args ...any) {
	if c.err == nil {
		c.err = badRequest(format, args...)
	}
}

// The function `due` reports whether the body contains the field. If a required field is missing or null, `due` returns false and
// records an error.
func due[T any](c *changes, name string, f field[T], required bool) bool {
	if required && (f.null || c.created && !f.set) {
		c.complain("%s is required", name)
		return false
	}
	return f.set
}

// The method `id` sets the id of a new object: the id that the client chose, or a generated id. An update must not change the id.
func (c *changes) id(to *string, f field[string], fresh func() string) {
	given := f.set && !f.null
	switch {
	case c.created && !given:
		*to = fresh()
	case c.created && !billing.ValidID(f.value):
		c.complain("id %q is not a lower-case uuid", f.value)
	case c.created:
		*to = f.value
	case f.set && f.value != *to:
		c.complain("Not allowed to change id")
	}
}

// The method `fixed` checks that a field has the same value as in the path. If the value differs, `fixed` records an error.
func (c *changes) fixed(name, value string, f field[string]) {
	if f.set && f.value != value {
		c.complain("%s must be %q, as in the path", name, value)
	}
}

// The method `text` sets a text field. The parameter `limit` is the maximum number of characters.
func (c *changes) text(to *string, name string, f field[string], limit int, required bool) {
	if !due(c, name, f, required) {
		return
	}
	if utf8.RuneCountInString(f.value) > limit || strings.ContainsRune(f.value, 0) {
		c.complain("%s must have at most %d characters and no NUL", name, limit)
	}
	*to = f.value
}

// The method `name` sets the name, which is required and must not be empty.
func (c *changes) name(to *string, f field[string]) {
	c.text(to, "name", f, 60, true)
	if f.set && f.value == "" {
		c.complain("name is empty")
	}
}

// The method `code` sets a currency or language code, which must be in the list `list`.
func (c *changes) code(to *string, name string, f field[string], list string, required bool) {
	if !due(c, name, f, required) {
		return
	}
	if !f.null && !(names{list}).has(f.value) {
		c.complain("%s %q does not exist", name, f.value)
	}
	*to = f.value
}

// The method `reference` sets a required field whose value is the id of another object.
func (c *changes) reference(to *string, name string, f field[string]) {
	if !due(c, name, f, true) {
		return
	}
	if !billing.ValidID(f.value) {
		c.complain("%s %q is not a lower-case uuid", name, f.value)
	}
	*to = f.value
}

// The method `properties` sets each property that is in f, and keeps all other stored properties. A property cannot be removed.
func (c *changes) properties(to *map[string]any, f field[map[string]any]) {
	merged := map[string]any{}
	for _, from := range []map[string]any{*to, f.value} {
		for key, value := range from {
			switch v := value.(type) {
			case string:
				if strings.ContainsRune(v, 0) {
					c.complain("property %q contains a NUL", key)
				}
			case float64, bool:
			default:
				c.complain("property %q must be a string, number or boolean", key)
			}
			if key == "" || utf8.RuneCountInString(key) > 60 || strings.ContainsRune(key, 0) {
				c.complain("the name of property %q must have 1 to 60 characters and no NUL", key)
			}
			merged[key] = value
		}
	}
	*to = merged
}

// The method `pricing` replaces the whole list of prices. The server does not interpret the prices.
func (c *changes) pricing(to *billing.Pricing, f field[[]any]) {
	if !f.set {
		return
	}
	for _, one := range f.value {
		if _, ok := one.(map[string]any); !ok {
			c.complain("pricing must be a list of JSON objects")
		}
	}
	*to = f.value
}

// The function `maybe` sets an optional field of an object. If the key is not in the body, the field does not change. A null clears
// the field.
func maybe[T any](to **T, f field[T]) {
	switch {
	case f.null:
		*to = nil
	case f.set:
		*to = &f.value
	}
}

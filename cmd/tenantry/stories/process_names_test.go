package stories_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
)

// The type `names` has the values of the names in docs/process.md, such as CUSTOMER_ID. The first answer with a name sets its value. All later
// answers and calls must have the same value.
type names map[string]string

var aName = regexp.MustCompile(`\b[A-Z]+(_[A-Z]+)+\b`)

// The method `in` returns a text with the values in place of the names.
func (n names) in(text string) string {
	return aName.ReplaceAllStringFunc(text, func(name string) string {
		if value, known := n[name]; known {
			return value
		}
		return name
	})
}

// The method `text` reports whether a text is the expected one, and sets the names in it that have no value yet.
func (n names) text(want, got string) bool {
	pattern, rest := "^", want
	var unknown []string
	for _, at := range aName.FindAllStringIndex(want, -1) {
		before, name := want[len(want)-len(rest):at[0]], want[at[0]:at[1]]
		rest = want[at[1]:]
		pattern += regexp.QuoteMeta(before)
		if value, known := n[name]; known {
			pattern += regexp.QuoteMeta(value)
			continue
		}
		pattern += "(.+)"
		unknown = append(unknown, name)
	}
	found := regexp.MustCompile(pattern + regexp.QuoteMeta(rest) + "$").FindStringSubmatch(got)
	if found == nil {
		return false
	}
	for i, name := range unknown {
		n[name] = found[i+1]
	}
	return true
}

// The method `value` returns an error if a JSON value is not the expected one. An object may have more fields than the expected object. A list
// may have another order.
func (n names) value(want, got any) error {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%v is not an object", got)
		}
		for key, value := range want {
			field, ok := object[key]
			if !ok {
				return fmt.Errorf("the field %s is missing", key)
			}
			if err := n.value(value, field); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return fmt.Errorf("%v is not a list of %d values", got, len(want))
		}
		for _, value := range want {
			at, err := n.among(value, list)
			if err != nil {
				return err
			}
			list = append(append([]any{}, list[:at]...), list[at+1:]...)
		}
	case string:
		if text, ok := got.(string); !ok || !n.text(want, text) {
			return fmt.Errorf("%v is not %s", got, n.in(want))
		}
	default:
		if want != got {
			return fmt.Errorf("%v is not %v", got, want)
		}
	}
	return nil
}

// The method `among` finds an expected value in a list.
func (n names) among(want any, list []any) (at int, err error) {
	for i, got := range list {
		found := maps.Clone(n)
		if err = found.value(want, got); err == nil {
			maps.Copy(n, found)
			return i, nil
		}
	}
	return 0, fmt.Errorf("no value of %v is the expected one: %w", list, err)
}

// The method `answer` returns an error if the output of a command is not the expected answer. The expected answer may begin with the status of
// an HTTP answer and some of its headers. A JSON body follows.
func (n names) answer(want, got string) error {
	wantHead, wantBody := splitAnswer(want)
	gotHead, gotBody := splitAnswer(got)
	found := maps.Clone(n)
	for i, expected := range wantHead {
		ok := false
		for _, line := range gotHead {
			if i == 0 {
				version, rest, _ := strings.Cut(line, " ")
				status, _, _ := strings.Cut(rest, " ")
				ok = ok || strings.HasPrefix(version, "HTTP/") && strings.HasPrefix(expected, status+" ")
				break
			}
			ok = ok || found.text(expected, line)
		}
		if !ok {
			return fmt.Errorf("the head of the answer does not have %q", found.in(expected))
		}
	}
	if wantBody == "" {
		maps.Copy(n, found)
		return nil
	}
	var body any
	if json.Unmarshal([]byte(gotBody), &body) != nil {
		if gotBody != wantBody { // the answer of PostgreSQL
			return fmt.Errorf("the answer is not %s", wantBody)
		}
		return nil
	}
	if err := found.value(parsed(wantBody), body); err != nil {
		return err
	}
	maps.Copy(n, found)
	return nil
}

// splitAnswer splits an answer into the lines of its head and its body. An answer that does not come over HTTP has only a body.
func splitAnswer(text string) (head []string, body string) {
	text = strings.ReplaceAll(strings.TrimSpace(text), "\r\n", "\n")
	if !strings.HasPrefix(text, "HTTP/") && !regexp.MustCompile(`^\d\d\d `).MatchString(text) {
		return nil, text
	}
	first, body, _ := strings.Cut(text, "\n\n")
	return strings.Split(first, "\n"), body
}

// The function `parsed` returns the value of a JSON text in this test.
func parsed(text string) (value any) {
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		panic(fmt.Sprint(err, ": ", text))
	}
	return value
}

// The function `status` returns the text of an HTTP status, such as "201 Created".
func status(code int) string { return fmt.Sprint(code, " ", http.StatusText(code)) }

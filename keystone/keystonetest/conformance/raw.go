package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The type `raw` sends requests to a Keystone without using keystone/v3.
type raw struct {
	t   *testing.T
	url string // ends in /v3
}

// The type `answer` is Keystone's answer to a request.
type answer struct {
	status int
	header http.Header
	body   any // nil if the answer has no body; a string if the body is not JSON
}

// The method `do` sends a request. The body is JSON or empty.
func (r raw) do(method, path, token, body string, headers ...string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.t.Context()), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Close = true
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("X-Auth-Token", token)
	}
	for header := range slices.Chunk(headers, 2) {
		req.Header.Set(header[0], header[1])
	}
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header}
	if len(content) > 0 && json.Unmarshal(content, &a.body) != nil {
		a.body = string(content)
	}
	return a
}

// The method `must` is like `do`, but fails the test if the answer does not have the expected status.
func (r raw) must(status int, method, path, token, body string, headers ...string) answer {
	r.t.Helper()
	a := r.do(method, path, token, body, headers...)
	if a.status != status {
		r.t.Fatalf("%s %s: got %d %v, want %d", method, path, a.status, a.body, status)
	}
	return a
}

// The method `get` returns the string at a path in the body, such as get("project", "id"). A number in the path is an index of a
// list.
func (a answer) get(path ...any) string {
	v := a.body
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return ""
			}
			v = l[p]
		}
	}
	s, _ := v.(string)
	return s
}

// withoutLinks removes the field "links" from each element of the list a.body[object][list]. Keystone 22 reads the roles of a new application
// credential from a cache. An element has links only if an earlier answer of the same process has added them to the cached role.
func (a answer) withoutLinks(object, list string) answer {
	body, _ := a.body.(map[string]any)
	inner, _ := body[object].(map[string]any)
	elements, _ := inner[list].([]any)
	for _, element := range elements {
		if fields, ok := element.(map[string]any); ok {
			delete(fields, "links")
		}
	}
	return a
}

func (a answer) token() string { return a.header.Get("X-Subject-Token") }

var (
	anID      = regexp.MustCompile(`[0-9a-f]{32}`)
	aName     = regexp.MustCompile(`\b(bs-customer|bs-child|u|v|U|a|d|g)-[a-z0-9]{12}\b`)
	malformed = regexp.MustCompile(`(?s)[.\n].*`)
)

// The method `shape` describes an answer without the values that differ between two Keystones. The shape contains the status, the
// names and types of the body's fields and, for a refusal, the message.
func (a answer) shape() string {
	message := a.get("error", "message")
	if a.status == http.StatusBadRequest { // remove the details of the schema from the message
		message = malformed.ReplaceAllString(message, "")
		if strings.HasPrefix(message, "Invalid input") {
			message = "Invalid input"
		}
	}
	message = aName.ReplaceAllString(anID.ReplaceAllString(message, "ID"), "NAME")
	if _, ok := a.body.(string); ok {
		return fmt.Sprintf("%d (no JSON)", a.status)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", a.status, shapeOf(a.body), message))
}

func shapeOf(v any) string {
	switch v := v.(type) {
	case map[string]any:
		fields := make([]string, 0, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			fields = append(fields, name+":"+shapeOf(v[name]))
		}
		return "{" + strings.Join(fields, " ") + "}"
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		return "[" + shapeOf(v[0]) + "]"
	case nil:
		return "-"
	default:
		return strings.TrimSuffix(fmt.Sprintf("%T", v), "64")
	}
}

// passwordLogin returns the body of a login by password. The scope is JSON or empty.
func passwordLogin(user, password, scope string) string {
	if scope != "" {
		scope = `,"scope":` + scope
	}
	return fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{%s,"password":%q}}}%s}}`, user, password, scope)
}

func tokenLogin(token, scope string) string {
	return fmt.Sprintf(`{"auth":{"identity":{"methods":["token"],"token":{"id":%q}},"scope":%s}}`, token, scope)
}

func projectScope(id string) string { return fmt.Sprintf(`{"project":{"id":%q}}`, id) }

const adminUser, adminScope = `"name":"admin","domain":{"id":"default"}`, `{"project":{"name":"admin","domain":{"name":"Default"}}}`

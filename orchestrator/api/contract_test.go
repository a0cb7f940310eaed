package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tenantry/tenantry/orchestrator/api"
)

// The type `contract` is the OpenAPI document that the server publishes. Tests check that answers match this document.
type contract struct{ doc *openapi3.T }

func readContract(t *testing.T, server http.Handler) *contract {
	t.Helper()
	out := httptest.NewRecorder()
	server.ServeHTTP(out, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	read, known := contracts.Load(out.Body.String())
	if !known {
		doc, err := openapi3.NewLoader().LoadFromData(out.Body.Bytes())
		must(t, err)
		read = &contract{doc}
		contracts.Store(out.Body.String(), read)
	}
	return read.(*contract) //nolint:forcetypeassert // the only type of contracts
}

// The variable `contracts` has the documents that were read before, by their text: nearly all servers publish the same text.
var contracts sync.Map

// The method `operation` returns the document's operation for a request, or nil if the document has none.
func (c *contract) operation(method, path string) *openapi3.Operation {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	for template, item := range c.doc.Paths.Map() {
		same := slices.EqualFunc(strings.Split(template, "/"), parts, func(t, p string) bool {
			return t == p || strings.HasPrefix(t, "{")
		})
		if same {
			return item.GetOperation(method)
		}
	}
	return nil
}

// ownHeaders lists headers. If an answer has one of these headers, the document must list the header for this answer.
var ownHeaders = []string{
	"Location", "Link", "ETag", "Retry-After", "Accept-Encoding", "WWW-Authenticate", "Preference-Applied", "Idempotency-Replayed",
	"RateLimit", "RateLimit-Policy", "X-Subject-Token",
}

// The method `check` fails the test if the document does not define the answer's status, body schema or problem type.
func (c *contract) check(t *testing.T, q request, a answer) {
	t.Helper()
	method := q.method
	if method == "" {
		method = http.MethodGet
	}
	if id := a.header.Get("X-Openstack-Request-Id"); !strings.HasPrefix(id, "req-") {
		t.Errorf("%s %s: answered without a request id: %q", method, q.path, id)
	}
	operation := c.operation(method, q.path)
	if operation == nil && method == http.MethodHead {
		operation = c.operation(http.MethodGet, q.path)
	}
	if operation == nil {
		if a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
			t.Errorf("%s %s: got status %d, want 404 or 405, because the document has no such operation", method, q.path, a.status)
		}
		return
	}
	response := operation.Responses.Value(strconv.Itoa(a.status))
	if response == nil {
		t.Errorf("%s %s: the document does not know status %d: %s", method, q.path, a.status, a.body)
		return
	}
	for _, name := range ownHeaders {
		if a.header.Get(name) != "" && response.Value.Headers[name] == nil {
			t.Errorf("%s %s: the document does not know that a %d has the header %s", method, q.path, a.status, name)
		}
	}
	if a.body == "" {
		return
	}
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	content := response.Value.Content.Get(kind)
	if content == nil {
		t.Errorf("%s %s: the document does not know a %d of type %s", method, q.path, a.status, kind)
		return
	}
	if !strings.HasSuffix(kind, "json") {
		return
	}
	var body any
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Errorf("%s %s: %v: %s", method, q.path, err, a.body)
		return
	}
	if err := content.Schema.Value.VisitJSON(body, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors()); err != nil {
		t.Errorf("%s %s: the answer does not match the document: %v", method, q.path, err)
	}
	if kind != "application/problem+json" {
		return
	}
	name := strings.TrimPrefix(read[api.Problem](t, a).Type, "/problems/")
	if listed, _ := response.Value.Extensions["x-problems"].([]any); !slices.Contains(listed, any(name)) {
		t.Errorf("%s %s: problem %s is not in the document under %d", method, q.path, name, a.status)
	}
}

// The method `schema` returns a schema of the document by its name.
func (c *contract) schema(t *testing.T, name string) *openapi3.Schema {
	t.Helper()
	found := c.doc.Components.Schemas[name]
	if found == nil {
		t.Fatalf("the document has no schema %s", name)
	}
	return found.Value
}

package api

import (
	"bytes"
	"cmp"
	_ "embed" // the page
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/explain"
)

//go:embed docs.html
var docsHTML string

// The type `docs` contains the HTML pages of the documentation, rendered from openapi.yaml.
type docs struct {
	index    []byte
	problems map[string][]byte // by name
}

// The data of the pages.
type (
	docsPage struct {
		Title, Description string
		Tags               []docsTag
		Schemas            []docsSchema
		Problems           []docsProblem
	}
	docsTag struct {
		Name, Description string
		Operations        []docsOperation
	}
	docsOperation struct {
		ID, Method, Path, Summary, Description string
		Callers                                []string
		Parameters                             []docsField
		Body                                   []docsField
		BodyHelp                               string
		Curl                                   string
		Responses                              []docsResponse
	}
	docsField struct {
		Name, In, Type, Ref, Description string
		Required                         bool
	}
	docsResponse struct {
		Status, Description, Ref string
		Problems                 []string
	}
	docsSchema struct {
		Name, Description string
		Fields            []docsField
		Values            []docsValue // the values of an enumeration, each with a text
	}
	docsValue   struct{ Name, Description, Help string }
	docsProblem struct {
		Name, Title, Help, Means, FixBy string

		Status    int
		Retryable bool
	}
)

func newDocs(d *document) (*docs, error) {
	pages, err := template.New("").Parse(docsHTML)
	if err != nil {
		return nil, err
	}
	render := func(name string, data any) ([]byte, error) {
		var page bytes.Buffer
		err := pages.ExecuteTemplate(&page, name, data)
		return page.Bytes(), err
	}
	all := docsPage{Title: d.doc.Info.Title, Description: d.doc.Info.Description, Schemas: schemasOf(d.doc)}
	for _, tag := range d.doc.Tags {
		all.Tags = append(all.Tags, docsTag{tag.Name, tag.Description, d.operationsOf(tag.Name)})
	}
	made := &docs{problems: map[string][]byte{}}
	for _, k := range kinds() {
		p := docsProblem{k.name, k.title(), k.help(), k.entry().Means, string(k.fixBy()), k.status, k.retryable}
		all.Problems = append(all.Problems, p)
		if made.problems[k.name], err = render("problem", p); err != nil {
			return nil, err
		}
	}
	made.index, err = render("index", all)
	return made, err
}

func (d *document) operationsOf(tag string) []docsOperation {
	var all []docsOperation
	for _, o := range d.operations {
		if slices.Contains(o.Tags, tag) {
			all = append(all, describe(o))
		}
	}
	slices.SortFunc(all, func(a, b docsOperation) int {
		return cmp.Compare(placeOf("operationId: "+a.ID+"\n"), placeOf("operationId: "+b.ID+"\n"))
	})
	return all
}

// placeOf returns the position at which a text first occurs in openapi.yaml. The pages list operations in the order of
// openapi.yaml, which the parser does not preserve.
func placeOf(text string) int { return bytes.Index(openAPI, []byte(text)) }

func describe(o operation) docsOperation {
	view := docsOperation{
		ID: o.OperationID, Method: o.method, Path: o.path, Summary: o.Summary, Description: o.Description,
		Curl: curl(o),
	}
	if o.accepts(portalScheme) {
		view.Callers = append(view.Callers, "portal")
	}
	if o.accepts(operatorScheme) {
		view.Callers = append(view.Callers, "operator")
	}
	for _, p := range o.parameters {
		field := fieldOf(p.Value.Name, p.Value.Schema, p.Value.Required)
		field.In = p.Value.In
		if p.Value.Description != "" {
			field.Description = p.Value.Description
		}
		view.Parameters = append(view.Parameters, field)
	}
	if o.RequestBody != nil {
		view.Body, view.BodyHelp = fieldsOf(o.body()), o.body().Description
	}
	for _, status := range slices.Sorted(maps.Keys(o.Responses.Map())) {
		r := o.Responses.Value(status).Value
		shown := docsResponse{Status: status, Description: valueOf(r.Description), Problems: problemsOf(r)}
		if content := r.Content.Get(echo.MIMEApplicationJSON); content != nil && content.Schema != nil {
			shown.Ref = refName(content.Schema.Ref)
		}
		view.Responses = append(view.Responses, shown)
	}
	return view
}

// problemsOf returns the names of the problem types that a response may report.
func problemsOf(r *openapi3.Response) []string {
	var names []string
	listed, _ := r.Extensions["x-problems"].([]any)
	for _, name := range listed {
		names = append(names, fmt.Sprint(name))
	}
	return names
}

func schemasOf(doc *openapi3.T) []docsSchema {
	var all []docsSchema
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		s := doc.Components.Schemas[name].Value
		if view := (docsSchema{name, s.Description, fieldsOf(s), helped(name, valuesOf(s))}); len(view.Fields)+len(view.Values) > 0 {
			all = append(all, view)
		}
	}
	return all
}

// valuesOf returns the values of a schema with x-enumDescriptions, in the order of the schema's enum.
func valuesOf(s *openapi3.Schema) (values []docsValue) {
	texts, ok := s.Extensions["x-enumDescriptions"].(map[string]any)
	if !ok {
		return nil
	}
	for _, one := range s.Enum {
		name := fmt.Sprint(one)
		values = append(values, docsValue{Name: name, Description: fmt.Sprint(texts[name])})
	}
	return values
}

// The function `helped` adds the advice to the codes of failures and findings.
func helped(schema string, values []docsValue) []docsValue {
	lookup := map[string]func(string) (explain.Entry, bool){"FailureCode": explain.Failure, "FindingCode": explain.Finding}[schema]
	if lookup == nil {
		return values
	}
	for i := range values {
		e, _ := lookup(values[i].Name)
		values[i].Help = strings.TrimSpace(e.Why + " " + e.Advice())
	}
	return values
}

func fieldsOf(s *openapi3.Schema) []docsField {
	var fields []docsField
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		fields = append(fields, fieldOf(name, s.Properties[name], slices.Contains(s.Required, name)))
	}
	return fields
}

func fieldOf(name string, ref *openapi3.SchemaRef, required bool) docsField {
	s := ref.Value
	field := docsField{Name: name, Type: strings.Join(s.Type.Slice(), " or "), Description: s.Description, Required: required}
	if s.Items != nil {
		field.Type, ref = "list of "+strings.Join(s.Items.Value.Type.Slice(), " or "), s.Items
	}
	explained := len(valuesOf(ref.Value)) > 0
	if len(ref.Value.Properties) > 0 || explained {
		field.Ref = refName(ref.Ref)
	}
	switch {
	case explained:
	case len(s.Enum) > 0:
		field.Type = strings.Trim(strings.Join(strings.Fields(fmt.Sprint(s.Enum)), ", "), "[]")
	case s.Max != nil && s.Min != nil:
		field.Type += fmt.Sprintf(", %v to %v", *s.Min, *s.Max)
	case s.Format != "":
		field.Type += ", " + s.Format
	}
	if s.Default != nil {
		field.Type += fmt.Sprintf(", default %v", s.Default)
	}
	return field
}

func refName(ref string) string { return ref[strings.LastIndex(ref, "/")+1:] }

// The function `curl` creates the curl command that the documentation shows as an example of the operation.
func curl(o operation) string {
	words := []string{"curl"}
	switch o.method {
	case http.MethodGet:
	case http.MethodHead:
		words = append(words, "-I")
	default:
		words = append(words, "-X "+o.method)
	}
	switch {
	case o.accepts(portalScheme):
		words = append(words, `-u "$API_KEY:$API_SECRET"`)
	case o.accepts(operatorScheme):
		words = append(words, `-H "X-Auth-Token: $OS_TOKEN"`)
	}
	for _, p := range o.parameters {
		switch p.Value.Name {
		case headerKey:
			words = append(words, `-H "Idempotency-Key: $(uuidgen)"`)
		case headerSubjectToken:
			words = append(words, `-H "X-Subject-Token: $USER_TOKEN"`)
		}
	}
	if example := exampleOf(o); example != "" {
		words = append(words, `-H 'Content-Type: application/json' -d '`+example+`'`)
	}
	words = append(words, `"$TENANTRY`+strings.NewReplacer("{", "$", "}", "").Replace(o.path)+`"`)
	return strings.Join(words, " ")
}

// exampleOf returns the first example of the operation's request body in openapi.yaml.
func exampleOf(o operation) string {
	if o.RequestBody == nil {
		return ""
	}
	content := o.RequestBody.Value.Content.Get(echo.MIMEApplicationJSON)
	example := content.Example
	if len(content.Examples) > 0 {
		place := func(a, b string) int { return cmp.Compare(placeOf(a+":\n"), placeOf(b+":\n")) }
		example = content.Examples[slices.MinFunc(slices.Collect(maps.Keys(content.Examples)), place)].Value.Value
	}
	encoded, err := json.Marshal(example)
	if err != nil || example == nil {
		return ""
	}
	return string(encoded)
}

// GetDocs serves the documentation.
func (s *server) GetDocs(c echo.Context) error {
	docs, err := s.docs()
	if err != nil {
		return err
	}
	return page(c, docs.index)
}

// GetProblem serves the page of a problem type.
func (s *server) GetProblem(c echo.Context, name string) error {
	docs, err := s.docs()
	if err != nil {
		return err
	}
	text, ok := docs.problems[name]
	if !ok {
		return refuse(routeNotFound, "there is no such problem")
	}
	return page(c, text)
}

func page(c echo.Context, html []byte) error {
	h := c.Response().Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	h.Set(echo.HeaderCacheControl, "no-cache")
	return c.HTMLBlob(http.StatusOK, html)
}

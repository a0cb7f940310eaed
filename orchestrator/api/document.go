package api

import (
	"context"
	_ "embed" // the document
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"
)

//go:embed openapi.yaml
var openAPI []byte

// document is the OpenAPI document, prepared for look-ups.
type document struct {
	doc        *openapi3.T
	json       func() ([]byte, error) // encoded when it is first requested
	operations map[string]operation   // by id
}

// operation is an operation of the document, together with its path's parameters.
type operation struct {
	*openapi3.Operation
	path, method string
	parameters   openapi3.Parameters
}

// takesOrders reports whether the operation places an order, which it does if it has the Idempotency-Key header.
func (o operation) takesOrders() bool { return o.parameters.GetByInAndName("header", headerKey) != nil }

// parsed is the compiled-in document. It is shared and must not be changed.
var parsed = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background())
})

func loadDocument(version string) (*document, error) {
	shared, err := parsed()
	if err != nil {
		return nil, err
	}
	doc, info := *shared, *shared.Info
	doc.Info, info.Extensions = &info, map[string]any{"x-release": version}
	d := &document{doc: &doc, operations: map[string]operation{}}
	for _, path := range doc.Paths.Keys() {
		item := doc.Paths.Value(path)
		for method, o := range item.Operations() {
			d.operations[o.OperationID] = operation{o, path, method, slices.Concat(item.Parameters, o.Parameters)}
		}
	}
	d.json = sync.OnceValues(func() ([]byte, error) { return json.MarshalIndent(&doc, "", " ") })
	return d, nil
}

// accepts reports whether the document allows callers of a security scheme.
func (o operation) accepts(scheme string) bool {
	return o.Security != nil && slices.ContainsFunc(*o.Security, func(r openapi3.SecurityRequirement) bool {
		_, ok := r[scheme]
		return ok
	})
}

// body returns the schema of the request body.
func (o operation) body() *openapi3.Schema {
	return o.RequestBody.Value.Content.Get(echo.MIMEApplicationJSON).Schema.Value
}

// checkParameters refuses query parameters that the document does not define or allow. For a malformed id in the path, it answers
// that there is no such object.
func checkParameters(o operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			known := map[string]*openapi3.Schema{}
			for _, p := range o.parameters {
				switch p.Value.In {
				case openapi3.ParameterInQuery:
					known[p.Value.Name] = p.Value.Schema.Value
				case openapi3.ParameterInPath:
					if p.Value.Schema.Value.VisitJSON(c.Param(p.Value.Name)) != nil {
						return nothing(p.Value.Name)
					}
				}
			}
			query, err := url.ParseQuery(c.Request().URL.RawQuery)
			if err != nil { // Echo would ignore a parameter that it cannot read, and without a filter it would show more
				return invalid(InvalidParam{Detail: "the query is malformed: it has a % without an escape, or a semicolon"})
			}
			var faults []InvalidParam
			for name, values := range query {
				schema := known[name]
				fault := ""
				switch {
				case schema == nil:
					fault = "there is no such parameter"
				case schema.Type.Is(openapi3.TypeArray):
					fault = wrongList(schema, values)
				case len(values) != 1:
					fault = "it is given more than once"
				default:
					fault = wrong(schema, values[0])
				}
				if fault != "" {
					faults = append(faults, InvalidParam{Parameter: some(name), Detail: fault})
				}
			}
			if len(faults) > 0 {
				slices.SortFunc(faults, func(a, b InvalidParam) int { return strings.Compare(text(a.Parameter), text(b.Parameter)) })
				return invalid(faults...)
			}
			return next(c)
		}
	}
}

// nothing returns the problem for a malformed id in a path: for the parameter run_id, run-not-found.
func nothing(parameter string) error {
	name := strings.TrimSuffix(parameter, "_id")
	if i := slices.IndexFunc(kinds(), func(k kind) bool { return k.name == name+"-not-found" }); i >= 0 {
		return refuse(kinds()[i], "there is no such %s", name)
	}
	return refuse(routeNotFound, "there is no such path")
}

// wrongList returns what is wrong with a query parameter that may be repeated; empty if nothing is.
func wrongList(schema *openapi3.Schema, values []string) string {
	if limit := schema.MaxItems; limit != nil && uint64(len(values)) > *limit {
		return fmt.Sprintf("it is given more than %d times", *limit)
	}
	for _, value := range values {
		if fault := wrong(schema.Items.Value, value); fault != "" {
			return fault
		}
	}
	return ""
}

// wrong returns what is wrong with the value of a query parameter; empty if nothing is.
func wrong(schema *openapi3.Schema, text string) string {
	var value any = text
	if schema.Type.Is(openapi3.TypeInteger) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "wanted: a whole number"
		}
		value = float64(n)
	}
	if err := schema.VisitJSON(value); err != nil {
		return faultsOf(err)[0].Detail
	}
	if schema.Format == "date-time" {
		if _, err := time.Parse(time.RFC3339, text); err != nil { // such as the 30th of February, which the pattern allows
			return wantedTime
		}
	}
	return ""
}

const wantedTime = "wanted: a time like 2026-01-31T12:00:00Z"

// faultsOf returns the faults of a value that does not match its schema, each with a pointer.
func faultsOf(err error) []InvalidParam {
	var all openapi3.MultiError
	if !errors.As(err, &all) {
		all = openapi3.MultiError{err}
	}
	var faults []InvalidParam
	for _, one := range all {
		e, ok := errors.AsType[*openapi3.SchemaError](one)
		if !ok {
			faults = append(faults, InvalidParam{Detail: "it does not match the schema"})
			continue
		}
		path, detail := e.JSONPointer(), e.Reason
		switch e.SchemaField {
		case "pattern":
			detail = "wanted: " + e.Schema.Description
		case "format":
			detail = wantedTime
		case "required":
			detail = "it is missing"
		case "properties": // an unknown property: the pointer is its parent's
			var name string
			if _, err := fmt.Sscanf(e.Reason, "property %q", &name); err == nil {
				path, detail = append(path, name), "there is no such field"
			}
		}
		faults = append(faults, InvalidParam{Pointer: some(pointer(path)), Detail: detail})
	}
	slices.SortFunc(faults, func(a, b InvalidParam) int {
		return strings.Compare(text(a.Pointer), text(b.Pointer))
	})
	return faults
}

// pointer returns a JSON pointer (RFC 6901).
func pointer(path []string) string {
	var b strings.Builder
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	for _, part := range path {
		b.WriteString("/" + escape.Replace(part))
	}
	return b.String()
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// GetDocument serves the document.
func (s *server) GetDocument(c echo.Context) error {
	text, err := s.document.json()
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, text)
}

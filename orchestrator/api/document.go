package api

import (
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

// The type `document` is the OpenAPI document, with an index of its operations.
type document struct {
	doc        *openapi3.T
	json       func() ([]byte, error) // encoded at the first request
	operations map[string]operation   // by id
}

// The type `operation` is an operation of the document, together with its path's parameters.
type operation struct {
	*openapi3.Operation
	path, method string
	parameters   openapi3.Parameters
}

// The function `parsed` returns the OpenAPI document embedded in the binary. All callers share this document and must not change
// it. A test validates the document: validation would take a third of the time in which the service starts.
var parsed = sync.OnceValues(func() (*openapi3.T, error) { return openapi3.NewLoader().LoadFromData(openAPI) })

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

// The method `accepts` reports whether callers may use this security scheme to call the operation.
func (o operation) accepts(scheme string) bool {
	return o.Operation != nil && o.Security != nil && slices.ContainsFunc(*o.Security, func(r openapi3.SecurityRequirement) bool {
		_, ok := r[scheme]
		return ok
	})
}

// The method `open` reports whether callers may call the operation without a credential.
func (o operation) open() bool {
	anonymous := func(r openapi3.SecurityRequirement) bool { return len(r) == 0 }
	return o.Security == nil || len(*o.Security) == 0 || slices.ContainsFunc(*o.Security, anonymous)
}

// rawBody returns the maximum size of a body that the operation itself decodes. For all other operations, the result is zero.
func (o operation) rawBody() int64 {
	limit, _ := o.Extensions["x-raw-body"].(float64)
	return int64(limit)
}

// The method `body` returns the schema of the request body.
func (o operation) body() *openapi3.Schema {
	return o.RequestBody.Value.Content.Get(echo.MIMEApplicationJSON).Schema.Value
}

// checkParameters refuses query parameters and values that the document does not allow. If an id in the path is malformed, the request is
// answered as if the object did not exist. If the operation decodes its body itself, the query is ignored. Ceilometer's publisher sends
// unknown options as query parameters. If the request were refused, Ceilometer would drop the samples.
func checkParameters(o operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		if o.rawBody() > 0 {
			return next
		}
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
			query, err := readQuery(c.Request().URL.RawQuery)
			if err != nil {
				return err
			}
			var faults []InvalidParam
			for name, values := range query {
				schema := known[name]
				fault := ""
				switch {
				case schema == nil:
					fault = "the operation has no such parameter"
				case schema.Type.Is(openapi3.TypeArray):
					fault = wrongList(schema, values)
				case len(values) != 1:
					fault = "the parameter is given more than once"
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

// A query is refused if it exceeds one of these limits. The limits restrict the memory that the checks of a query use.
const (
	maxQuery      = 16 << 10 // in bytes
	maxParameters = 64       // names with their values
)

// readQuery parses the query of a URL.
func readQuery(raw string) (url.Values, error) {
	if len(raw) > maxQuery {
		return nil, invalid(InvalidParam{Detail: fmt.Sprintf("the query is longer than %d bytes", maxQuery)})
	}
	if strings.Count(raw, "&") >= maxParameters {
		return nil, invalid(InvalidParam{Detail: fmt.Sprintf("the query has more than %d parameters", maxParameters)})
	}
	query, err := url.ParseQuery(raw)
	if err != nil { // Echo would ignore a filter that it cannot parse, and the list would be too long
		return nil, invalid(InvalidParam{Detail: "the query contains a semicolon, or a % that does not begin an escape"})
	}
	return query, nil
}

// The function `nothing` returns the problem for a malformed id in a path. For example, the problem for the parameter run_id is
// run-not-found.
func nothing(parameter string) error {
	name := strings.TrimSuffix(parameter, "_id")
	if i := slices.IndexFunc(kinds(), func(k kind) bool { return k.name == name+"-not-found" }); i >= 0 {
		return refuse(kinds()[i], "there is no such %s", name)
	}
	return refuse(routeNotFound, "there is no such path")
}

// wrongList checks all values of a repeated query parameter, and returns an error text for the first fault. If all values are
// valid, wrongList returns an empty string.
func wrongList(schema *openapi3.Schema, values []string) string {
	if limit := schema.MaxItems; limit != nil && uint64(len(values)) > *limit {
		return fmt.Sprintf("the parameter is given more than %d times", *limit)
	}
	for _, value := range values {
		if fault := wrong(schema.Items.Value, value); fault != "" {
			return fault
		}
	}
	return ""
}

// The function `wrong` returns an error text if the value of a query parameter is not valid. If the value is valid, `wrong` returns
// an empty string.
func wrong(schema *openapi3.Schema, text string) string {
	var value any = text
	if schema.Type.Is(openapi3.TypeInteger) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "wanted: a whole number"
		}
		value = float64(n)
	}
	if schema.Type.Is(openapi3.TypeBoolean) {
		if text != "true" && text != "false" {
			return "wanted: true or false"
		}
		value = text == "true"
	}
	if err := schema.VisitJSON(value); err != nil {
		return faultsOf(err)[0].Detail
	}
	if schema.Format == "date-time" {
		if _, err := time.Parse(time.RFC3339, text); err != nil { // the schema allows impossible dates, such as February 30
			return wantedTime
		}
	}
	return ""
}

const wantedTime = "wanted: a time like 2026-01-31T12:00:00Z"

// faultsOf converts the error of a schema check to a list of faults. Each fault has a JSON pointer to its field.
func faultsOf(err error) []InvalidParam {
	var all openapi3.MultiError
	if !errors.As(err, &all) {
		all = openapi3.MultiError{err}
	}
	var faults []InvalidParam
	for _, one := range all {
		e, ok := errors.AsType[*openapi3.SchemaError](one)
		if !ok {
			faults = append(faults, InvalidParam{Detail: "the value does not match the schema"})
			continue
		}
		path, detail := e.JSONPointer(), e.Reason
		switch e.SchemaField {
		case "pattern":
			detail = "wanted: " + e.Schema.Description
		case "format":
			detail = wantedTime
		case "maximum": // the reason would show 1000000 as 1e+06
			detail = "number must be at most " + strconv.FormatFloat(*e.Schema.Max, 'f', -1, 64)
		case "required":
			detail = "the field is missing"
		case "properties": // the field is unknown; the path in the error is the path of the field's parent
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

// The function `pointer` encodes a path as a JSON pointer (RFC 6901).
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

// GetDocument serves the OpenAPI document as JSON.
func (s *server) GetDocument(c echo.Context) error {
	text, err := s.document.json()
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, text)
}

package server

import (
	"net/url"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/billing"
)

// The variable `operators` maps the operators of the original BillingStack to the operators of billing.Condition. In the original
// BillingStack, "<" means "<=" because of a bug; in this server, "<" means "less than".
var operators = map[string]string{
	"eq": "eq", "==": "eq", "=": "eq", "ne": "ne", "!=": "ne", "ge": "ge", ">=": "ge", "le": "le", "<=": "le",
	"gt": "gt", ">": "gt", "lt": "lt", "<": "lt", "like": "like", "%": "like",
}

// The function `conditions` parses the query parameters q.field, q.op and q.value. The first values of the three parameters form
// the first condition, and so on. An object must meet all conditions.
func conditions(query url.Values, columns []string) ([]billing.Condition, error) {
	for name := range query {
		if name != "q.field" && name != "q.op" && name != "q.value" {
			return nil, badRequest("Unknown argument: %q", name)
		}
	}
	fields, ops, values := query["q.field"], query["q.op"], query["q.value"]
	if len(values) != len(fields) || len(ops) != 0 && len(ops) != len(fields) {
		return nil, badRequest("q.field, q.op and q.value must have the same number of values; only q.op may be omitted")
	}
	where := make([]billing.Condition, len(fields))
	for i, field := range fields {
		op := "eq"
		if len(ops) > 0 {
			op = operators[ops[i]]
		}
		if field == "customer" {
			field = "customer_id"
		}
		switch {
		case op == "":
			return nil, badRequest("Invalid operator: %q", ops[i])
		case !slices.Contains(columns, field):
			return nil, badRequest("%q is not a valid field to query by", field)
		case isID(field) && op != "like" && !billing.ValidID(values[i]):
			return nil, badRequest("%q is not a lower-case uuid", values[i])
		case strings.ContainsRune(values[i], 0):
			return nil, badRequest("a value contains a NUL")
		}
		where[i] = billing.Condition{Field: field, Op: op, Value: values[i]}
	}
	return where, nil
}

func isID(field string) bool {
	return field == "id" || strings.HasSuffix(field, "_id") && field != "resource_id"
}

package billingtest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
)

var canonicalID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func canonical(id string) bool { return canonicalID.MatchString(id) }

// The function `conditions` reads the query parameters q.field, q.op and q.value. The first values of the three parameters form the
// first condition, and so on. If a query has two conditions on one field, only the last condition applies.
func conditions(t table, query map[string][]string) (func(row) bool, fault) {
	type condition struct{ op, value string }
	byField := map[string]condition{}
	for i, name := range query["q.field"] {
		field, ok := t.column(name)
		if !ok {
			return nil, fault{text: name + " is not a valid field to query by", class: "InvalidQueryField"}
		}
		c := condition{op: "eq"}
		if i < len(query["q.op"]) {
			c.op = query["q.op"][i]
		}
		if i >= len(query["q.value"]) {
			return nil, fault{text: "No value given"}
		}
		c.value = query["q.value"][i]
		if field == "id" || strings.HasSuffix(field, "_id") && field != "resource_id" {
			if _, err := uuid.Parse(c.value); err != nil {
				return nil, fault{text: "badly formed hexadecimal UUID string", class: "StatementError"}
			}
		}
		if !slices.Contains([]string{"eq", "==", "=", "ne", "!=", "ge", ">=", "le", "<=", "gt", ">", "<", "like", "%"}, c.op) {
			return nil, fault{text: "Invalid operator: " + c.op, class: "InvalidOperator"}
		}
		byField[field] = c
	}
	return func(r row) bool {
		for field, c := range byField {
			if !compare(c.op, r[field], c.value) {
				return false
			}
		}
		return true
	}, fault{}
}

func compare(op string, stored any, value string) bool {
	if stored == nil {
		return false
	}
	order := strings.Compare(fmt.Sprint(stored), value)
	switch op {
	case "eq", "==", "=":
		return order == 0
	case "ne", "!=":
		return order != 0
	case "ge", ">=":
		return order >= 0
	case "le", "<=", "<":
		return order <= 0
	case "gt", ">":
		return order > 0
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.ToLower(value)), "%", ".*")
	return regexp.MustCompile("^" + pattern + "$").MatchString(strings.ToLower(fmt.Sprint(stored)))
}

package billingtest

import (
	"net/http"
	"slices"
	"strings"
)

// The type `table` describes a table of the original BillingStack's database. The fields have the names that the API uses.
type table struct {
	name      string
	key       string // the field that identifies a row: "id" or "name"
	fields    []string
	required  []string
	refs      map[string]string // foreign keys that the database checks; a map from the field to the table that the field refers to
	children  map[string]string // the tables that refer to this table, each with its referring field; a row to which another row refers is not deleted
	merchant  string            // the field that stores the merchant's id; the API takes this id from the path
	inPath    bool              // the path begins with /merchants/<m>
	renamable bool              // an update may change the id
}

var described = []string{"id", "name", "title", "description", "properties"}

var tables = map[string]table{
	"currencies": {name: "currency", key: "name", fields: []string{"name", "title"}, required: []string{"name"}},
	"languages":  {name: "language", key: "name", fields: []string{"name", "title"}, required: []string{"name"}},
	"merchants": {
		name: "merchant", key: "id", fields: []string{"id", "name", "currency", "language"},
		required: []string{"name", "currency", "language"},
		refs:     map[string]string{"currency": "currency", "language": "language"},
		children: map[string]string{"customer": "merchant_id", "plan": "merchant_id", "product": "merchant_id"},
	},
	"products": {
		name: "product", key: "id", fields: append(slices.Clone(described), "pricing"), required: []string{"name"},
		children: map[string]string{"plan_item": "product_id"}, merchant: "merchant_id", inPath: true, renamable: true,
	},
	"plans": {
		name: "plan", key: "id", fields: append(slices.Clone(described), "items"), required: []string{"name"},
		children: map[string]string{"plan_item": "plan_id", "subscription": "plan_id"},
		merchant: "merchant_id", inPath: true, renamable: true,
	},
	"customers": {
		name: "customer", key: "id", fields: []string{"id", "merchant_id", "name", "currency", "language", "contact_info"},
		required: []string{"name"}, refs: map[string]string{"currency": "currency", "language": "language"},
		children: map[string]string{"subscription": "customer_id"}, merchant: "merchant_id", inPath: true,
	},
	"subscriptions": {
		name: "subscription", key: "id",
		fields:   []string{"id", "plan_id", "customer_id", "resource_id", "resource_type", "billing_day", "payment_method_id"},
		required: []string{"plan_id", "customer_id", "resource_id"},
		refs:     map[string]string{"plan_id": "plan", "customer_id": "customer"}, inPath: true, renamable: true,
	},
	"usage": {
		name: "usage", key: "id",
		fields: []string{
			"id", "merchant_id", "subscription_id", "product_id", "measure", "value", "price", "total",
			"start_timestamp", "end_timestamp",
		},
		required: []string{"subscription_id", "product_id"}, merchant: "merchant_id", inPath: true,
	},
}

// The method `column` returns the API's name of a field. The argument is the name that a filter uses: the name of the field's
// database column. `column` returns false if a filter cannot use the field.
func (t table) column(field string) (string, bool) {
	switch {
	case field == "currency_name", field == "language_name":
		field = strings.TrimSuffix(field, "_name")
	case field == "currency", field == "language", field == "properties", field == "pricing", field == "items":
		return "", false
	case field == "customer" && t.name == "subscription":
		field = "customer_id"
	}
	return field, field == "merchant_id" && t.merchant != "" || slices.Contains(t.fields, field)
}

// The type `call` is a parsed request.
type call struct {
	table    table
	method   string
	merchant string
	id       string
	item     bool   // the path names an item; the id may be empty
	product  string // the product id in the path of a plan item
	query    map[string][]string
	body     map[string]any
}

// The method `route` parses a path such as currencies/<name> or merchants/<m>/plans/<p>/items/<product>. `route` returns false for
// an unknown path.
func (q *QuirkServer) route(path string, r *http.Request) (call, bool) {
	in := call{method: r.Method, query: r.URL.Query()}
	parts := strings.Split(path, "/")
	nested := len(parts) > 2 && parts[0] == "merchants"
	if nested {
		in.merchant, parts = parts[1], parts[2:]
	}
	t, ok := tables[parts[0]]
	if !ok || t.inPath != nested {
		return in, false
	}
	in.table = t
	switch {
	case len(parts) == 1:
		return in, true
	case len(parts) == 2:
		in.item, in.id = true, parts[1]
		return in, parts[1] != "" || !q.opts.V1
	case len(parts) == 4 && t.name == "plan" && parts[2] == "items":
		in.item, in.id, in.product = true, parts[1], parts[3]
		return in, true
	}
	return in, false
}

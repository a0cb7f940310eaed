package billingtest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// The method `handle` returns the status and the body of the answer. If the original server's handler would raise an exception,
// `handle` returns 0 and a fault. The caller must hold q.mu.
func (q *QuirkServer) handle(in call) (int, any) {
	update := http.MethodPatch
	if q.opts.V1 {
		update = http.MethodPut
	}
	switch {
	case in.product != "":
		return q.planItem(in)
	case !in.item && in.method == http.MethodGet:
		return q.list(in)
	case !in.item && in.method == http.MethodPost:
		return q.create(in)
	case in.item && in.method == http.MethodGet, in.item && in.method == http.MethodDelete, in.item && in.method == update:
		at, f := q.at(in)
		if f.text != "" {
			return 0, f
		}
		switch in.method {
		case http.MethodGet:
			return http.StatusOK, q.view(in.table, q.rows[in.table.name][at])
		case http.MethodDelete:
			return q.remove(in.table, at)
		}
		return q.update(in, at)
	}
	return http.StatusMethodNotAllowed, nil
}

// The method `at` finds the row whose id is in the path, and returns the row's index. If a table has only one row, an empty id
// matches the row, as in the original BillingStack.
func (q *QuirkServer) at(in call) (int, fault) {
	rows := q.rows[in.table.name]
	if in.id == "" && len(rows) == 1 {
		return 0, fault{}
	}
	if in.table.key == "id" && !canonical(in.id) {
		return 0, fault{text: "No criterias matched", class: "NotFound", notFound: true} //nolint:misspell // the original's words
	}
	at := slices.IndexFunc(rows, func(r row) bool { return r[in.table.key] == in.id })
	if at < 0 {
		return 0, fault{text: in.id, class: "NotFound", notFound: true}
	}
	return at, fault{}
}

func (q *QuirkServer) list(in call) (int, any) {
	if in.table.name == "usage" && q.opts.V1 {
		return 0, fault{text: "merchant_id is not a valid field to query by"}
	}
	match, f := conditions(in.table, in.query)
	if f.text != "" {
		return 0, f
	}
	if in.merchant != "" && !canonical(in.merchant) && in.table.name != "customer" {
		return 0, fault{text: "badly formed hexadecimal UUID string"}
	}
	found := []row{}
	for _, r := range q.rows[in.table.name] {
		if q.listedUnder(in, r) && match(r) {
			found = append(found, q.view(in.table, r))
		}
	}
	return http.StatusOK, found
}

// listedUnder reports whether the merchant in the path may list the row. For any merchant, the original v2 server lists the customers of
// all merchants. A subscription belongs to its customer's merchant.
func (q *QuirkServer) listedUnder(in call, r row) bool {
	switch {
	case in.merchant == "", in.table.name == "customer" && !q.opts.V1:
		return true
	case in.table.name == "subscription":
		customer := q.find("customer", "id", r["customer_id"])
		return customer != nil && customer["merchant_id"] == in.merchant
	}
	return r["merchant_id"] == in.merchant
}

func (q *QuirkServer) find(table, key string, value any) row {
	for _, r := range q.rows[table] {
		if r[key] == value {
			return r
		}
	}
	return nil
}

func (q *QuirkServer) create(in call) (int, any) {
	t := in.table
	switch {
	case t.name == "subscription" && q.opts.Unrepaired && !q.opts.V1:
		return 0, fault{text: "create_subscription() takes exactly 3 arguments (4 given)"}
	case t.name == "usage" && q.opts.Unrepaired && !q.opts.V1:
		return 0, fault{text: "create_usage() takes exactly 3 arguments (4 given)"}
	case t.name == "usage" && q.opts.V1:
		return 0, integrity("NOT NULL constraint failed: usage.prodoct_id", "INSERT INTO usage")
	case t.name == "usage" && in.body["start_timestamp"] != nil:
		return 0, fault{text: "SQLite DateTime type only accepts Python datetime and date objects as input.", class: "StatementError"}
	case len(asList(in.body["items"])) > 0, len(asList(in.body["contact_info"])) > 0:
		return 0, fault{text: "Circular reference detected"}
	}
	r := t.row(in.body)
	if t.merchant != "" {
		r[t.merchant] = in.merchant
		if t.name != "usage" && q.find("merchant", "id", in.merchant) == nil {
			return 0, fault{text: in.merchant, class: "NotFound", notFound: true}
		}
	}
	if t.key == "name" {
		r["name"] = strings.ToLower(fmt.Sprint(r["name"]))
	} else if r["id"] == nil {
		r["id"] = uuid.NewString()
	}
	if f := q.check(t, r, "INSERT INTO "+t.name); f.text != "" {
		return 0, f
	}
	if q.find(t.name, t.key, r[t.key]) != nil {
		return 0, integrity("UNIQUE constraint failed: "+t.name+"."+t.key, "INSERT INTO "+t.name)
	}
	q.rows[t.name] = append(q.rows[t.name], r)
	return http.StatusAccepted, q.view(t, r)
}

// The method `check` returns a fault if the row violates a constraint of the original BillingStack's database.
func (q *QuirkServer) check(t table, r row, statement string) fault {
	for _, field := range t.required {
		if r[field] == nil {
			return integrity("NOT NULL constraint failed: "+t.name+"."+field, statement)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(r)) {
		id, isText := r[field].(string)
		if isText && (field == "id" || strings.HasSuffix(field, "_id")) && field != "resource_id" && field != "merchant_id" {
			if _, err := uuid.Parse(id); err != nil {
				return fault{text: "badly formed hexadecimal UUID string", class: "StatementError"}
			}
		}
		if refers, ok := t.refs[field]; ok && r[field] != nil && q.find(refers, tableKey(refers), r[field]) == nil {
			return integrity("FOREIGN KEY constraint failed", statement)
		}
	}
	return fault{}
}

func (q *QuirkServer) update(in call, at int) (int, any) {
	t, old := in.table, q.rows[in.table.name][at]
	if id, ok := in.body["id"]; ok && id != old["id"] && !t.renamable {
		return 0, fault{text: "Not allowed to change id"}
	}
	changed := maps.Clone(old)
	for field, value := range in.body {
		switch {
		case !slices.Contains(t.fields, field) || field == "items": // unknown keys are ignored
		case field == "properties":
			merged := row{}
			for _, from := range []any{old["properties"], value} {
				if m, ok := from.(map[string]any); ok {
					maps.Copy(merged, m)
				}
			}
			changed["properties"] = map[string]any(merged)
		default:
			changed[field] = value
		}
	}
	if f := q.check(t, changed, "UPDATE "+t.name); f.text != "" {
		return 0, f
	}
	q.rows[t.name][at] = changed
	if q.opts.V1 {
		return http.StatusAccepted, q.view(t, changed)
	}
	return http.StatusOK, q.view(t, changed)
}

// The method `remove` deletes a row. If other rows refer to the row, `remove` returns a fault and deletes nothing. This imitates the
// original BillingStack, whose DELETE tries to set the foreign keys of the other rows to NULL. The DELETE fails, because these columns have
// NOT NULL constraints.
func (q *QuirkServer) remove(t table, at int) (int, any) {
	r := q.rows[t.name][at]
	for _, child := range slices.Sorted(maps.Keys(t.children)) {
		if q.find(child, t.children[child], r["id"]) != nil {
			return 0, integrity("NOT NULL constraint failed: "+child+"."+t.children[child], "UPDATE "+child)
		}
	}
	q.rows[t.name] = slices.Delete(slices.Clone(q.rows[t.name]), at, at+1)
	return http.StatusNoContent, nil
}

func (q *QuirkServer) planItem(in call) (int, any) {
	same := func(r row) bool { return r["plan_id"] == in.id && r["product_id"] == in.product }
	at := slices.IndexFunc(q.rows["plan_item"], same)
	switch {
	case in.method == http.MethodPut && at >= 0:
		return 0, integrity("UNIQUE constraint failed: plan_item.plan_id, plan_item.product_id", "INSERT INTO plan_item")
	case in.method == http.MethodPut && q.find("plan", "id", in.id) == nil:
		return 0, fault{text: in.id, class: "NotFound", notFound: true}
	case in.method == http.MethodPut && q.find("product", "id", in.product) == nil:
		return 0, integrity("FOREIGN KEY constraint failed", "INSERT INTO plan_item")
	case in.method == http.MethodPut: // the body is ignored
		q.rows["plan_item"] = append(q.rows["plan_item"], row{"plan_id": in.id, "product_id": in.product})
		status := http.StatusOK
		if q.opts.V1 {
			status = http.StatusAccepted
		}
		return status, row{"plan_id": in.id, "product_id": in.product, "title": nil, "description": nil, "pricing": []any{}}
	case in.method == http.MethodPatch:
		return 0, fault{text: "badly formed hexadecimal UUID string", class: "StatementError"}
	case in.method == http.MethodDelete && !q.opts.V1:
		return 0, fault{text: "delete() takes exactly 2 arguments (1 given)"}
	case in.method == http.MethodDelete && at < 0:
		return 0, fault{text: in.product, class: "NotFound", notFound: true}
	case in.method == http.MethodDelete:
		q.rows["plan_item"] = slices.DeleteFunc(slices.Clone(q.rows["plan_item"]), same)
		return http.StatusNoContent, nil
	}
	return http.StatusMethodNotAllowed, nil
}

// The method `row` returns a new row with those fields of the body that the table stores.
func (t table) row(body map[string]any) row {
	r := row{}
	for _, field := range t.fields {
		if value, ok := body[field]; ok && field != "items" && field != "contact_info" {
			r[field] = value
		}
	}
	return r
}

// The method `view` returns a row in the format of the API, with null for each unset field.
func (q *QuirkServer) view(t table, r row) row {
	v := row{}
	for _, field := range t.fields {
		v[field] = r[field]
		switch {
		case field == "contact_info", field == "pricing" && r[field] == nil:
			v[field] = []any{}
		case field == "properties":
			v[field] = castProperties(r[field])
		case field == "items":
			v[field] = q.items(r["id"])
		}
	}
	return v
}

// castProperties imitates a bug of the original BillingStack, which stores each value as text and casts it back. A stored false
// is read as true, because bool("False") is true in Python.
func castProperties(stored any) map[string]any {
	v := map[string]any{}
	m, _ := stored.(map[string]any)
	for key, value := range m {
		switch value.(type) {
		case bool:
			v[key] = true
		case nil:
			v[key] = "None"
		default:
			v[key] = value
		}
	}
	return v
}

// The method `items` returns the items of a plan, the newest first. A client that expects the oldest item first therefore fails the tests.
func (q *QuirkServer) items(plan any) []row {
	found := []row{}
	for _, r := range slices.Backward(q.rows["plan_item"]) {
		if r["plan_id"] != plan {
			continue
		}
		product := q.find("product", "id", r["product_id"])
		found = append(found, row{
			"plan_id": plan, "product_id": r["product_id"], "pricing": []any{},
			"name": product["name"], "title": product["title"], "description": product["description"],
		})
	}
	return found
}

func integrity(text, statement string) fault {
	return fault{class: "IntegrityError", text: "(IntegrityError) " + text + " u'" + statement + " ...' ()"}
}

func asList(v any) []any {
	list, _ := v.([]any)
	return list
}

func tableKey(name string) string {
	if name == "currency" || name == "language" {
		return "name"
	}
	return "id"
}

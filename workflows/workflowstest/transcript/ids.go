package transcript

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// idPattern matches API keys, and the ids of BillingStack, Keystone and Tenantry.
var idPattern = regexp.MustCompile(`tk_[0-9a-f]{16,}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}`)

// ids stores the kind of each id and numbers the ids of each kind.
type ids struct {
	kinds   map[string]kind
	numbers map[string]int
	given   map[string]int // by kind
}

// kind is the kind of object that has an id, such as a customer or a run. If an id has several kinds, the most precise kind is
// used. Among equally precise kinds, the first in alphabetical order is used, because the order of requests is random.
type kind struct {
	name    string
	precise int
}

// known are the names of all kinds. For example, an id after the path segment customers and an id in the field customer_id have the
// kind customer.
var known = []string{
	"customer", "customer_tenant", "domain", "merchant", "payment_method", "plan", "product", "project", "role", "run", "subscription",
	"subscription_tenant", "user",
}

// others maps the name of a field or query parameter to the kind of its id, if the name does not contain the kind.
var others = map[string]string{"marker": "run", "retried_by": "run", "retry_of": "run", "waits_for": "run"}

// prefixes maps a text to the kind of the id that follows this text in a name, tag or value.
var prefixes = map[string]string{
	"bs-customer-": "customer", "bs-subscription-": "subscription", "tenantry-run-": "run", "tenantry-merchant-": "merchant", "pending:": "run",
}

// learn determines the kind of each id in the exchanges.
func learn(all []*exchange) ids {
	l := ids{map[string]kind{}, map[string]int{}, map[string]int{}}
	for _, e := range all {
		segments := strings.Split(e.path, "/")
		collection := ""
		for _, segment := range segments {
			if k := kindOf(segment); k != "" {
				collection = k
			}
		}
		recorded := func(name string) string { return name }
		if e.service == API {
			recorded = func(name string) string { return renamed(renamedFields, name) }
		}
		l.text("", e.path)
		for name, values := range e.query {
			for _, value := range values {
				l.text(recorded(name), value)
			}
		}
		for _, body := range [][]byte{e.body, e.answer} {
			if value, ok := decoded(body); ok {
				l.value("", collection, value, recorded)
			}
		}
	}
	return l
}

// kindOf returns the kind that the name of a field or path segment contains, or "" if the name contains no kind.
func kindOf(name string) string {
	if k, ok := others[name]; ok {
		return k
	}
	for _, k := range []string{name, strings.TrimSuffix(name, "_id"), strings.TrimSuffix(name, "s")} {
		if slices.Contains(known, k) {
			return k
		}
	}
	return ""
}

// value learns the kinds of the ids in a JSON value. The parameter field is the name of the field with this value. The parameter
// around is the kind of the object with this field.
func (l ids) value(field, around string, value any, recorded func(field string) string) {
	switch v := value.(type) {
	case map[string]any:
		if id, ok := v["id"].(string); ok && idPattern.FindString(id) == id && id != "" {
			l.note(id, object(around, v))
		}
		for name, value := range v {
			name = recorded(name)
			inner := around
			if k := kindOf(name); k != "" {
				inner = k
			}
			l.value(name, inner, value, recorded)
		}
	case []any:
		for _, value := range v {
			l.value(field, around, value, recorded)
		}
	case string:
		l.text(field, v)
	}
}

// object returns the kind of the object v, which has an id. The parameter around is the kind of the object that contains v.
func object(around string, v map[string]any) kind {
	name, _ := v["name"].(string)
	sort, _ := v["kind"].(string)
	switch {
	case strings.HasPrefix(name, "bs-customer-"):
		return kind{"customer_tenant", 2}
	case strings.HasPrefix(name, "bs-subscription-"):
		return kind{"subscription_tenant", 2}
	case around == "role" && name != "":
		return kind{"role " + name, 3}
	case v["workflow"] != nil:
		return kind{"run", 2}
	case kindOf(sort) != "":
		return kind{kindOf(sort), 1}
	case around != "":
		return kind{around, 1}
	}
	return kind{"id", 0}
}

// text learns the kind of each id in a text from the characters before the id, and from the name of the text's field.
func (l ids) text(field, text string) {
	for _, at := range idPattern.FindAllStringIndex(text, -1) {
		id, before := text[at[0]:at[1]], text[:at[0]]
		k := kind{"id", 0}
		for prefix, name := range prefixes {
			if strings.HasSuffix(before, prefix) {
				k = kind{name, 1}
			}
		}
		if rest, ok := strings.CutSuffix(before, "/"); ok {
			if name := kindOf(rest[strings.LastIndex(rest, "/")+1:]); name != "" {
				k = kind{name, 1}
			}
		}
		if name := kindOf(field); name != "" && id == text {
			k = kind{name, 1}
			if strings.HasSuffix(name, "_tenant") {
				k.precise = 2
			}
		}
		l.note(id, k)
	}
}

func (l ids) note(id string, k kind) {
	old, ok := l.kinds[id]
	if !ok || k.precise > old.precise || k.precise == old.precise && k.name < old.name {
		l.kinds[id] = k
	}
}

// label returns the text that replaces an id in the file. An id that starts with 00000000-0000- is not replaced.
func (l ids) label(id string, numbered bool) string {
	if strings.HasPrefix(id, "00000000-0000-") {
		return id
	}
	k := l.kinds[id].name
	switch {
	case strings.HasPrefix(id, "tk_"):
		k = "key"
	case k == "":
		k = "id"
	}
	if l.kinds[id].precise == 3 { // the kind contains a role's name, so the id needs no number
		return "<" + k + ">"
	}
	if numbered && l.numbers[id] == 0 {
		l.given[k]++
		l.numbers[id] = l.given[k]
	}
	if n := l.numbers[id]; n != 0 {
		return fmt.Sprintf("<%s-%d>", k, n)
	}
	return "<" + k + ">"
}

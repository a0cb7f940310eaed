package transcript

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// idPattern finds the ids of BillingStack, Keystone and Tenantry, and API keys.
var idPattern = regexp.MustCompile(`tk_[0-9a-f]{16,}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}`)

// ids tells what each id stands for, and gives it a number among those that stand for the same kind of thing.
type ids struct {
	kinds   map[string]kind
	numbers map[string]int
	given   map[string]int // by kind
}

// kind is what an id stands for. Of several the more precise counts, then the first in the alphabet: the order of requests is left to chance.
type kind struct {
	name    string
	precise int
}

// known are the kinds, in the singular of a path's segment or as the field that names one without _id.
var known = []string{
	"customer", "customer_tenant", "domain", "merchant", "payment_method", "plan", "product", "project", "role", "run", "subscription",
	"subscription_tenant", "user",
}

// others are the fields and query parameters that hold an id of a known kind under another name.
var others = map[string]string{"marker": "run", "retried_by": "run", "retry_of": "run", "waits_for": "run"}

// prefixes stand before an id in names, tags and values.
var prefixes = map[string]string{
	"bs-customer-": "customer", "bs-subscription-": "subscription", "tenantry-run-": "run", "tenantry-merchant-": "merchant", "pending:": "run",
}

// learn sees what the ids of all exchanges stand for.
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

// kindOf is the kind that a field or a path's segment names; empty if none.
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

// value sees a JSON value of a field, among things of a kind.
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

// object is the kind of a thing with an id, among things of a kind.
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

// text sees what stands before each id in a text.
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

// label is what is written in an id's place. An id that is no thing's stays.
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
	if l.kinds[id].precise == 3 { // it has a name
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

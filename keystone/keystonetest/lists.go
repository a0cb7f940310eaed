package keystonetest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// The type `list` is an answer that contains a list. The members are encoded one by one, because a list can be long.
type list struct {
	resource  string
	members   iter.Seq[any]
	self      string
	truncated bool
}

// listed returns an answer with a list in Keystone's format. Keystone does not split a list into pages.
func listed[V any](c call, resource string, rows []V, truncated bool, show func(V, call) any) (int, any, error) {
	return http.StatusOK, list{
		resource: resource,
		members: func(yield func(any) bool) {
			for _, one := range rows {
				if !yield(show(one, c)) {
					return
				}
			}
		},
		self: "http://" + c.Host + c.URL.RequestURI(), truncated: truncated,
	}, nil
}

// The method `encode` writes the list in JSON. If w returns an error, the client has closed the connection, and `encode` returns.
func (l list) encode(w io.Writer) error {
	out := bufio.NewWriter(w)
	_, err := fmt.Fprintf(out, `{%q: [`, l.resource)
	between := ""
	for one := range l.members {
		if err != nil {
			return err
		}
		var text []byte
		if text, err = json.Marshal(one); err == nil {
			_, err = fmt.Fprintf(out, "%s%s", between, text)
		}
		between = ", "
	}
	end := object{"links": object{"next": nil, "self": l.self, "previous": nil}}
	if l.truncated {
		end["truncated"] = true
	}
	rest, failed := json.Marshal(end)
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "], %s\n", rest[1:]); err != nil {
		return err
	}
	return out.Flush()
}

// The function `limited` returns the objects that pass all filters. The function `first` contains the filters that Keystone applies in its
// database. The function `last` contains the filters that Keystone applies after it has read the list from the database. The result
// `truncated` reports whether the list was cut to Options.ListLimit.
func limited[V any](
	k *Keystone, all iter.Seq[*V], names nameFilters, name func(*V) string, first, last func(*V) bool,
) (found []*V, truncated bool) {
	for one := range all {
		if first(one) && names.first(name(one)) {
			found = append(found, one)
		}
	}
	if len(names.afterwards) == 0 {
		found, truncated = cut(k, found)
	}
	kept := found[:0]
	for _, one := range found {
		if last(one) && names.last(name(one)) {
			kept = append(kept, one)
		}
	}
	if len(names.afterwards) > 0 {
		kept, truncated = cut(k, kept)
	}
	return kept, truncated
}

// The function `cut` shortens a list to Options.ListLimit. The result `truncated` reports whether the list was longer.
func cut[V any](k *Keystone, rows []V) (cut []V, truncated bool) {
	if k.limit == 0 || len(rows) <= k.limit {
		return rows, false
	}
	return rows[:k.limit], true
}

// The method `matches` reports whether the value is equal to the filter in the query. If the query does not contain the filter, the result
// is true.
func (c call) matches(filter, value string) bool {
	wanted, ok := c.query[filter]
	return !ok || wanted[0] == value
}

// hasName reports whether the name is equal to the name in the query. If the query does not contain a name, the result is true.
func (k *Keystone) hasName(c call, name string) bool {
	wanted, ok := c.query["name"]
	return !ok || k.same(wanted[0], name)
}

// nameFilters contains the filters in a query that compare a part of the name, such as name__startswith.
type nameFilters struct {
	// inDatabase contains the filters that ignore the case, such as name__istartswith. The database applies these filters with LIKE, so
	// "_" and "%" match any characters. Keystone cuts the list after it has applied these filters.
	inDatabase []*regexp.Regexp
	// form returns the form of a name that the filters in the database compare. SQLite ignores only the case of ASCII letters.
	form func(name string) string
	// afterwards contains the case-sensitive filters. Keystone applies these filters after it has read the whole list from the database.
	// If a query has such a filter, Keystone cuts the list as the last step.
	afterwards []func(name string) bool
}

func (k *Keystone) nameFiltersOf(query url.Values) (f nameFilters) {
	f.form = asciiLower
	if k.loose {
		f.form = k.plain
	}
	for key, values := range query {
		comparator, ok := strings.CutPrefix(key, "name__")
		if !ok {
			continue
		}
		wanted := values[0]
		like := strings.NewReplacer("%", ".*", "_", ".").Replace(regexp.QuoteMeta(f.form(wanted)))
		switch comparator {
		case "istartswith":
			f.inDatabase = append(f.inDatabase, regexp.MustCompile("(?s)^"+like))
		case "iendswith":
			f.inDatabase = append(f.inDatabase, regexp.MustCompile("(?s)"+like+"$"))
		case "icontains":
			f.inDatabase = append(f.inDatabase, regexp.MustCompile("(?s)"+like))
		case "startswith":
			f.afterwards = append(f.afterwards, func(name string) bool { return strings.HasPrefix(name, wanted) })
		case "endswith":
			f.afterwards = append(f.afterwards, func(name string) bool { return strings.HasSuffix(name, wanted) })
		case "contains":
			f.afterwards = append(f.afterwards, func(name string) bool { return strings.Contains(name, wanted) })
		default: // an unknown filter matches every name, but Keystone then cuts the list as the last step
			f.afterwards = append(f.afterwards, func(string) bool { return true })
		}
	}
	return f
}

// asciiLower returns the name with the ASCII letters in lower case.
func asciiLower(name string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

// The method `first` reports whether a name passes the filters in the database. The method `last` reports whether a name passes the filters
// that Keystone applies afterwards.
func (f nameFilters) first(name string) bool {
	for _, filter := range f.inDatabase {
		if !filter.MatchString(f.form(name)) {
			return false
		}
	}
	return true
}

func (f nameFilters) last(name string) bool {
	for _, fits := range f.afterwards {
		if !fits(name) {
			return false
		}
	}
	return true
}

package server

import (
	_ "embed" // the two lists
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/billing"
)

// The embedded lists have the codes and English names of ISO 4217 (currencies) and ISO 639-2/T (languages), sorted by code. Each
// line has a code, a tab and a name.
var (
	//go:embed currencies.tsv
	currencies string
	//go:embed languages.tsv
	languages string
)

// The type `names` is a read-only collection: the currencies or the languages. The collection always has every code of its ISO
// standard, so a POST of such a code returns a conflict. Objects of the collection cannot be changed or removed.
type names struct{ list string }

func (n names) register(g *echo.Group, path string) {
	g.GET(path, n.find)
	g.POST(path, n.create)
	g.GET(path+"/:name", n.get)
}

// The method `all` parses n.list. Languages are returned as billing.Currency too, because they have the same fields as currencies.
func (n names) all() []billing.Currency {
	var all []billing.Currency
	for line := range strings.Lines(n.list) {
		name, title, _ := strings.Cut(strings.TrimSpace(line), "\t")
		all = append(all, billing.Currency{Name: name, Title: title})
	}
	return all
}

// The method `has` reports whether the list contains the name.
func (n names) has(name string) bool {
	return name != "" && !strings.ContainsAny(name, "\t\n") && strings.Contains("\n"+n.list, "\n"+name+"\t")
}

func (n names) find(c echo.Context) error {
	where, err := conditions(c.QueryParams(), []string{"name", "title"})
	if err != nil {
		return err
	}
	found := slices.DeleteFunc(n.all(), func(one billing.Currency) bool {
		return slices.ContainsFunc(where, func(w billing.Condition) bool {
			value := one.Name
			if w.Field == "title" {
				value = one.Title
			}
			return !meets(value, w)
		})
	})
	return c.JSON(http.StatusOK, append([]billing.Currency{}, found...))
}

func meets(value string, w billing.Condition) bool {
	order := strings.Compare(value, w.Value)
	switch w.Op {
	case "eq":
		return order == 0
	case "ne":
		return order != 0
	case "ge":
		return order >= 0
	case "le":
		return order <= 0
	case "gt":
		return order > 0
	case "lt":
		return order < 0
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(w.Value), "%", ".*")
	matched, err := regexp.MatchString("(?is)^"+pattern+"$", value)
	return err == nil && matched
}

func (n names) get(c echo.Context) error {
	for _, one := range n.all() {
		if one.Name == c.Param("name") {
			return c.JSON(http.StatusOK, one)
		}
	}
	return notFound(c.Param("name"))
}

func (n names) create(c echo.Context) error {
	body, err := decode[nameBody](c)
	if err != nil {
		return err
	}
	if name := strings.ToLower(body.Name.value); !n.has(name) {
		return badRequest("%q is not an ISO 4217 currency code or ISO 639-2/T language code", name)
	}
	return &requestError{http.StatusConflict, body.Name.value + ": the name is taken"}
}

type nameBody struct {
	Name  field[string] `json:"name"`
	Title field[string] `json:"title"`
}

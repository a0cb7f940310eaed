package console

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

//go:embed templates
var templates embed.FS

// The type `pages` holds the template of each page.
type pages map[string]*template.Template

// newPages parses the templates. Each page has the blocks of layout.html, parts.html, objects.html and usage.html.
func newPages() (pages, error) {
	common, err := template.New("layout.html").Funcs(functions).ParseFS(templates, "templates/layout.html", "templates/parts.html",
		"templates/objects.html", "templates/usage.html")
	if err != nil {
		return nil, err
	}
	made := pages{}
	for _, name := range []string{
		"sign-in", "runs", "run", "error", "subscriptions", "subscription", "customer", "tenant", "user",
		"change", "merchants", "merchant", "merchant-key", "health", "settings",
		"findings", "finding", "audits", "audit", "repair-plans", "repair-plan",
	} {
		page, err := template.Must(common.Clone()).ParseFS(templates, "templates/"+name+".html")
		if err != nil {
			return nil, err
		}
		made[name] = page
	}
	return made, nil
}

// The type `frame` is what every page has around its content.
type frame struct {
	Title   string
	Section string // the part of the console, for the navigation
	Person  *person
	Version string
	Notice  string // what the last action has done
	Content any
}

// The method `show` answers with a page.
func (c *console) show(e echo.Context, status int, name, title string, content any) error {
	f := frame{Title: title, Version: c.Version, Content: content}
	if p, ok := personOf(e); ok {
		f.Person = &p
	}
	f.Section, _, _ = strings.Cut(strings.TrimPrefix(e.Request().URL.Path, Path+"/"), "/")
	var page bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&page, "layout.html", f); err != nil {
		return fmt.Errorf("making the page %s: %w", name, err)
	}
	if e.Request().Method == http.MethodHead {
		return e.NoContent(status)
	}
	return e.HTMLBlob(status, page.Bytes())
}

package console

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/share"
)

//go:embed templates
var templates embed.FS

// maxUnread is the maximum number of bytes of all pages that are being written. No person has more than three quarters of it.
const maxUnread = 64 << 20

// retryPage is the time in seconds after which a person whose page was refused can try again.
const retryPage = 5

// The type `pages` holds the template of each page.
type pages struct {
	templates map[string]*template.Template
	unread    *share.Limit // the bytes of pages that are being written
}

// newPages parses the templates. Each page has the blocks of layout.html, parts.html, objects.html and usage.html.
func newPages() (pages, error) {
	common, err := template.New("layout.html").Funcs(functions).ParseFS(templates, "templates/layout.html", "templates/parts.html",
		"templates/objects.html", "templates/usage.html")
	if err != nil {
		return pages{}, err
	}
	made := pages{map[string]*template.Template{}, &share.Limit{Units: maxUnread}}
	for _, name := range []string{
		"sign-in", "runs", "run", "error", "subscriptions", "subscription", "customer", "tenant", "user",
		"change", "merchants", "merchant", "merchant-key", "health", "settings",
		"findings", "finding", "audits", "audit", "repair-plans", "repair-plan",
	} {
		page, err := template.Must(common.Clone()).ParseFS(templates, "templates/"+name+".html")
		if err != nil {
			return pages{}, err
		}
		made.templates[name] = page
	}
	return made, nil
}

// The type `frame` has the data of a page outside of its content.
type frame struct {
	Title   string
	Section string // the part of the console, for the navigation
	Person  *person
	Version string
	Notice  string // the result of the last action, as a text
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
	if err := c.pages.templates[name].ExecuteTemplate(&page, "layout.html", f); err != nil {
		return fmt.Errorf("making the page %s: %w", name, err)
	}
	if e.Request().Method == http.MethodHead {
		return e.NoContent(status)
	}
	if name != "error" { // the page of a refusal is small
		leave, err := c.unread(e, page.Cap())
		if err != nil {
			return err
		}
		defer leave()
	}
	return e.HTMLBlob(status, page.Bytes())
}

// The method `unread` reserves memory for a page that the browser has not read yet. If many pages of a person are unread, the person's further pages
// are refused. Call `leave` when the page is written.
func (c *console) unread(e echo.Context, bytes int) (leave func(), err error) {
	who := "address " + e.RealIP()
	if p, ok := personOf(e); ok {
		who = p.who()
	}
	leave, err = c.pages.unread.Take(who, bytes)
	if err == nil {
		return leave, nil
	}
	e.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(retryPage))
	if errors.Is(err, share.ErrFull) {
		return nil, &problem{status: http.StatusServiceUnavailable, title: "Too many pages are being sent", detail: "Reload this page after some seconds."}
	}
	return nil, &problem{
		status: http.StatusTooManyRequests, title: "Too many of your pages are being sent",
		detail: "Reload this page when the browser has received the other pages.",
	}
}

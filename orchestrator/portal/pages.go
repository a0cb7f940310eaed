package portal

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
	"unicode"
)

//go:embed templates
var templates embed.FS

// The type `pages` has the template of each page.
type pages map[string]*template.Template

var functions = template.FuncMap{
	"text": shown,
	"day":  func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") },
}

// The function `shown` replaces each control character of a text from outside by U+FFFD. Some control characters change
// the direction of the text around them.
func shown(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) {
			return unicode.ReplacementChar
		}
		return c
	}, text)
}

func newPages() (pages, error) {
	common, err := template.New("layout.html").Funcs(functions).ParseFS(templates, "templates/layout.html")
	if err != nil {
		return nil, err
	}
	made := pages{}
	for _, name := range []string{"plans", "register", "login", "order", "run", "subscriptions", "subscription", "error"} {
		if made[name], err = template.Must(common.Clone()).ParseFS(templates, "templates/"+name+".html"); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// The type `frame` has the parts that every page has around its content.
type frame struct {
	Site    Site
	Home    string
	Here    string // the part of the path below Home
	Title   string
	User    *user
	Content any
}

// The method `show` answers with a page.
func (p *portal) show(w http.ResponseWriter, r *http.Request, status int, name, title string, content any) error {
	return p.answer(w, r, status, name, "layout.html", frame{Title: title, Content: content})
}

// The method `part` answers with a part of a page.
func (p *portal) part(w http.ResponseWriter, r *http.Request, name, block string, content any) error {
	return p.answer(w, r, http.StatusOK, name, block, frame{Content: content})
}

func (p *portal) answer(w http.ResponseWriter, r *http.Request, status int, name, block string, f frame) error {
	f.Site, f.Home = p.Site, p.home
	f.Here, _, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, p.home), "/")
	if u, ok := p.userOf(r); ok {
		f.User = &u
	}
	var page bytes.Buffer
	if err := p.pages[name].ExecuteTemplate(&page, block, f); err != nil {
		return fmt.Errorf("making the page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if _, err := w.Write(page.Bytes()); err != nil {
		p.Log.Debug().Err(err).Str("path", r.URL.Path).Msg("portal")
	}
	return nil
}

// Package portal serves the web pages of one merchant: visitors register, log in, see the plans, subscribe, watch the steps, and manage their
// subscriptions. The package is an example for merchants who build a portal: it calls only the public HTTP API, with the API key of the merchant.
// docs/portal.md walks through the package.
package portal

import (
	"context"
	"embed"
	"mime"
	"net/http"
	"path"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// Path is the path below which portals are served, each below the id of its merchant.
const Path = "/portal/"

// Options configures a portal. All fields are required.
type Options struct {
	Site
	URL      string                 // the URL of the API
	HTTP     client.HttpRequestDoer // sends the requests to the API
	Sessions scs.CtxStore           // stores the sessions of users who have logged in; they contain tokens, so the store must encrypt them
	Now      func() time.Time
	Log      zerolog.Logger
}

// The type `portal` serves the pages.
type portal struct {
	Options
	home     string // the path of the first page, with a slash at the end
	api      *client.Client
	sessions sessions
	pages    pages
	catalog  catalog
	waits    waits
}

//go:embed static
var static embed.FS

// New returns the handler for all paths below Path and the id of the merchant.
func New(o Options) (http.Handler, error) {
	p := &portal{Options: o, home: Path + o.Merchant + "/"}
	var err error
	p.api, err = client.NewClient(o.URL, client.WithHTTPClient(o.HTTP), client.WithRequestEditorFn(
		func(_ context.Context, r *http.Request) error {
			r.SetBasicAuth(o.Key, o.Secret)
			return nil
		}))
	if err != nil {
		return nil, err
	}
	if p.pages, err = newPages(); err != nil {
		return nil, err
	}
	p.sessions = p.newSessions()

	all := http.NewServeMux()
	all.HandleFunc("GET "+p.home+"static/{file}", p.file)
	all.HandleFunc("GET "+p.home+"brand.css", p.brand)
	all.HandleFunc("GET "+p.home+"logo", p.logo)

	open := func(pattern string, show page) { all.Handle(pattern, p.withSession(show)) }
	users := func(pattern string, show page) { all.Handle(pattern, p.withSession(p.loggedIn(show))) }
	open("GET "+p.home+"{$}", p.plans)
	open("GET "+p.home+"register", p.registerPage)
	open("POST "+p.home+"register", p.register)
	open("GET "+p.home+"login", p.logInPage)
	open("POST "+p.home+"login", p.logIn)
	open("POST "+p.home+"logout", p.logOut)
	users("GET "+p.home+"order", p.orderPage)
	users("POST "+p.home+"order", p.order)
	users("GET "+p.home+"orders/{run}", p.watch)
	users("GET "+p.home+"orders/{run}/steps", p.steps)
	users("GET "+p.home+"subscriptions", p.subscriptions)
	users("GET "+p.home+"subscriptions/{id}", p.subscription)
	users("POST "+p.home+"subscriptions/{id}/{action}", p.change)
	open(p.home, func(http.ResponseWriter, *http.Request) error { return errNotFound })
	sameOrigin := http.NewCrossOriginProtection() // refuses forms that the page of another site has sent
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.fail(w, r, errOtherSite) }))
	return p.harden(sameOrigin.Handler(all)), nil
}

// maxForm is the maximum size of a form in bytes.
const maxForm = 32 << 10

// The method `harden` sets the headers that keep a page from doing more than it should, and limits the body of the request. It refuses requests
// without TLS that come over a network, because pages receive passwords and cookies.
func (p *portal) harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if p.sessions.of(r) == nil {
			p.fail(w, r, errInsecure)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next.ServeHTTP(w, r)
	})
}

// The type `page` answers a request, or returns an error.
type page func(http.ResponseWriter, *http.Request) error

// The methods `file`, `brand` and `logo` answer with contents that never change while the service runs.
func (p *portal) file(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	content, err := static.ReadFile("static/" + name)
	if err != nil {
		p.fail(w, r, errNotFound)
		return
	}
	p.write(w, r, mime.TypeByExtension(path.Ext(name)), content)
}

func (p *portal) brand(w http.ResponseWriter, r *http.Request) {
	p.write(w, r, "text/css; charset=utf-8", p.style())
}

func (p *portal) logo(w http.ResponseWriter, r *http.Request) {
	if p.Logo.Content == nil {
		p.fail(w, r, errNotFound)
		return
	}
	p.write(w, r, p.Logo.Type, p.Logo.Content)
}

func (p *portal) write(w http.ResponseWriter, r *http.Request, kind string, content []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "private, max-age=300")
	if _, err := w.Write(content); err != nil { //nolint:gosec // the content is embedded or configured
		p.Log.Debug().Err(err).Str("path", r.URL.Path).Msg("portal")
	}
}

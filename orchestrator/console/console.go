// Package console serves web pages for operators and merchants. The pages are made on the server, and work without JavaScript, except for live
// updates.
//
// The console is a client of the HTTP API: it passes each request of a page to the API's handler in this process, with the credential of the
// person who has signed in. So the API alone decides what this person may see and do. Only live updates read the store, through saga.Follower,
// because many pages together must cost few queries. The page of a run also reads the number of the run's last event from saga.Follower, after the
// API has shown the run.
package console

import (
	"context"
	"embed"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"path"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/loginrate"
	"github.com/tenantry/tenantry/orchestrator/loopback"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Path is the path below which the console serves its pages.
const Path = "/console"

// Options configures the console. All fields are required.
type Options struct {
	API http.Handler // the HTTP API
	// View returns a run in the JSON of the API, as the API shows it to a merchant's portal or to an operator.
	View      func(run *saga.Run, portal bool) ([]byte, error)
	ViewEvent func(saga.Event) ([]byte, error)
	Follower  saga.Follower
	SignIns   SignIns
	Merchants merchants.Store
	Identity  func(cloud string) (keystone.Identity, error)
	Logins    *loginrate.Limits // limits sign-ins
	AdminRole string            // the Keystone role that makes a user an operator
	Workflows []string          // the names of all workflows
	Domain    string            // id or name of the users' domain, for merchants without a domain of their own
	Now       func() time.Time
	Version   string
	Log       zerolog.Logger
}

// SignIns stores the sessions of people who have signed in.
type SignIns interface {
	scs.CtxStore
	// Among returns the given sessions that have not ended.
	Among(ctx context.Context, ids []string) (map[string]bool, error)
}

// The type `console` serves the pages.
type console struct {
	Options
	sessions sessions
	pages    pages
	live     *live
	checks   chan struct{} // has an element for each sign-in that is being checked

	searching chan struct{} // has an element for each search by a user's name
}

// The variable `reading` contains the HTTP methods with which a page is read. The package net/http sends no body in the answer to HEAD.
var reading = []string{http.MethodGet, http.MethodHead}

//go:embed static
var static embed.FS

// staticFile answers with an embedded file. It ignores the header Range: the parser of net/http has no limit in the releases of Go that GO-2026-6609
// names.
func staticFile(e echo.Context) error {
	name := e.Param("*")
	content, err := static.ReadFile("static/" + name)
	if err != nil {
		return echo.ErrNotFound
	}
	e.Response().Header().Set(echo.HeaderCacheControl, "private, max-age=3600")
	return e.Blob(http.StatusOK, mime.TypeByExtension(path.Ext(name)), content)
}

// New returns the handler of the console, and the function that sends live updates to open pages until ctx ends.
func New(o Options) (handler http.Handler, serve func(ctx context.Context), err error) {
	made, err := newPages()
	if err != nil {
		return nil, nil, err
	}
	c := &console{
		Options: o, sessions: newSessions(o.SignIns), pages: made, checks: make(chan struct{}, maxChecks), searching: make(chan struct{}, maxSearches),
	}
	c.live = newLive(c)
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = c.fail
	e.Use(c.identify, c.logAccess, c.harden, recoverPanics, c.sameOrigin, c.withSession)
	e.Match(reading, Path+"/static/*", staticFile)
	e.Match(reading, Path+"/sign-in", c.signInPage)
	e.POST(Path+"/sign-in", c.signIn)
	e.POST(Path+"/sign-out", c.signOut)

	in := e.Group(Path, c.signedIn)
	in.Match(reading, "", func(c echo.Context) error { return c.Redirect(http.StatusSeeOther, Path+"/runs") })
	in.Match(reading, "/", func(c echo.Context) error { return c.Redirect(http.StatusSeeOther, Path+"/runs") })
	in.Match(reading, "/runs", c.runs)
	in.Match(reading, "/runs/:id", c.run)
	in.POST("/runs/:id/:action", c.act)
	in.GET("/live", c.follow)
	in.Match(reading, "/subscriptions", c.subscriptions)
	in.Match(reading, "/subscriptions/:id", c.subscription)
	in.Match(reading, "/subscriptions/:id/*", c.toSubscription)
	in.POST("/subscriptions/:id/hold", c.holdEnding)
	in.POST("/subscriptions/:id/release", c.releaseEnding)
	in.POST("/subscriptions/:id/:action/dry-run", c.foresee)
	in.POST("/subscriptions/:id/:action", c.change)
	in.Match(reading, "/customers/:id", c.customer)
	in.Match(reading, "/tenants/:id", c.tenant)
	in.Match(reading, "/users/:id", c.user)
	in.Match(reading, "/health", c.health)
	in.Match(reading, "/health/now", c.healthNow)
	in.Match(reading, "/settings", c.settings)
	in.Match(reading, "/merchants", c.merchants)
	in.Match(reading, "/merchants/:id", c.merchant)
	in.POST("/merchants/:id", c.changeMerchant)
	in.POST("/merchants/:id/disable", c.disableMerchant)
	in.POST("/merchants/:id/enable", c.enableMerchant)
	in.POST("/merchants/:id/keys", c.rotateKey)
	in.Match(reading, "/findings", c.findings)
	in.Match(reading, "/findings/:id", c.finding)
	in.POST("/findings/:id/accept", c.accept)
	in.POST("/findings/:id/withdraw", c.withdraw)
	in.Match(reading, "/audits", c.audits)
	in.POST("/audits", c.startAudit)
	in.Match(reading, "/audits/:id", c.audit)
	in.Match(reading, "/repair-plans", c.repairPlans)
	in.POST("/repair-plans", c.planRepairs)
	in.Match(reading, "/repair-plans/:id", c.repairPlan)
	in.POST("/repair-plans/:id/:action", c.repair)
	return e, c.live.serve, nil
}

// The method `harden` sets the headers that restrict what a page may do, and limits the body of the request.
func (c *console) harden(next echo.HandlerFunc) echo.HandlerFunc {
	return func(e echo.Context) error {
		h := e.Response().Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set(echo.HeaderCacheControl, "no-store")
		r := e.Request()
		if c.sessions.of(r) == c.sessions.tls && ownsHost(r.Host) {
			h.Set(echo.HeaderStrictTransportSecurity, "max-age=31536000")
		}
		r.Body = http.MaxBytesReader(e.Response(), r.Body, maxForm)
		return next(e)
	}
}

// ownsHost reports whether the console may tell a browser to use TLS for all ports of the host in the header Host. Other ports of the host may
// belong to services without TLS. The console must therefore be at the default port. Browsers ignore the header if they do not trust the
// certificate.
func ownsHost(host string) bool {
	u := &url.URL{Host: host}
	return u.Port() == "" && !loopback.Host(u.Hostname())
}

// maxForm is the maximum size of a form in bytes. A token of Keystone can have 8 KiB.
const maxForm = 64 << 10

// sameOrigin refuses requests that another site's page has sent. Other clients than browsers are accepted, because they do not send cookies by
// themselves.
func (c *console) sameOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	protection := http.NewCrossOriginProtection()
	return func(e echo.Context) error {
		if err := protection.Check(e.Request()); err != nil {
			return &problem{
				status: http.StatusForbidden, title: "This request came from another site",
				detail: "Open the console itself, and try again.", cause: err,
			}
		}
		return next(e)
	}
}

// problem is an error with a page of its own.
type problem struct {
	status        int
	title, detail string
	ends          bool // the session ends, because its credential is not accepted any more
	cause         error
}

// Error returns the title and the cause.
func (p *problem) Error() string {
	if p.cause != nil {
		return p.title + ": " + p.cause.Error()
	}
	return p.title
}

// Unwrap returns the cause.
func (p *problem) Unwrap() error { return p.cause }

// The method `fail` answers with the page of an error.
func (c *console) fail(err error, e echo.Context) {
	if e.Response().Committed {
		c.logFault(e, err, "console")
		return
	}
	p, ok := errors.AsType[*problem](err)
	if !ok {
		p = &problem{
			status: http.StatusInternalServerError, title: "Something went wrong",
			detail: "The log of the service has the cause, under the request id " + requestID(e) + ".", cause: err,
		}
		if h, ok := errors.AsType[*echo.HTTPError](err); ok && h.Code < http.StatusInternalServerError {
			p = &problem{status: h.Code, title: http.StatusText(h.Code), detail: "There is no such page."}
		}
	}
	if p.status >= http.StatusInternalServerError {
		c.logFault(e, err, "console")
	}
	if p.ends {
		if err := c.endSession(e); err != nil {
			c.logFault(e, err, "ending a session of the console")
		}
	}
	if err := c.show(e, p.status, "error", p.title, p); err != nil {
		c.logFault(e, err, "console")
	}
}

// The method `logFault` logs why a request could not be answered. If the client has gone away meanwhile, this is not a fault of the service.
func (c *console) logFault(e echo.Context, err error, message string) {
	level := zerolog.ErrorLevel
	if e.Request().Context().Err() != nil {
		level = zerolog.DebugLevel
	}
	c.Log.WithLevel(level).Err(err).Str("request_id", requestID(e)).Msg(message)
}

// Title and Detail are for the template.
func (p *problem) Title() string { return p.title }

// Detail returns what the person can do.
func (p *problem) Detail() string { return p.detail }

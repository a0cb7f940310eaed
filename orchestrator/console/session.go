package console

import (
	"context"
	"encoding/gob"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/loopback"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// sessionTime is the maximum time of a session. It ends earlier if the person's token expires earlier.
const sessionTime = 8 * time.Hour

// The type `person` is somebody who has signed in. It is the content of a session, encoded by package gob.
type person struct {
	Name     string // the name that the pages show
	Merchant string // the id of the merchant whose API key was used; empty for an operator
	Token    string // the token of an operator
	Key      string // the API key of a merchant's portal
	Secret   string // the secret of the API key
}

func init() { gob.Register(person{}) }

// Portal reports whether the person sees what a merchant's portal sees.
func (p person) Portal() bool { return p.Merchant != "" }

const (
	keyPerson  = "person"
	keySession = "session"
)

// The type `sessions` has two managers of sessions, because the names of the cookies differ. A browser accepts a cookie whose name begins with
// __Host- only over TLS.
type sessions struct{ tls, plain *scs.SessionManager }

func newSessions(store SignIns) sessions {
	manager := func(name string, secure bool) *scs.SessionManager {
		m := scs.New()
		m.Lifetime, m.Store, m.HashTokenInStore, m.Codec = sessionTime, store, true, codec{}
		m.Cookie = scs.SessionCookie{Name: name, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode, Persist: true}
		return m
	}
	return sessions{tls: manager("__Host-tenantry", true), plain: manager("tenantry-console", false)}
}

// If another release has stored a session that this release cannot read, the type `codec` returns a session without a person.
type codec struct{ scs.GobCodec }

// Decode implements [scs.Codec].
func (c codec) Decode(content []byte) (deadline time.Time, values map[string]any, err error) {
	if deadline, values, err = c.GobCodec.Decode(content); err != nil || values == nil {
		return time.Time{}, map[string]any{}, nil //nolint:nilerr // see above
	}
	return deadline, values, nil
}

// The method `of` returns the manager for a request. The result is nil if the request has no TLS, unless a browser on this host has sent it.
// Passwords and cookies are therefore never sent over a network in plain text. A proxy on this host that ends TLS must send X-Forwarded-Proto:
// https. The browser protects the session even if another client sends this header: the browser does not send or accept the cookie __Host-
// without TLS.
func (s sessions) of(r *http.Request) *scs.SessionManager {
	switch {
	case r.TLS != nil, loopback.Address(r.RemoteAddr) && r.Header.Get(echo.HeaderXForwardedProto) == "https":
		return s.tls
	case sentHere(r):
		return s.plain
	}
	return nil
}

// sentHere reports whether a browser on this host has sent the request to a name of this host. The name is checked, because the name of
// another host's page may resolve to this host.
func sentHere(r *http.Request) bool {
	origin := r.Header.Get(echo.HeaderOrigin)
	u, err := url.Parse(origin)
	return loopback.Request(r) && (origin == "" || err == nil && loopback.Host(u.Hostname()))
}

// withSession loads the session of a request.
func (c *console) withSession(next echo.HandlerFunc) echo.HandlerFunc {
	return func(e echo.Context) error {
		r := e.Request()
		m := c.sessions.of(r)
		if m == nil || strings.HasPrefix(r.URL.Path, Path+"/static/") {
			return next(e)
		}
		e.Set(keySession, m)
		if r.URL.Path == Path+"/sign-out" { // a sign-out needs only the cookie
			return next(e)
		}
		ctx, err := m.Load(r.Context(), cookieOf(m, r))
		if err != nil {
			e.Set(keySession, nil)
			return err
		}
		e.SetRequest(r.WithContext(ctx))
		if p, ok := m.Get(ctx, keyPerson).(person); ok {
			e.Set(keyPerson, p)
		}
		return next(e)
	}
}

// sessionCookie matches the cookie of a session.
var sessionCookie = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// cookieOf returns the value of the cookie of a session. If the value does not have the form of a session's value, the result is empty.
func cookieOf(m *scs.SessionManager, r *http.Request) string {
	cookie, err := r.Cookie(m.Cookie.Name)
	if err != nil || !sessionCookie.MatchString(cookie.Value) {
		return ""
	}
	return cookie.Value
}

func personOf(e echo.Context) (person, bool) {
	p, ok := e.Get(keyPerson).(person)
	return p, ok
}

// signedIn redirects a person who has not signed in to the page for signing in.
func (c *console) signedIn(next echo.HandlerFunc) echo.HandlerFunc {
	return func(e echo.Context) error {
		p, ok := personOf(e)
		if !ok {
			to := Path + "/sign-in"
			if r := e.Request(); r.Method == http.MethodGet && !strings.HasPrefix(r.URL.Path, Path+"/live") {
				to += "?" + url.Values{"next": {r.URL.RequestURI()}}.Encode()
			}
			if e.Request().Header.Get("HX-Request") != "" { // a part of an open page must not become the page for signing in
				e.Response().Header().Set("HX-Redirect", Path+"/sign-in")
				return e.NoContent(http.StatusNoContent)
			}
			return e.Redirect(http.StatusSeeOther, to)
		}
		if p.Portal() {
			r := e.Request()
			on := upstream.CallerOf(r.Context())
			on.Merchant = p.Merchant
			e.SetRequest(r.WithContext(upstream.WithCaller(r.Context(), on)))
		}
		return next(e)
	}
}

// The method `begin` begins a session. The session ends when the credential of the person expires, or earlier.
func (c *console) begin(e echo.Context, p person, expires time.Time) error {
	m, ok := e.Get(keySession).(*scs.SessionManager)
	if !ok {
		return errInsecure
	}
	ctx := e.Request().Context()
	if err := m.RenewToken(ctx); err != nil {
		return err
	}
	m.Put(ctx, keyPerson, p)
	if end := c.Now().Add(sessionTime); !expires.IsZero() && expires.Before(end) {
		m.SetDeadline(ctx, expires)
	}
	token, expiry, err := m.Commit(ctx)
	if err != nil {
		return err
	}
	m.WriteSessionCookie(ctx, e.Response(), token, expiry)
	return nil
}

// deletionTime is the time limit for the deletion of a session.
const deletionTime = 5 * time.Second

// endSession removes the cookie of a request, and deletes its session, if there is one. It deletes the session even if the browser goes away
// meanwhile.
func (c *console) endSession(e echo.Context) error {
	m, ok := e.Get(keySession).(*scs.SessionManager)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.Request().Context()), deletionTime)
	defer cancel()
	e.Set(keyPerson, nil)
	m.WriteSessionCookie(ctx, e.Response(), "", time.Time{})
	cookie := cookieOf(m, e.Request())
	if cookie == "" {
		return nil
	}
	defer c.live.end(hashed(cookie))
	return c.SignIns.DeleteCtx(ctx, hashed(cookie))
}

// sessionID returns the id of the request's session in the store: see SessionManager.HashTokenInStore.
func sessionID(e echo.Context) string {
	m, ok := e.Get(keySession).(*scs.SessionManager)
	if !ok {
		return ""
	}
	return hashed(m.Token(e.Request().Context()))
}

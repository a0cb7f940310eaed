package portal

import (
	"context"
	"encoding/gob"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
)

// sessionTime is the maximum time of a session. It ends earlier if the user's token expires earlier.
const sessionTime = 8 * time.Hour

// The type `user` is somebody who has logged in. It is the content of a session, encoded by package gob.
type user struct {
	Merchant string // the id of the merchant at whose portal the user has logged in: all portals share one store of sessions
	ID       string // in Keystone
	Name     string
	Token    string // the unscoped token: only the API receives it
}

func init() { gob.Register(user{}) }

const keyUser = "user"

// The type `sessions` has two managers of sessions, because the names of the cookies differ. A browser accepts a cookie whose name begins with
// __Host- only over TLS. Each portal has cookies of its own, so that a user can have an account at several merchants.
type sessions struct{ tls, plain *scs.SessionManager }

func (p *portal) newSessions() sessions {
	manager := func(name string, secure bool) *scs.SessionManager {
		m := scs.New()
		m.Lifetime, m.Store, m.HashTokenInStore = sessionTime, p.Sessions, true
		m.Cookie = scs.SessionCookie{Name: name, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode, Persist: true}
		m.Codec, m.ErrorFunc = codec{}, p.fail
		return m
	}
	return sessions{tls: manager("__Host-portal-"+p.Merchant, true), plain: manager("portal-"+p.Merchant, false)}
}

// The type `codec` decodes a session. If this release cannot read a session that another release has stored, `codec` returns a session without a
// user.
type codec struct{ scs.GobCodec }

// Decode implements [scs.Codec].
func (c codec) Decode(content []byte) (deadline time.Time, values map[string]any, err error) {
	if deadline, values, err = c.GobCodec.Decode(content); err != nil || values == nil {
		return time.Time{}, map[string]any{}, nil //nolint:nilerr // see above
	}
	return deadline, values, nil
}

// The method `of` returns the manager for a request. The result is nil if the request has come over a network without TLS. A proxy on this host that
// ends TLS must send X-Forwarded-Proto: https. A proxy that sends no header at all looks like a browser on this host, until a browser sends a form.
// With the form, the browser sends the header Origin, which has the address that the visitor sees.
func (s sessions) of(r *http.Request) *scs.SessionManager {
	here := loopback(r.RemoteAddr)
	switch {
	case r.TLS != nil, here && r.Header.Get("X-Forwarded-Proto") == "https":
		return s.tls
	case here && !forwarded(r) && loopbackHost(r.Host) && fromHere(r.Header.Get("Origin")):
		return s.plain
	}
	return nil
}

// The function `forwarded` reports whether a proxy has sent the request on behalf of somebody else.
func forwarded(r *http.Request) bool {
	for name := range r.Header {
		if name == "Forwarded" || name == "Via" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-") {
			return true
		}
	}
	return false
}

// fromHere reports whether the header Origin is missing, or has the address of this host.
func fromHere(origin string) bool {
	u, err := url.Parse(origin)
	return origin == "" || err == nil && loopbackHost(u.Host)
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

func loopbackHost(host string) bool {
	name := (&url.URL{Host: host}).Hostname()
	return name == "localhost" || loopback(net.JoinHostPort(name, "0"))
}

// visitorAddress returns the IP address of the browser. The API limits the logins and registrations of each address. A proxy on this host must add
// the address to the header X-Forwarded-For. Without this header, the result is nil.
func visitorAddress(r *http.Request) *string {
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return nil
	}
	if loopback(r.RemoteAddr) && forwarded(r) {
		all := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		address = strings.TrimSpace(all[len(all)-1]) // the proxy's own entry: anybody can send the others
	}
	ip := net.ParseIP(address)
	if ip == nil {
		return nil
	}
	address = ip.String()
	return &address
}

// withSession loads the session of a request, and stores the session if the page has changed it.
func (p *portal) withSession(show page) http.Handler {
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(context.WithValue(r.Context(), hasSession{}, true))
		if err := show(w, r); err != nil {
			p.fail(w, r, err)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := p.sessions.of(r)
		if c, err := r.Cookie(m.Cookie.Name); err == nil && !sessionCookie.MatchString(c.Value) {
			r = r.Clone(r.Context())
			r.Header.Del("Cookie") // the value cannot be the id of a session, so the store is not asked for it
		}
		m.LoadAndSave(answer).ServeHTTP(w, r)
	})
}

// sessionCookie matches the value of the cookie of a session.
var sessionCookie = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// The type `hasSession` is the key of a value in the context of requests whose session is loaded.
type hasSession struct{}

// userOf returns the user who has sent a request; false if the visitor has not logged in.
func (p *portal) userOf(r *http.Request) (user, bool) {
	if r.Context().Value(hasSession{}) == nil {
		return user{}, false
	}
	u, ok := p.sessions.of(r).Get(r.Context(), keyUser).(user)
	return u, ok && u.Merchant == p.Merchant
}

// loggedIn shows a page to users who have logged in. It redirects all other visitors to the page for logging in.
func (p *portal) loggedIn(show page) page {
	return func(w http.ResponseWriter, r *http.Request) error {
		if _, ok := p.userOf(r); ok {
			return show(w, r)
		}
		p.toLogin(w, r)
		return nil
	}
}

// toLogin redirects a visitor to the page for logging in. The visitor keeps the chosen plan. A visitor who has sent a form had a session before,
// so the page says that the session has ended.
func (p *portal) toLogin(w http.ResponseWriter, r *http.Request) {
	query := planOf(r.URL.Query())
	if r.Method == http.MethodPost {
		if err := parse(r); err == nil {
			query = planOf(r.PostForm)
		}
		if query == nil {
			query = url.Values{}
		}
		query.Set("ended", "yes")
	}
	to := p.home + "login"
	if len(query) > 0 {
		to += "?" + query.Encode()
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// The method `begin` begins a session. The session ends when the token of the user expires, or earlier.
func (p *portal) begin(r *http.Request, u user, expires time.Time) error {
	m := p.sessions.of(r)
	if err := m.RenewToken(r.Context()); err != nil {
		return err
	}
	m.Put(r.Context(), keyUser, u)
	if expires.Before(p.Now().Add(sessionTime)) {
		m.SetDeadline(r.Context(), expires)
	}
	return nil
}

// logOut ends the session, and shows the first page.
func (p *portal) logOut(w http.ResponseWriter, r *http.Request) error {
	if err := p.end(w, r); err != nil {
		return err
	}
	http.Redirect(w, r, p.home, http.StatusSeeOther)
	return nil
}

// deletionTime is the time limit for the deletion of a session.
const deletionTime = 5 * time.Second

// The method `end` deletes the session, even if the browser goes away meanwhile. If the store fails, the browser forgets the cookie nevertheless.
func (p *portal) end(w http.ResponseWriter, r *http.Request) error {
	m := p.sessions.of(r)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), deletionTime)
	defer cancel()
	err := m.Destroy(ctx)
	if err != nil {
		m.WriteSessionCookie(ctx, w, "", time.Time{})
	}
	return err
}

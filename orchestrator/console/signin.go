package console

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/loginrate"
	"github.com/tenantry/tenantry/orchestrator/loopback"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// errInsecure refuses a sign-in whose password would go over a network in plain text.
var errInsecure = &problem{
	status: http.StatusForbidden, title: "Sign-in needs TLS",
	detail: "Over plain HTTP, the console accepts sign-ins on the host of the service only, at the address localhost or 127.0.0.1. Give the service a" +
		" certificate (TENANTRY_TLS_CERT), or use a proxy on the same host. The proxy must end TLS and send X-Forwarded-Proto: https.",
}

// The ways to sign in. Each has a form of its own.
const (
	byPassword = "password"
	byToken    = "token"
	byKey      = "key"
)

// The type `signInForm` is the content of the page for signing in.
type signInForm struct {
	How, User, Domain, Key, Next string // the person's input, without secrets
	Fault                        string // why the last attempt failed
	Insecure                     bool   // nobody can sign in over this connection
	AdminRole                    string
}

func (c *console) signInPage(e echo.Context) error {
	next := e.QueryParam("next")
	if _, ok := personOf(e); ok {
		return e.Redirect(http.StatusSeeOther, within(next))
	}
	return c.showSignIn(e, http.StatusOK, signInForm{How: byPassword, Domain: "Default", Next: next})
}

func (c *console) showSignIn(e echo.Context, status int, f signInForm) error {
	f.Insecure, f.AdminRole = e.Get(keySession) == nil, c.AdminRole
	if f.Insecure {
		f.Fault = errInsecure.detail
	}
	return c.show(e, status, "sign-in", "Sign in", f)
}

// The function `within` returns a path of the console. If the argument is not such a path, the result is the first page.
func within(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || strings.Contains(u.Path, "\\") {
		return Path + "/runs"
	}
	to := path.Clean(u.Path)
	if !strings.HasPrefix(to, Path+"/") {
		return Path + "/runs"
	}
	return (&url.URL{Path: to, RawQuery: u.RawQuery}).String()
}

func (c *console) signIn(e echo.Context) error {
	f := signInForm{
		How: e.FormValue("how"), User: e.FormValue("user"), Domain: e.FormValue("domain"), Key: strings.TrimSpace(e.FormValue("key")),
		Next: e.FormValue("next"),
	}
	if e.Get(keySession) == nil {
		return c.showSignIn(e, http.StatusForbidden, f)
	}
	secret := e.FormValue(secretFields[f.How])
	if f.How != byPassword {
		secret = strings.TrimSpace(secret)
	}
	if f.Fault = f.unusable(secret); f.Fault != "" {
		return c.showSignIn(e, http.StatusUnauthorized, signInForm{How: f.How, Domain: "Default", Next: f.Next, Fault: f.Fault})
	}
	select {
	case c.checks <- struct{}{}:
		defer func() { <-c.checks }()
	default:
		e.Response().Header().Set(echo.HeaderRetryAfter, "1")
		f.Fault = "Too many people sign in at this moment. Try again."
		return c.showSignIn(e, http.StatusServiceUnavailable, f)
	}
	// There is no limit for all sign-ins together: with such a limit, one person could prevent all others from signing in.
	if _, _, reached, wait := c.Logins.Take(c.Now(), f.limitKey(), visitorKey(e.Request()), ""); reached != "" {
		e.Response().Header().Set(echo.HeaderRetryAfter, fmt.Sprint(int(wait/time.Second)+1))
		f.Fault = fmt.Sprintf("There were too many attempts. Try again in %s.", duration(wait))
		if f.How == byPassword {
			f.Fault += " A Keystone token can still be used."
		}
		return c.showSignIn(e, http.StatusTooManyRequests, f)
	}
	p, expires, err := c.identifyPerson(e, f, secret)
	switch {
	case errors.Is(err, errRefused):
		f.Fault = strings.TrimPrefix(err.Error(), errRefused.Error()+": ")
		return c.showSignIn(e, http.StatusUnauthorized, f)
	case err != nil:
		c.logFault(e, err, "signing in to the console")
		f.Fault = "Keystone or the database cannot be used now, so nobody can sign in. The log of the service has the cause. Until this is fixed," +
			" an operator can use \"tenantry runs --local\" on a host of the service."
		return c.showSignIn(e, http.StatusServiceUnavailable, f)
	}
	if err := c.begin(e, p, expires); err != nil {
		return err
	}
	return e.Redirect(http.StatusSeeOther, within(f.Next))
}

// maxChecks is the maximum number of sign-ins that are checked at the same time. It protects Keystone and the database.
const maxChecks = 16

// secretFields are the fields of the forms that contain the secret.
var secretFields = map[string]string{byPassword: "password", byToken: "token", byKey: "secret"}

// The method `unusable` returns the reason why the input in the form cannot be valid. If the input can be valid, the result is empty.
// Attempts with unusable input are not counted.
func (f signInForm) unusable(secret string) string {
	switch f.How {
	case byPassword:
		if !usable(f.User) || !usable(f.Domain) || !usable(secret) {
			return "Enter a user name, a domain and a password."
		}
	case byToken:
		if secret == "" || len(secret) > maxToken || !graphic(secret) {
			return "The token is not valid, or has expired."
		}
	case byKey:
		if len(f.Key) > maxName || !graphic(f.Key) || !usable(f.Key) || !usable(secret) {
			return "Enter an API key and its secret."
		}
	default:
		return "Choose a way to sign in."
	}
	return ""
}

// usable reports whether the text can be a name or a password.
func usable(text string) bool {
	return text != "" && len(text) <= maxName && utf8.ValidString(text) && !keystone.HasControl(text)
}

// graphic reports whether the text has only characters that can be in a header.
func graphic(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// The method `limitKey` returns the key of the limit for one name. It depends only on the fields of the form that was sent. Tokens have no such
// limit, because nobody can guess a token.
func (f signInForm) limitKey() string {
	switch f.How {
	case byPassword:
		return fmt.Sprintf("console password %q %q", loginrate.LooseName(f.Domain), loginrate.LooseName(f.User))
	case byKey:
		return fmt.Sprintf("console key %q", f.Key)
	}
	return ""
}

// The function `visitorKey` returns the key of the limit for one visitor. Behind a proxy on this host, the last address in X-Forwarded-For is the
// visitor's address, because the proxy itself has added it. If the proxy sends no address, the result is empty: otherwise, all people behind the
// proxy would be one visitor.
func visitorKey(r *http.Request) string {
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = r.RemoteAddr
	}
	if loopback.Address(r.RemoteAddr) && r.Header.Get(echo.HeaderXForwardedProto) != "" {
		all := strings.Split(strings.Join(r.Header.Values(echo.HeaderXForwardedFor), ","), ",")
		address = strings.TrimSpace(all[len(all)-1])
		if _, err := netip.ParseAddr(address); err != nil {
			return ""
		}
	}
	return "console " + loginrate.Network(address)
}

func (c *console) signOut(e echo.Context) error {
	if err := c.endSession(e); err != nil {
		return &problem{
			status: http.StatusServiceUnavailable, title: "The sign-out did not succeed",
			detail: "This browser has no access any more, but the database could not be used to end the session. A copy of the cookie works until the" +
				" session ends by itself: after eight hours, or when the token expires or is revoked.",
			cause: err,
		}
	}
	return e.Redirect(http.StatusSeeOther, Path+"/sign-in")
}

// errRefused means that a sign-in is refused. The person sees the text that follows errRefused in the error.
var errRefused = errors.New("refused")

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errRefused, fmt.Sprintf(format, args...))
}

// identifyPerson checks the credential in the form, and returns the person and the time at which the credential expires.
func (c *console) identifyPerson(e echo.Context, f signInForm, secret string) (person, time.Time, error) {
	ctx, cancel := context.WithTimeout(e.Request().Context(), signInTime)
	defer cancel()
	ctx = upstream.WithCaller(ctx, upstream.CallerOf(e.Request().Context()))
	switch f.How {
	case byPassword:
		return c.withPassword(ctx, f, secret)
	case byToken:
		return c.withToken(ctx, secret)
	}
	p, err := c.withKey(ctx, f.Key, secret)
	return p, time.Time{}, err
}

// signInTime is the time limit for the calls of a sign-in.
const signInTime = 20 * time.Second

func (c *console) withPassword(ctx context.Context, f signInForm, password string) (p person, expires time.Time, err error) {
	wrong := refused("The domain, the name or the password is wrong, or the user is locked or disabled. Keystone does not say which.")
	identity, err := c.Identity(merchants.DefaultCloud)
	if err != nil {
		return p, expires, err
	}
	domain, err := identity.Domain(ctx, f.Domain)
	if errors.Is(err, keystone.ErrNotFound) || errors.Is(err, keystone.ErrAmbiguous) {
		return p, expires, wrong
	}
	if err != nil {
		return p, expires, err
	}
	token, err := identity.LogIn(ctx, domain.ID, f.User, password)
	var second *keystone.SecondFactorError
	switch {
	case errors.Is(err, keystone.ErrWrongLogin), errors.Is(err, keystone.ErrTokenInvalid):
		return p, expires, wrong
	case errors.Is(err, keystone.ErrPasswordExpired):
		return p, expires, refused("The password has expired, or must be changed before the first use. Change it in Keystone first.")
	case errors.As(err, &second):
		return p, expires, refused("The user needs a second factor. Get a token with the command line of OpenStack, and sign in with the token.")
	case err != nil:
		return p, expires, err
	}
	return c.scoped(ctx, identity, token.ID, token.UserID, token.UserName)
}

// maxName is the maximum length of a name or a password in bytes.
const maxName = 1024

func (c *console) withToken(ctx context.Context, token string) (p person, expires time.Time, err error) {
	invalid := refused("The token is not valid, or has expired.")
	identity, err := c.Identity(merchants.DefaultCloud)
	if err != nil {
		return p, expires, err
	}
	t, err := identity.ValidateToken(ctx, token)
	switch {
	case errors.Is(err, keystone.ErrTokenInvalid):
		return p, expires, invalid
	case err != nil:
		return p, expires, err
	case !t.Scoped():
		return c.scoped(ctx, identity, token, t.UserID, t.UserName)
	case !c.isOperator(t.Roles):
		return p, expires, refused("The token is for a project on which the user does not have the role %s.", c.AdminRole)
	}
	return person{Name: upstream.Clean(t.UserName), Token: token}, t.ExpiresAt, nil
}

// maxToken is the maximum length of a token in bytes. Keystone accepts only headers that are shorter.
const maxToken = 8192

// maxProjects is the maximum number of projects that are searched for the operator's role.
const maxProjects = 20

// The method `scoped` finds a project on which the user of an unscoped token is an operator, and returns the operator with a token for this
// project.
func (c *console) scoped(ctx context.Context, identity keystone.Identity, unscoped, userID, name string) (p person, expires time.Time, err error) {
	ids, err := identity.ProjectsOfToken(ctx, unscoped)
	if errors.Is(err, keystone.ErrTokenInvalid) {
		return p, expires, refused("The token is not valid, or has expired.")
	}
	if err != nil {
		return p, expires, err
	}
	for _, id := range ids[:min(len(ids), maxProjects)] {
		t, err := identity.ExchangeToken(ctx, unscoped, id)
		if errors.Is(err, keystone.ErrNoAccess) {
			continue // the project was disabled meanwhile
		}
		if err != nil {
			return p, expires, err
		}
		if c.isOperator(t.Roles) {
			return person{Name: upstream.Clean(name), Token: t.ID}, t.ExpiresAt, nil
		}
	}
	if len(ids) > maxProjects {
		return p, expires, refused("The user has %d projects, and the console searches only %d of them for the role %s. Sign in with a token for the"+
			" right project.", len(ids), maxProjects, c.AdminRole)
	}
	return p, expires, refused("User %s does not have the role %s on any project. A Keystone administrator can assign it.", userID, c.AdminRole)
}

func (c *console) isOperator(roles []keystone.Role) bool {
	return slices.ContainsFunc(roles, func(role keystone.Role) bool { return keystone.SameRole(role.Name, c.AdminRole) })
}

func (c *console) withKey(ctx context.Context, key, secret string) (p person, err error) {
	wrong := refused("The API key or its secret is wrong, or the merchant is disabled.")
	k, m, err := c.Merchants.Key(ctx, key)
	switch {
	case errors.Is(err, merchants.ErrNotFound):
		return p, wrong
	case err != nil:
		return p, err
	case !k.Accepts(secret), m.DisabledAt != nil:
		return p, wrong
	}
	return person{Name: "portal of " + m.Name, Merchant: m.ID, Key: key, Secret: secret}, nil
}

// The function `hashed` returns the id under which a session is stored.
func hashed(cookie string) string {
	hash := sha256.Sum256([]byte(cookie))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

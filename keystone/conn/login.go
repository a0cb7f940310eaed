package conn

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// expiryMargin is the remaining lifetime at which a token is replaced, so that no token expires during a call.
const expiryMargin = 2 * time.Minute

// The method `login` logs in with the credential of the Conn, and returns a new token.
func (c *Conn) login(ctx context.Context) (token string, expires time.Time, err error) {
	const op = "logging in" // merchants read this text in their runs, so it does not name the user
	scoped := false
	err = c.Do(ctx, login, op, func(ctx context.Context) error {
		CallOf(ctx).login = &c.credential
		var t keystone.Token
		if token, t, err = c.version.Login(ctx, c.Bare, c.credential); err != nil {
			return err
		}
		expires, scoped = t.ExpiresAt, t.Scoped()
		if token == "" || expires.IsZero() {
			return ErrIncomplete
		}
		c.own.add(token)
		return nil
	})
	if e, ok := errors.AsType[*upstream.Error](err); ok && strings.HasPrefix(e.Message, "The request you have made requires authentication") {
		e.Message = "" // Keystone sends this message for every cause
	}
	if err == nil && !scoped {
		err = &upstream.Error{
			Service: keystone.Service, Class: upstream.Unavailable, Op: op, Err: keystone.ErrUnscoped,
			Message: "set OS_PROJECT_NAME and OS_PROJECT_DOMAIN_NAME (in clouds.yaml: project_name and project_domain_name)",
		}
	}
	return token, expires, err
}

// OwnLogin logs in with Tenantry's own credential, and returns a new token. Every call logs in again. If Keystone refuses the login,
// Keystone's message may name the user. Only operators may read the Text of an [upstream.RefusedLoginError]. Therefore OwnLogin moves the
// message to this Text.
func (c *Conn) OwnLogin(ctx context.Context) (token string, expires time.Time, err error) {
	token, expires, err = c.login(ctx)
	if e, ok := errors.AsType[*upstream.Error](err); ok && e.OwnCredential && e.Err == nil {
		refused := c.credential.refused(e.Status)
		if e.Message != "" {
			refused.Text += ": " + e.Message
		}
		e.Err, e.Message = refused, ""
	}
	return token, expires, err
}

// LoginWithoutScope logs in with the user and the password of the credential, but without its scope. If the user has a default project, the
// token may have a scope nevertheless. LoginWithoutScope returns the same errors as OwnLogin.
func (c *Conn) LoginWithoutScope(ctx context.Context) (token string, err error) {
	from := c.credential
	other := *c
	other.credential = Credential{
		Username: from.Username, UserID: from.UserID, UserDomainID: from.UserDomainID, UserDomainName: from.UserDomainName, Password: from.Password,
	}
	token, _, err = other.OwnLogin(ctx)
	if errors.Is(err, keystone.ErrUnscoped) {
		err = nil
	}
	return token, err
}

// refusesLogin reports whether the answer to a login says that Keystone refuses the credential. A 404 means that Keystone does not have the
// application credential, or that Keystone lacks a role: see lacksRole. The lack of a role does not count as a refusal. The caller can
// still read the answer's body afterwards.
func refusesLogin(resp *http.Response) (bool, error) {
	switch status := resp.StatusCode; {
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		return false, nil
	case status != http.StatusNotFound:
		return status >= 400 && status < 500, nil
	}
	begin, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(begin), resp.Body), resp.Body}
	return !lacksRole(string(begin)), err
}

// maxMessage is the maximum number of bytes in which refusesLogin looks for Keystone's message.
const maxMessage = 4 << 10

// The method `refused` returns the error of a login that Keystone refused with this status. The error contains no secret.
func (c Credential) refused(status int) *upstream.RefusedLoginError {
	who, why := "user "+cmp.Or(c.UserID, c.Username), "the password is wrong, or the user is disabled or locked"
	if domain := cmp.Or(c.UserDomainName, c.UserDomainID); c.UserID == "" && domain != "" {
		who += " (domain " + domain + ")"
	}
	switch {
	case c.ApplicationCredentialID+c.ApplicationCredentialName != "":
		who = c.String()
		why = "the secret is wrong, or the application credential has expired or was deleted, or its user is disabled or locked"
	case c.System:
		who, why = who+" on the system", why+", or it has no role on the system"
	case c.ProjectID+c.ProjectName != "":
		who, why = who+" on project "+cmp.Or(c.ProjectName, c.ProjectID), why+", or it has no role on the project"
	case c.DomainID+c.DomainName != "":
		who, why = who+" on domain "+cmp.Or(c.DomainName, c.DomainID), why+", or it has no role on the domain"
	}
	text := "Keystone refuses the login of " + who
	if status == http.StatusUnauthorized {
		text += ": " + why
	}
	return &upstream.RefusedLoginError{Text: upstream.Clean(upstream.Mask(text, c.Password, c.ApplicationCredentialSecret))}
}

// The type `session` stores Tenantry's own token. All callers that need a new token share one login.
type session struct {
	login func(context.Context) (token string, expires time.Time, err error)
	now   func() time.Time

	mu      sync.Mutex
	token   string
	expires time.Time
	pending *attempt
}

// The type `attempt` is a login in progress. The channel `done` is closed at the end of the login. Read `token` and `err` only
// after `done` is closed.
type attempt struct {
	done  chan struct{}
	token string
	err   error
}

// The method `get` returns the token of the session. If there is no valid token, `get` first waits for a new login, or for the
// login in progress. If ctx ends, the login continues nevertheless, because other callers may wait for the same login.
func (s *session) get(ctx context.Context) (string, error) {
	s.mu.Lock()
	if s.token != "" && s.now().Before(s.expires) {
		defer s.mu.Unlock()
		return s.token, nil
	}
	if s.pending == nil {
		s.pending = &attempt{done: make(chan struct{})}
		go s.renew(context.WithoutCancel(ctx), s.pending)
	}
	pending := s.pending
	s.mu.Unlock()

	select {
	case <-pending.done:
		return pending.token, pending.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (s *session) renew(ctx context.Context, a *attempt) {
	begun := s.now()
	token, expires, err := s.login(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.token = token
		s.expires = expires.Add(-min(expiryMargin, expires.Sub(begun)/4))
	}
	a.token, a.err = token, err
	s.pending = nil
	close(a.done)
}

// The method `refused` must be called when Keystone refuses a token. If the session still has this token, the session drops the
// token.
func (s *session) refused(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token {
		s.token = ""
	}
}

// The type `authenticated` sends requests with Tenantry's own token. If Keystone refuses the token, `authenticated` logs in and
// repeats the request once. Three answers refuse a token: a 401, a 403 that names a rule of Keystone's policy, and a 404 that says
// that the token's project is disabled.
type authenticated struct {
	session *session
	next    http.RoundTripper
}

// RoundTrip may send a request twice. Therefore, a request with a body must have a GetBody.
func (a *authenticated) RoundTrip(req *http.Request) (*http.Response, error) {
	token, err := a.session.get(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := a.send(req, token)
	if err != nil {
		return nil, err
	}
	if refused, err := refusesCredential(resp); err != nil || !refused {
		return resp, err
	}
	if err := resp.Body.Close(); err != nil {
		return nil, err
	}
	CallOf(req.Context()).reached = false // the refused request had no effect
	a.session.refused(token)
	if token, err = a.session.get(req.Context()); err != nil {
		return nil, err
	}
	return a.send(req, token)
}

func (a *authenticated) send(req *http.Request, token string) (*http.Response, error) {
	clone := req.Clone(req.Context())
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		clone.Body = body
	}
	clone.Header.Set("X-Auth-Token", token)
	if CallOf(req.Context()).Subject {
		clone.Header.Set("X-Subject-Token", token)
	}
	return a.next.RoundTrip(clone)
}

// refusesCredential reports whether Keystone refused the request because of its token. The caller can still read the answer's body
// afterwards.
func refusesCredential(resp *http.Response) (bool, error) {
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return true, nil
	case http.StatusForbidden, http.StatusNotFound:
		body, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return false, err
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return policyRule.Match(body) || sentFromDisabledProject(string(body)), nil
	default:
		return false, nil
	}
}

// policyRule matches the name of a policy rule in a refusal, for example "identity:create_project". Identity v2.0 has only the rule
// "admin_required". If Keystone refuses a request for another reason, the message names no rule.
var policyRule = regexp.MustCompile(`\b(identity:[a-z_]+|admin_required\b)`)

// sentFromDisabledProject reports whether Keystone refused a request because the project of the token is disabled. Keystone then
// answers 404 with the message "Unable to validate token because project X is disabled". Without this message, the 404 would mean
// that an object is missing. Keystone gives the same answer if a caller validates a token whose project is disabled.
func sentFromDisabledProject(message string) bool {
	return strings.Contains(message, "Unable to validate token because")
}

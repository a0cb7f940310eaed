package v3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// expiryMargin is the time before a token's expiry from which it is not used any more, so that a call that has just begun does
// not fail.
const expiryMargin = 2 * time.Minute

// login returns a function that gets a new token for the service itself.
func (c *Cloud) login(credential Credential) func(context.Context) (string, time.Time, error) {
	return func(ctx context.Context) (token string, expires time.Time, err error) {
		err = c.do(ctx, login, "logging in as "+credential.String(), func(ctx context.Context) error {
			result := tokens.Create(ctx, c.bare, credential.authOptions())
			var answer tokenAnswer
			if err := result.Result.ExtractInto(&answer); err != nil {
				return err
			}
			token, expires = result.Header.Get("X-Subject-Token"), answer.Token.ExpiresAt
			if token == "" || expires.IsZero() {
				return errIncomplete
			}
			return nil
		})
		return token, expires, err
	}
}

// session stores the service's own token. All callers that need a new one share one login.
type session struct {
	login func(context.Context) (token string, expires time.Time, err error)
	now   func() time.Time

	mu      sync.Mutex
	token   string
	expires time.Time
	pending *attempt
}

// attempt is a login that has not ended. token and err may be read once done is closed.
type attempt struct {
	done  chan struct{}
	token string
	err   error
}

// get returns the token, and logs in first if there is no valid one. The login is shared, so it continues when ctx ends.
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

// refused drops the token if it is still the current one.
func (s *session) refused(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token {
		s.token = ""
	}
}

// authenticated sends requests with the service's token. If the token is refused, it logs in and repeats the request once. A
// refusal is a 401, a 403 that names a rule of Keystone's policy, or the 404 of a disabled project.
type authenticated struct {
	session *session
	next    http.RoundTripper
}

// RoundTrip requires GetBody if the request has a body.
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
	noteOf(req.Context()).reached = false // the request was refused
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
	return a.next.RoundTrip(clone)
}

// refusesCredential reports whether the answer refuses the credential and not the request. The body can be read again afterwards.
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
		return namesPolicyRule(string(body)) || sentFromDisabledProject(string(body)), nil
	default:
		return false, nil
	}
}

// policyRule matches the name of a policy rule in a refusal, such as "You are not authorized to perform the requested action:
// identity:create_project." A refusal because of the request itself names no rule.
var policyRule = regexp.MustCompile(`\bidentity:[a-z_]+`)

func namesPolicyRule(message string) bool { return policyRule.MatchString(message) }

// sentFromDisabledProject reports whether the answer is to a request whose token is of a disabled project. That is not a 401 but
// a 404, "Unable to validate token because project X is disabled", which looks like a missing object. The validation of such a
// token has the same answer.
func sentFromDisabledProject(message string) bool {
	return strings.Contains(message, "Unable to validate token because")
}

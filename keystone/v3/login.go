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

// expiryMargin is how long before its end a token is no longer used: a call that begins just before it must still pass.
const expiryMargin = 2 * time.Minute

// login gets a new token for the service itself.
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

// session keeps the service's own token. At most one login is under way, whoever waits for it.
type session struct {
	login func(context.Context) (token string, expires time.Time, err error)
	now   func() time.Time

	mu      sync.Mutex
	token   string
	expires time.Time
	pending *attempt
}

// attempt is a login under way; token and err may be read once done is closed.
type attempt struct {
	done  chan struct{}
	token string
	err   error
}

// get is the token, after a login if there is none that will do. The login is everybody's: it goes on when ctx ends.
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

// refused forgets this token, if it still is the one in use.
func (s *session) refused(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token {
		s.token = ""
	}
}

// authenticated sends requests with the service's token. A refusal of the token, by a 401, by a 403 that names a rule of
// Keystone's policy, or by the 404 of a disabled project, is followed by one login and one repetition.
type authenticated struct {
	session *session
	next    http.RoundTripper
}

// RoundTrip needs the GetBody of a request with a body.
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
	noteOf(req.Context()).reached = false // it was refused
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

// refusesCredential tells whether the answer is about who asks. It leaves the answer readable.
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

// policyRule is how Keystone names what it does not let one do, as in "You are not authorized to perform the requested
// action: identity:create_project." A refusal that is about the thing and not about who asks has other words in its place.
var policyRule = regexp.MustCompile(`\bidentity:[a-z_]+`)

func namesPolicyRule(message string) bool { return policyRule.MatchString(message) }

// sentFromDisabledProject knows the answer to whatever is sent with a token whose project is disabled: not a 401 but a 404,
// "Unable to validate token because project X is disabled", so that it looks as if nothing were there. The same answers
// the validation of such a token.
func sentFromDisabledProject(message string) bool {
	return strings.Contains(message, "Unable to validate token because")
}

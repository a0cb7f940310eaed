package api

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/loginrate"
	"github.com/tenantry/tenantry/orchestrator/loopback"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

// The security schemes in openapi.yaml.
const (
	portalScheme   = "merchantKey"
	meterScheme    = "meterKey"
	operatorScheme = "operatorToken"
)

// The type `caller` is the sender of a request: a merchant's portal, the Ceilometer of a cloud, an operator with a Keystone token, or an
// operator who uses [LocalTransport].
type caller struct {
	merchant *merchants.Merchant // set only for a portal
	meters   string              // the cloud of the meter key; set only for Ceilometer
	key      string              // the public part of the API key or of the meter key
	operator keystone.Token
	local    string // the operating-system user, if the request was sent in this process: see LocalTransport
}

// String returns the name of the caller for logs and events.
func (w caller) String() string {
	if w.merchant != nil {
		return portalWho + w.key
	}
	if w.meters != "" {
		return "ceilometer with key " + w.key
	}
	if w.local != "" {
		return "local:" + upstream.Clean(w.local)
	}
	return upstream.Clean(w.operator.UserName) + " (user " + w.operator.UserID + ")"
}

// portalWho is the prefix of a portal's name in the history of runs. The name of an operator ends with the user's id in parentheses, and so
// cannot be mistaken for a portal's name.
const portalWho = "portal with key "

// The method `name` returns the caller's name for limits of the type `shares`. Each such limit counts the units of a caller, such as
// requests or bytes, under this name.
func (w caller) name() string {
	if w.merchant != nil {
		return "merchant " + w.merchant.ID
	}
	if w.meters != "" {
		return "cloud " + w.meters
	}
	if w.local != "" {
		return "local " + w.local
	}
	return "operator " + w.operator.UserID
}

// The method `sees` reports whether the caller may see the runs of a merchant.
func (w caller) sees(merchantID string) bool {
	return w.meters == "" && (w.merchant == nil || w.merchant.ID == merchantID)
}

func callerOf(c echo.Context) caller {
	w, _ := c.Get(contextCaller).(caller)
	return w
}

// The method `authenticate` refuses callers that the OpenAPI document does not allow for the operation.
func (s *server) authenticate(o operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Set(contextOperation, o)
			if o.open() {
				return next(c)
			}
			w, err := s.caller(c, o)
			if err != nil {
				return err
			}
			c.Set(contextCaller, w)
			if w.merchant != nil {
				r := c.Request()
				on := upstream.CallerOf(r.Context())
				on.Merchant = w.merchant.ID
				c.SetRequest(r.WithContext(upstream.WithCaller(r.Context(), on)))
			}
			return next(c)
		}
	}
}

// The method `caller` checks the credential of a request, and returns the caller. A credential that was sent over a network without
// encryption is refused.
func (s *server) caller(c echo.Context, o operation) (caller, error) {
	r := c.Request()
	if user, ok := localUser(r.Context()); ok {
		if !o.accepts(operatorScheme) {
			return caller{}, refuse(forbidden, "%s", o.onlyBasic())
		}
		return caller{local: user}, nil
	}
	key, secret, basic := r.BasicAuth()
	authorization, tokens := r.Header.Values(echo.HeaderAuthorization), r.Header.Values(headerAuthToken)
	switch {
	case (basic || len(tokens) > 0) && !s.TLS && r.TLS == nil && !loopback.Address(r.RemoteAddr):
		return caller{}, refuse(tlsRequired, "API keys and tokens are accepted over TLS only")
	case r.Header.Get(echo.HeaderAuthorization) != "" && len(tokens) > 0:
		return caller{}, refuse(twoCredentials, "both Authorization and X-Auth-Token were sent: send one of them")
	case len(authorization) > 1:
		return caller{}, refuse(twoCredentials, "the header Authorization was sent %d times: send it once", len(authorization))
	case basic && o.accepts(meterScheme):
		return s.meter(r, key, secret)
	case basic:
		w, err := s.portal(r, key, secret)
		if err == nil && !o.accepts(portalScheme) {
			err = refuse(forbidden, "a portal may not call this operation")
		}
		return w, err
	case len(tokens) > 0 && !o.accepts(operatorScheme):
		return caller{}, refuse(forbidden, "%s: send a key instead of a token", o.onlyBasic())
	case len(tokens) > 0:
		return s.operator(c, tokens)
	}
	missing := refuse(credentialsRequired, "the request has no credential")
	if r.Header.Get(echo.HeaderAuthorization) != "" {
		missing = refuse(credentialsInvalid, "the header Authorization is not HTTP Basic with a key and its secret")
	}
	if o.accepts(portalScheme) || o.accepts(meterScheme) {
		missing.challenge = basicChallenge
	}
	return caller{}, missing
}

// onlyBasic returns the reason why a token cannot be used for an operation that accepts only a key.
func (o operation) onlyBasic() string {
	if o.accepts(meterScheme) {
		return "only the Ceilometer of a cloud may call this operation, with a meter key"
	}
	return "only a merchant's portal may call this operation, with an API key"
}

const basicChallenge = `Basic realm="tenantry", charset="UTF-8"`

func (s *server) keystoneChallenge() string { return `Keystone uri="` + s.KeystoneURL + `"` }

// The method `portal` checks the API key and the secret of a request, and returns the portal that sent the request.
func (s *server) portal(r *http.Request, key, secret string) (caller, error) {
	refused := refuse(credentialsInvalid, "the API key or its secret is not valid")
	refused.challenge = basicChallenge
	if !printable(key, 64) {
		return caller{}, refused
	}
	k, m, err := s.Merchants.Key(r.Context(), key)
	switch {
	case errors.Is(err, merchants.ErrNotFound):
		return caller{}, refused
	case err != nil:
		return caller{}, err
	case !k.Accepts(secret):
		return caller{}, refused
	case m.DisabledAt != nil:
		return caller{}, refuse(merchantDisabled, "the merchant is disabled")
	}
	return caller{merchant: &m, key: k.Key}, nil
}

// The method `meter` checks the meter key and the secret of a request.
func (s *server) meter(r *http.Request, key, secret string) (caller, error) {
	refused := refuse(credentialsInvalid, "the meter key or its secret is not valid")
	refused.challenge = basicChallenge
	if !printable(key, 64) {
		return caller{}, refused
	}
	cloud, err := s.Meters.Cloud(r.Context(), key, secret)
	if errors.Is(err, usage.ErrNoKey) {
		return caller{}, refused
	}
	if err != nil {
		return caller{}, err
	}
	return caller{meters: cloud, key: key}, nil
}

// The method `operator` checks the Keystone token of a request, and returns the operator who sent the request.
func (s *server) operator(c echo.Context, tokens []string) (caller, error) {
	if len(tokens) != 1 || !printable(tokens[0], maxToken) {
		return caller{}, refuse(operatorTokenInvalid, "the token is not valid")
	}
	token, err := s.validate(c, tokens[0])
	switch {
	case errors.Is(err, keystone.ErrTokenInvalid):
		return caller{}, refuse(operatorTokenInvalid, "the token is not valid")
	case err != nil:
		return caller{}, tokenNotValidated(err)
	case !token.Scoped():
		return caller{}, refuse(forbidden, "the token has no scope: log in to the project on which you have this service's admin role (OS_PROJECT_NAME)")
	case !slices.ContainsFunc(token.Roles, func(role keystone.Role) bool { return keystone.SameRole(role.Name, s.AdminRole) }):
		return caller{}, refuse(forbidden, "the token does not have this service's admin role")
	}
	return caller{operator: token}, nil
}

// tokenNotValidated returns the problem for a validation that failed. If Keystone answered, the text says that Keystone was asked to
// validate the token.
func tokenNotValidated(err error) error {
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return err
	}
	r := unavailable(e, err)
	if answered(e) {
		r.detail += " to the validation of the token"
	}
	return r
}

// The method `validate` returns the operator's token if Keystone has accepted the token recently, and otherwise asks Keystone. The number
// of concurrent requests to Keystone is limited. One client address may use only a part of this limit. Therefore a client with invalid
// tokens cannot use up the whole limit.
func (s *server) validate(c echo.Context, text string) (keystone.Token, error) {
	r, age := c.Request(), tokenCacheTime
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		age = actionTokenTime
	}
	if token, found, err := s.tokens.get(text, s.now(), age); found {
		return token, err
	}
	identity, err := s.identity(merchants.DefaultCloud)
	if err != nil {
		return keystone.Token{}, err
	}
	address := loginrate.Network(c.RealIP())
	token, err := coalesce.Read(r.Context(), &s.reads, "token "+digest(text), func(ctx context.Context, text string) (keystone.Token, error) {
		leave, refused := s.validations.take(address, 1)
		defer leave()
		if refused != nil {
			return keystone.Token{}, s.later(refused)
		}
		return identity.ValidateToken(ctx, text)
	}, text)
	switch {
	case err == nil:
		s.tokens.put(text, s.now(), token)
	case errors.Is(err, keystone.ErrTokenInvalid):
		s.tokens.refuse(text, s.now())
	}
	return token, err
}

// The method `identity` returns the Keystone of a cloud. If the cloud is not configured, `identity` returns the problem
// configuration-fault.
func (s *server) identity(cloud string) (keystone.Identity, error) {
	identity, err := s.Identity(cloud)
	if err != nil {
		return nil, &problemError{kind: configurationFault, detail: "the merchant's cloud is not configured", cause: err}
	}
	return identity, nil
}

// maxToken is the maximum length of a token in a request, in bytes. Keystone accepts only headers that are shorter than maxToken.
const maxToken = 8192

// The function `printable` reports whether the text has 1 to `limit` characters, all of which are visible ASCII characters.
func printable(text string, limit int) bool {
	for _, b := range []byte(text) {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return text != "" && len(text) <= limit
}

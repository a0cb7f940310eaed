package api

import (
	"context"
	stdjson "encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"
	"golang.org/x/text/unicode/norm"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/loginrate"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
	"github.com/tenantry/tenantry/workflows"
)

var (
	loginRefused      = kind{"login-refused", http.StatusUnauthorized, false}
	passwordExpired   = kind{"password-expired", http.StatusUnauthorized, false}
	mfaRequired       = kind{"mfa-required", http.StatusUnauthorized, false}
	signUpOff         = kind{"sign-up-off", http.StatusForbidden, false}
	userExists        = kind{"user-exists", http.StatusConflict, false}
	loginRateExceeded = kind{"login-rate-exceeded", http.StatusTooManyRequests, true}
)

// userKinds lists the problem types of the operations on users.
var userKinds = []kind{loginRefused, passwordExpired, mfaRequired, signUpOff, userExists, loginRateExceeded}

// headerVisitor is the name of the header with the address of the portal's visitor.
const headerVisitor = "X-Visitor-Address"

// RegisterUser places an order that creates a user.
func (s *server) RegisterUser(c echo.Context, merchantID string) error {
	return s.place(c, merchantID, placing{
		route:    http.MethodPost + " /v1/merchants/{merchant_id}/users",
		password: []string{"password"},
		valid: func(body jsontext.Value) error {
			_, err := s.registration(body)
			return err
		},
		admit: func(ctx context.Context, m merchants.Merchant, body jsontext.Value) (saga.Request, error) {
			want, err := s.registration(body)
			if err == nil {
				err = s.limitLogin(c, m, want.Name)
			}
			if err != nil {
				return saga.Request{}, err
			}
			return s.Admit.AdmitRegister(ctx, m, workflows.NewUser{Name: want.Name, Email: valueOf(want.Email)})
		},
	})
}

// The method `registration` returns the registration in a body, or the problem with the body.
func (s *server) registration(body jsontext.Value) (RegisterRequest, error) {
	want, err := fits[RegisterRequest](body, s.document.operations["registerUser"].body())
	if err == nil {
		err = newUser("", want.Name, want.Password)
	}
	return want, err
}

// newUser returns a problem if no user can be created with this name or this password. A name must be in the Unicode form NFC, and may have no
// invisible characters, because two names that look the same could otherwise belong to two users. The parameter `at` is the JSON pointer of
// the object with the fields name and password.
func newUser(at, name, password string) error {
	if err := credentials(at, name, password); err != nil {
		return err
	}
	if norm.NFC.IsNormalString(name) && !strings.ContainsFunc(name, func(r rune) bool { return unicode.Is(unicode.Cf, r) }) {
		return nil
	}
	return invalid(InvalidParam{Pointer: some(at + "/name"), Detail: "send the name in the Unicode form NFC, without invisible characters"})
}

// LogIn logs a user in.
func (s *server) LogIn(c echo.Context, merchantID string) error {
	m, err := ownMerchant(c, merchantID)
	if err != nil {
		return err
	}
	want, err := bodyAs[LoginRequest](c, s.document.operations["logIn"])
	if err == nil {
		err = credentials("", want.Name, want.Password)
	}
	if err == nil && !m.SignUp {
		err = refuse(signUpOff, "sign-up is off for the merchant")
	}
	if err == nil {
		err = s.limitLogin(c, m, want.Name)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), coalesce.Limit)
	defer cancel()
	token, err := s.Admit.LogIn(ctx, m, want.Name, want.Password)
	if err != nil {
		return notLoggedIn(c, err)
	}
	c.Response().Header().Set(headerSubjectToken, token.ID)
	return answerJSON(c, http.StatusCreated, Login{UserID: token.UserID, UserName: token.UserName, ExpiresAt: token.ExpiresAt})
}

// notLoggedIn converts the error of a login to a problem.
func notLoggedIn(c echo.Context, err error) error {
	second, needsSecond := errors.AsType[*keystone.SecondFactorError](err)
	switch {
	case needsSecond:
		c.Response().Header().Set("Openstack-Auth-Receipt", second.Receipt)
		refused := refuse(mfaRequired, "the password was right, but the user needs another login method")
		refused.methods = second.Methods
		return refused
	case errors.Is(err, keystone.ErrWrongLogin), errors.Is(err, keystone.ErrTokenInvalid): // ErrTokenInvalid: the user was disabled just after the login
		return refuse(loginRefused, "%v", keystone.ErrWrongLogin)
	case errors.Is(err, keystone.ErrPasswordExpired):
		return refuse(passwordExpired, "%v", keystone.ErrPasswordExpired)
	}
	return err
}

// The function `credentials` returns a problem if no user can have this name or this password. The parameter `at` is the JSON pointer of the
// object with the fields name and password.
func credentials(at, name, password string) error {
	if detail := blank(name); detail != "" {
		return invalid(InvalidParam{Pointer: some(at + "/name"), Detail: detail})
	}
	if keystone.HasControl(password) {
		return invalid(InvalidParam{Pointer: some(at + "/password"), Detail: "the password contains a control character"})
	}
	return nil
}

// limitLogin counts a login or a registration. If a limit is reached, limitLogin returns a problem and counts nothing.
func (s *server) limitLogin(c echo.Context, m merchants.Merchant, name string) error {
	visitor, err := visitorOf(c.Request().Header)
	if err != nil {
		return err
	}
	if visitor != "" {
		visitor = m.ID + " " + visitor
	}
	policies, left, reached, wait := s.Logins.Take(s.now(), m.ID+" "+loginrate.LooseName(name), visitor, m.ID)
	h := c.Response().Header()
	h.Add("RateLimit-Policy", policies)
	h.Add("RateLimit", left)
	if reached == "" {
		return nil
	}
	return &problemError{
		kind: loginRateExceeded, detail: "there are too many logins and registrations: the limit " + reached + " is reached", retryAfter: wait,
		policy: reached,
	}
}

// visitorOf returns the visitor's address. For an IPv6 address, the result is the /64 network of the address: see loginrate.Network. The
// result is empty if the portal has sent no address.
func visitorOf(h http.Header) (string, error) {
	values := h.Values(headerVisitor)
	if len(values) == 0 {
		return "", nil
	}
	if len(values) == 1 {
		if _, err := netip.ParseAddr(values[0]); err == nil {
			return loginrate.Network(values[0]), nil
		}
	}
	return "", invalid(InvalidParam{Parameter: some(headerVisitor), Detail: "the header must contain one IP address"})
}

// withoutText returns a JSON object without the field at the end of the path, and the text in that field. If there is no such field, or if it
// contains no text, the text is empty.
func withoutText(object jsontext.Value, path ...string) (rest jsontext.Value, text string, err error) {
	if object.Kind() != '{' { // refused later, when the body is checked against the schema
		return object, "", nil
	}
	var fields map[string]jsontext.Value
	if err := stdjson.Unmarshal(object, &fields); err != nil {
		return nil, "", err
	}
	field, found := fields[path[0]]
	switch {
	case !found:
		return object, "", nil
	case len(path) > 1:
		fields[path[0]], text, err = withoutText(field, path[1:]...)
	default:
		delete(fields, path[0])
		if stdjson.Unmarshal(field, &text) != nil {
			text = ""
		}
	}
	if err == nil {
		rest, err = stdjson.Marshal(fields)
	}
	if err != nil {
		return nil, "", err
	}
	return rest, text, rest.Canonicalize()
}

package conn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Purpose is the kind of a request. The class of a request's error depends on the purpose.
type Purpose int

// The purposes of requests. An Exchange is the exchange of a user's token, and a UserLogin is the login of a user with a password. Both
// are sent without Tenantry's own credential.
const (
	Read Purpose = iota
	Write
	Exchange
	Validation
	UserLogin
	login // a login with Tenantry's own credential
)

// ErrIncomplete means that a successful answer does not contain the requested data.
var ErrIncomplete = errors.New("the answer does not contain the requested data")

// Do makes one request. The parameter `secrets` lists the secrets in the request that are not secrets of the Conn. If the
// request fails, the returned error is an *upstream.Error. The error contains none of these secrets, and no secret of the Conn.
func (c *Conn) Do(ctx context.Context, p Purpose, op string, request func(context.Context) error, secrets ...string) error {
	note := &Call{Limits: objectLimits, secrets: secrets, ofUser: p == UserLogin}
	err := request(context.WithValue(ctx, callKey{}, note))
	if err == nil {
		return nil
	}
	answered, isAnswer := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err)
	secrets = c.own.with(secrets, answered.ResponseHeader)
	var e *upstream.Error
	if inner, ok := errors.AsType[*upstream.Error](err); ok { // the error is from a login or the guard
		e = new(*inner)
		e.Op = op + ": " + inner.Op
	} else if isAnswer {
		e = byAnswer(p, op, answered, note, secrets)
	} else {
		e = byFault(p, op, err, note)
	}
	e.Op, e.Err = upstream.Mask(e.Op, secrets...), upstream.MaskError(e.Err, secrets...)
	return e
}

// byFault classifies the error of a request that got no complete answer.
func byFault(p Purpose, op string, err error, note *Call) *upstream.Error {
	e := &upstream.Error{Service: keystone.Service, Class: upstream.Transient, Op: op, Err: err}
	var transport *url.Error
	isTransport := errors.As(err, &transport)
	if isTransport {
		e.Err = transport.Err // drops the URL, because Op names the request
	}
	// A time.ParseError quotes the answer in another encoding. A token in this quotation would not be masked.
	if _, ok := errors.AsType[*time.ParseError](err); ok {
		e.Err = ErrIncomplete
	}
	kept, notSent := errors.AsType[*upstream.NotSentError](err)
	switch {
	case notSent && kept.Circuit != "":
		e.Class, e.RetryAfter, e.OwnCredential = kept.Class(), kept.RetryAfter, upstream.RefusedLogin(kept) != nil
	case note.reached && p == Write:
		e.MaybeDone = true
	case note.reached:
	case !isTransport:
		e.Class = upstream.Permanent // the request could not be built
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), notSent:
	default:
		e.Class = upstream.Unavailable
	}
	return e
}

// byAnswer classifies an answer by its status. The comment of keystone.Service lists the rules.
func byAnswer(p Purpose, op string, a gophercloud.ErrUnexpectedResponseCode, note *Call, secrets []string) *upstream.Error {
	if p == Write && !note.reached {
		p = Read // the guard did not send the write: this is the answer to the guard's read
	}
	message, own := messageOf(a.Actual, a.Body, secrets)
	e := &upstream.Error{
		Service:    keystone.Service,
		Op:         op,
		Status:     a.Actual,
		RequestID:  upstream.RequestID(a.ResponseHeader, secrets...),
		RetryAfter: upstream.RetryAfter(a.ResponseHeader, time.Now()),
		Message:    message,
	}
	fromKeystone := own || e.RequestID != "" && (a.Actual != http.StatusNotFound || isJSONForHead(a))

	switch status := a.Actual; {
	case status < 300: // a successful status, but not the expected status
		e.Class, e.MaybeDone, e.Err = upstream.Transient, p == Write, ErrIncomplete
	case status < 400:
		e.Class = upstream.Unavailable
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		e.Class = upstream.Transient
	case status < 500:
		classifyRefused(p, e, fromKeystone)
	case status == http.StatusServiceUnavailable:
		e.Class, e.MaybeDone = upstream.Unavailable, p == Write
	case p == Write:
		e.Class, e.MaybeDone = upstream.Transient, true
	case status == http.StatusBadGateway, status == http.StatusGatewayTimeout:
		e.Class = upstream.Unavailable
	default:
		e.Class = upstream.Transient
	}
	return e
}

// classifyRefused classifies an answer with a 4xx status.
func classifyRefused(p Purpose, e *upstream.Error, fromKeystone bool) {
	e.Class = upstream.Permanent
	switch {
	case p == login:
		e.Class, e.OwnCredential = upstream.Unavailable, e.Status != http.StatusNotFound || !lacksRole(e.Message)
	case !fromKeystone && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden || e.Status == http.StatusNotFound):
		e.Class = upstream.Unavailable // the answer is from a proxy, not from Keystone
	case (p == Exchange || p == Validation) && e.Status == http.StatusNotFound && lacksRole(e.Message):
		e.Class = upstream.Unavailable
	case (p == Exchange || p == Validation) && e.Status == http.StatusNotFound:
		e.Err = keystone.ErrTokenInvalid
	case p == Exchange && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden):
		e.Err = keystone.ErrNoAccess
	case p == UserLogin && e.Status == http.StatusNotFound && lacksRole(e.Message):
		e.Class = upstream.Unavailable
	case p == UserLogin && e.Status == http.StatusUnauthorized && passwordExpired(e.Message):
		e.Err = keystone.ErrPasswordExpired
	case p == UserLogin && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden): // 403: the password is too long
		e.Err = keystone.ErrWrongLogin
	case p == UserLogin:
	case e.Status == http.StatusForbidden && policyRule.MatchString(e.Message):
		e.Class, e.Err = upstream.Blocked, fmt.Errorf("%w: %s", keystone.ErrForbidden, policyRule.FindString(e.Message))
	case e.Status == http.StatusUnauthorized,
		e.Status == http.StatusNotFound && p != Validation && sentFromDisabledProject(e.Message):
		e.Class, e.OwnCredential = upstream.Unavailable, true
	case e.Status == http.StatusNotFound:
		e.Err = keystone.ErrNotFound
	case e.Status == http.StatusConflict:
		e.Err = keystone.ErrConflict
	}
}

// lacksRole reports whether Keystone could not make or check a token because of a deleted role. Keystone 22 on SQLite keeps a rule by
// which another role implies the deleted role. Until an administrator deletes the rule, Keystone answers 404 if a login or the validation
// of a token involves the implying role. The message is "Could not find role: ID".
func lacksRole(message string) bool { return strings.Contains(message, "Could not find role: ") }

// passwordExpired reports whether Keystone refused a login only because the password has expired. The message of Keystone 22 is "The
// password is expired and needs to be changed for user: ID." Keystone sends this message only if the password is right. If a user is disabled
// or locked, Keystone sends the same answer as for a wrong password.
func passwordExpired(message string) bool { return strings.Contains(message, "password is expired") }

// isJSONForHead reports whether the request is a HEAD request, and the type of the answer is JSON. If Keystone has no route for a
// path, it answers 404, and the type of the answer is HTML. Such an answer says nothing about an object.
func isJSONForHead(a gophercloud.ErrUnexpectedResponseCode) bool {
	media, _, err := mime.ParseMediaType(a.ResponseHeader.Get("Content-Type"))
	return err == nil && media == "application/json" && a.Method == http.MethodHead
}

// tokenText matches a Fernet or JWS token. Some releases of Keystone repeat the token in their messages.
var tokenText = regexp.MustCompile(`(gAAAA|eyJ)[\w.=-]{16,}`)

// messageOf returns the message of a body with the form {"error": {"code": .., "message": ..}} or {"message": ..}. The result `own` is
// true if the body has the first form and the code is the status of the answer. Keystone's own answers have the first form. The
// message contains none of the secrets.
func messageOf(status int, body []byte, secrets []string) (message string, own bool) {
	var b struct {
		Error *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		message = string(body)
		if strings.HasPrefix(strings.TrimSpace(message), "<") { // the body is an HTML page; the error omits it
			return "", false
		}
	} else if message = b.Message; b.Error != nil {
		message, own = b.Error.Message, b.Error.Code == status
	}
	return upstream.Clean(upstream.Mask(tokenText.ReplaceAllString(message, "[token]"), secrets...)), own
}

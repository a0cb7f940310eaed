package v3

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tenantry/tenantry/keystone"
)

// purpose is what a request is for, as far as its failures depend on it.
type purpose int

const (
	read purpose = iota
	write
	login    // with the service's own credential
	exchange // with a user's token and no credential of ours
	validation
)

// errIncomplete is an answer of success that lacks what it is for.
var errIncomplete = errors.New("answer lacks what was asked for")

// do makes one request, or refuses to, and turns its failure into an *keystone.Error.
func (c *Cloud) do(ctx context.Context, p purpose, op string, request func(context.Context) error) error {
	note := &call{}
	err := request(context.WithValue(ctx, callKey{}, note))
	if err == nil {
		return nil
	}
	if inner, ok := errors.AsType[*keystone.Error](err); ok { // of a login or of the guard
		e := *inner
		e.Op = op + ": " + inner.Op
		return &e
	}
	if answered, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err); ok {
		return byAnswer(p, op, answered, note)
	}
	return byFault(p, op, err, note)
}

// byFault classifies what came back instead of a complete answer.
func byFault(p purpose, op string, err error, note *call) *keystone.Error {
	e := &keystone.Error{Kind: keystone.Transient, Op: op, Err: err}
	var transport *url.Error
	isTransport := errors.As(err, &transport)
	if isTransport {
		e.Err = transport.Err // without the URL: Op says enough
	}
	var marked interface{ NotSent() bool }
	var resting interface{ RetryAfter() time.Duration }
	switch {
	case errors.As(err, &resting): // it was turned away
		e.Kind, e.RetryAfter = keystone.Unavailable, resting.RetryAfter()
	case note.reached && p == write:
		e.Kind, e.MaybeDone = keystone.Unknown, true
	case note.reached:
	case !isTransport:
		e.Kind = keystone.Permanent // it could not even be put together
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &marked):
	default:
		e.Kind = keystone.Unavailable
	}
	return e
}

// byAnswer classifies an answer by its status; the table is at keystone.Error.
func byAnswer(p purpose, op string, a gophercloud.ErrUnexpectedResponseCode, note *call) *keystone.Error {
	if p == write && !note.reached {
		p = read // the guard's, whose answer stands for the write that was not sent
	}
	message, own := messageOf(a.Body)
	e := &keystone.Error{
		Op:         op,
		Status:     a.Actual,
		RequestID:  keystone.Clean(a.ResponseHeader.Get("X-Openstack-Request-Id")),
		RetryAfter: retryAfter(a.ResponseHeader.Get("Retry-After"), time.Now()),
		Message:    message,
	}
	fromKeystone := own || e.RequestID != ""

	switch status := a.Actual; {
	case status < 300: // not the success that was to be expected, yet success
		e.Kind, e.Err = keystone.Transient, errIncomplete
		if p == write {
			e.Kind, e.MaybeDone = keystone.Unknown, true
		}
	case status < 400:
		e.Kind = keystone.Unavailable
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		e.Kind = keystone.Transient
	case status < 500:
		classifyRefused(p, e, fromKeystone)
	case status == http.StatusServiceUnavailable:
		e.Kind, e.MaybeDone = keystone.Unavailable, p == write
	case p == write:
		e.Kind, e.MaybeDone = keystone.Unknown, true
	case status == http.StatusBadGateway, status == http.StatusGatewayTimeout:
		e.Kind = keystone.Unavailable
	default:
		e.Kind = keystone.Transient
	}
	return e
}

// classifyRefused classifies a 4xx.
func classifyRefused(p purpose, e *keystone.Error, fromKeystone bool) {
	e.Kind = keystone.Permanent
	switch {
	case p == login:
		e.Kind, e.OwnCredential = keystone.Unavailable, true
	case !fromKeystone && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden || e.Status == http.StatusNotFound):
		e.Kind = keystone.Unavailable // a proxy without a Keystone behind it, or one that shuts us out
	case (p == exchange || p == validation) && e.Status == http.StatusNotFound:
		e.Err = keystone.ErrTokenInvalid
	case p == exchange && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden):
		e.Err = keystone.ErrNoAccess
	case e.Status == http.StatusUnauthorized,
		e.Status == http.StatusForbidden && namesPolicyRule(e.Message),
		e.Status == http.StatusNotFound && p != validation && sentFromDisabledProject(e.Message):
		e.Kind, e.OwnCredential = keystone.Unavailable, true
	case e.Status == http.StatusNotFound:
		e.Err = keystone.ErrNotFound
	case e.Status == http.StatusConflict:
		e.Err = keystone.ErrConflict
	}
}

// tokenText is a token, Fernet or JWS, which some releases of Keystone repeat in their messages.
var tokenText = regexp.MustCompile(`(gAAAA|eyJ)[\w.=-]{16,}`)

// messageOf reads Keystone's error bodies, {"error": {"message": ..}} and {"message": ..}, and tells whether it was the first.
func messageOf(body []byte) (message string, own bool) {
	var b struct {
		Error *struct {
			Message string `json:"message"`
		} `json:"error"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		message = string(body)
		if strings.HasPrefix(strings.TrimSpace(message), "<") { // a page; its status says as much
			return "", false
		}
	} else if message = b.Message; b.Error != nil {
		message, own = b.Error.Message, true
	}
	return keystone.Clean(tokenText.ReplaceAllString(message, "[token]")), own
}

// retryAfter reads seconds or a date; 0 is neither, or a time gone by.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

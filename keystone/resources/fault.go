package resources

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// If a question has no answer, one of these texts names the person who can act, and the action.
const (
	fixLater   = "nobody needs to act: ask again later"
	fixService = "the administrator of the cloud must repair the service, or its address in Keystone's catalog"
	fixCatalog = "the administrator of the cloud must correct Keystone's catalog"
	fixRole    = "the administrator of the cloud must give Tenantry's user the role admin, and for Swift the role in reseller_admin_role"
	fixToken   = "the administrator of the cloud must find out why the service refuses a token that Keystone has just issued"
	fixRefused = "the administrator of the cloud must find out why the service does not answer this question"
	fixPolicy  = "the administrator of the cloud must give Tenantry's user the role admin, or find out why the service ignores the filter"
	fixQuota   = "the administrator of the cloud must find the resources that the list omits, or correct the quota" +
		" (for Cinder: cinder-manage quota sync)"
	fixCloud   = "an operator must set TENANTRY_RESOURCES_CLOUD to the cloud of the project"
	fixScope   = "an operator must give the credential of TENANTRY_RESOURCES_CLOUD the scope of a project"
	fixEnabled = "an operator must disable the project, and wait for 10 minutes"
	fixIgnore  = "if services of this type keep nothing of a project, an operator can add the type to TENANTRY_EMPTINESS_IGNORE"
)

// The type `fault` is the reason why a question has no usable answer. A fault quotes no text from an answer, except the error messages
// of Keystone.
type fault struct {
	class      upstream.Class
	text, fix  string
	status     int
	requestID  string
	retryAfter time.Duration
}

func (f *fault) Error() string { return f.text }

func blocked(fix, format string, values ...any) *fault {
	return &fault{class: upstream.Blocked, text: fmt.Sprintf(format, values...), fix: fix}
}

var (
	errForm = &fault{class: upstream.Unavailable, text: "the answer does not have the documented form", fix: fixService}
	errCut  = &fault{class: upstream.Transient, text: "the answer is cut off", fix: fixLater}
	// errNotAsked is the fault of a request that is not sent, because the service did not answer an earlier request. A proof reports
	// only the unanswered request.
	errNotAsked = &fault{class: upstream.Transient, text: "the service did not answer an earlier request", fix: fixLater}
)

// tooRecent returns an Unproven for a project that was disabled too recently. The proof for such a project contains no other Unproven.
func tooRecent(disabledAt time.Time, wait time.Duration) Unproven {
	return Unproven{
		Type: "identity", Class: upstream.Transient, RetryAfter: min(wait, time.Hour), Fix: fixLater,
		Detail: fmt.Sprintf("the project was disabled at %s, and services can accept its users' tokens for %s",
			disabledAt.UTC().Format(time.RFC3339), TokenCacheTime),
	}
}

// ofStatus returns the fault of an answer with an unexpected status.
func ofStatus(status int, h http.Header, now time.Time, secrets ...string) *fault {
	f := &fault{
		text:   strings.TrimSpace(fmt.Sprintf("status %d %s", status, http.StatusText(status))),
		status: status, requestID: upstream.RequestID(h, secrets...), retryAfter: upstream.RetryAfter(h, now),
	}
	switch status {
	case http.StatusUnauthorized:
		f.class, f.fix = upstream.Unavailable, fixToken
	case http.StatusForbidden:
		f.class, f.fix = upstream.Blocked, fixRole
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		f.class, f.fix = upstream.Unavailable, fixService
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		f.class, f.fix = upstream.Transient, fixLater
	default:
		switch {
		case status < 400:
			f.class, f.fix = upstream.Unavailable, fixService
		case status < 500:
			f.class, f.fix = upstream.Blocked, fixRefused
		default:
			f.class, f.fix = upstream.Transient, fixLater
		}
	}
	return f
}

// ofTransport returns the fault of a request without a complete answer. The text of the fault does not contain the address.
func ofTransport(err error) *fault {
	if transport, ok := errors.AsType[*url.Error](err); ok {
		err = transport.Err
	}
	f := &fault{class: upstream.Transient, text: "the connection was lost", fix: fixLater}
	if cause := upstream.Cause(err); cause != "" {
		f.text = cause
	}
	if kept, ok := errors.AsType[*upstream.NotSentError](err); ok {
		f.class, f.text, f.retryAfter = kept.Class(), "the request was not sent", kept.RetryAfter
		return f
	}
	if noConnection(err) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		f.class, f.fix = upstream.Unavailable, fixService
	}
	return f
}

func noConnection(err error) bool {
	_, isVerify := errors.AsType[*tls.CertificateVerificationError](err)
	_, isRecord := errors.AsType[tls.RecordHeaderError](err)
	op, isOp := errors.AsType[*net.OpError](err)
	return isVerify || isRecord || isOp && op.Op == "dial"
}

// ofAnswer returns the fault of an answer that could not be read to its end.
func ofAnswer(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	if limit, ok := errors.AsType[*upstream.LimitError](err); ok {
		return blocked(fixRefused, "%s", limit)
	}
	_, isSyntax := errors.AsType[*json.SyntaxError](err)
	_, isType := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case isSyntax, isType:
		return errForm
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errCut
	}
	return ofTransport(err)
}

// ofKeystone returns the fault of a call of Keystone.
func ofKeystone(err error) *fault {
	f := &fault{class: upstream.Transient, text: upstream.Clean(err.Error()), fix: fixLater}
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return f
	}
	f.class, f.status, f.retryAfter = e.Class, e.Status, e.RetryAfter
	switch e.Class {
	case upstream.Transient:
	case upstream.Unavailable:
		f.fix = fixService
	case upstream.Permanent, upstream.Blocked:
		f.class, f.fix = upstream.Blocked, fixRole
	}
	return f
}

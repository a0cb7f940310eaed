package portal

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The type `refused` is a request that the API has refused, or has not answered.
type refused struct {
	client.Problem
	retryAfter int   // seconds
	cause      error // if the API has not answered
}

// Error says why, for the log.
func (p *refused) Error() string {
	if p.cause != nil {
		return "calling the API: " + p.cause.Error()
	}
	return fmt.Sprintf("the API answers %d %s: %s", p.Status, p.Code, value(p.Detail))
}

// Unwrap returns the cause.
func (p *refused) Unwrap() error { return p.cause }

// The function `refusal` returns the error for an answer of the API that is not a success.
func refusal(response *http.Response, body []byte) error {
	p := &refused{}
	if err := json.Unmarshal(body, &p.Problem); err != nil {
		p.cause = fmt.Errorf("status %d without a problem", response.StatusCode)
		p.Retryable = response.StatusCode >= http.StatusInternalServerError // for example, a proxy has lost the answer
	}
	p.Status = response.StatusCode
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		p.retryAfter = seconds
	}
	return p
}

// noAnswer returns the error for a request whose answer was lost. A request with an idempotency key can be repeated.
func noAnswer(cause error) error {
	return &refused{Problem: client.Problem{Status: http.StatusServiceUnavailable, Retryable: true}, retryAfter: 5, cause: cause}
}

func asRefusal(err error) (*refused, bool) { return errors.AsType[*refused](err) }

// The method `kind` returns the last part of the type of the problem, such as login-refused.
func (p *refused) kind() string { return path.Base(p.Type) }

// failure returns the last part of the code of the problem, such as password-refused.
func (p *refused) failure() string { return p.Code[strings.LastIndexByte(p.Code, '.')+1:] }

// setHeaders sets the header that says when the request may be repeated.
func (p *refused) setHeaders(w http.ResponseWriter) {
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
}

// later says when the visitor can try again.
func (p *refused) later() string {
	if p.retryAfter > 1 {
		return "Try again in " + strconv.Itoa(p.retryAfter) + " seconds."
	}
	return "Try again in a moment."
}

// The texts for visitors, by the problem types of the API.
var texts = map[string]string{
	"login-refused":           "The name or the password is wrong, or the account is locked.",
	"password-expired":        "Your password has expired. Contact us for a new one.",
	"mfa-required":            "Your account needs a second factor, which this site does not support.",
	"user-exists":             "An account with this name exists already. Log in, or choose another name.",
	"invalid-params":          "Some of what you have typed is not valid.",
	"body-malformed":          "Some of what you have typed is not valid.",
	"user-not-of-customer":    "Your account does not belong to this customer any more.",
	"subscription-not-ready":  "This subscription is still being made.",
	"subscription-ended":      "This subscription has ended, and can no longer be changed.",
	"subscription-ending":     "This subscription has been ended already.",
	"subscription-not-ending": "This subscription has not been ended.",
	"subscription-suspended":  "This subscription is suspended. Contact us.",
	"suspended-by-operator":   "This subscription is suspended. Contact us.",
	"ending-taken":            "This subscription is being removed, and can no longer be restored.",
	"plan-unchanged":          "Your subscription has this plan already.",
	"plan-gone":               "This plan is not for sale any more.",
	"subscription-not-found":  "There is no such subscription.",
	"run-not-found":           "There is no such order.",
	"idempotency-key-reused":  "You have sent this form before. Look at your subscriptions.",
}

// words tells a visitor the fault, and what the visitor can do.
func (p *refused) words() string {
	switch kind := p.kind(); kind {
	case "login-rate-exceeded":
		return "There were too many attempts. " + p.later()
	case "run-compensated":
		return compensated(p.failure())
	default:
		if text, ok := texts[kind]; ok {
			return text
		}
	}
	if p.Retryable {
		return "We cannot do this at the moment. " + p.later()
	}
	return "We cannot do this. Contact us if it does not work tomorrow either."
}

// wordsForForm is like the method words, but for a page that shows the form again with the same nonce.
func (p *refused) wordsForForm() string {
	if p.Retryable {
		return p.words() + " You can send the same form again: nothing is done twice."
	}
	return p.words()
}

// shownStatus returns the status of the page for the visitor. If the API refuses the portal itself, the status is 503, because the
// visitor's request is not at fault.
func (p *refused) shownStatus() int {
	if p.faultOfPortal() {
		return http.StatusServiceUnavailable
	}
	return p.Status
}

// faultOfPortal reports whether the merchant or an operator must act: for example, because the API key was revoked.
func (p *refused) faultOfPortal() bool {
	switch p.kind() {
	case "credentials-required", "credentials-invalid", "forbidden", "tls-required", "merchant-disabled", "merchant-not-found", "sign-up-off",
		"configuration-fault", "internal-error":
		return true
	}
	return false
}

// The function `compensated` says why a run was undone, by its failure code.
func compensated(code string) string {
	switch code {
	case "password-refused":
		return "This password is not allowed."
	case "plan-gone":
		return "This plan is not for sale any more."
	case "cancelled", "compensated-by-operator":
		return "This was cancelled. Everything has been undone."
	}
	return "This did not work. Everything has been undone, so you can try again."
}

// The texts for fields that are not valid, by the pointers to the fields.
var fieldTexts = map[string]string{ //nolint:gosec // no passwords
	"name":          "Use 1 to 255 characters, and no invisible ones.",
	"email":         "Use 1 to 255 characters.",
	"password":      "Use 1 to 4096 characters, and no invisible ones.",
	"customer/name": "Use 1 to 60 characters.",
	"customer_id":   "You have no such customer account.",
	"plan_id":       "This plan is not for sale any more.",
}

// The method `fields` returns the faults of the fields of a form, by the names of the fields.
func (p *refused) fields() map[string]string {
	found := map[string]string{}
	for _, param := range value(p.InvalidParams) {
		field := strings.TrimPrefix(value(param.Pointer), "/")
		if found[field] = param.Detail; p.kind() == "invalid-params" {
			found[field] = fieldTexts[field]
		}
	}
	return found
}

// The errors of this site.
var (
	errNotFound   = &siteError{http.StatusNotFound, "Not found", "There is no such page."}
	errInsecure   = &siteError{http.StatusForbidden, "Not encrypted", "This site needs an encrypted connection. Open its address with https://."}
	errOtherSite  = &siteError{http.StatusForbidden, "Sent by another site", "Open the page here, and send its form."}
	errForm       = &siteError{http.StatusBadRequest, "Not a form of this site", "Open the page again, and send its form."}
	errNotForSale = &siteError{http.StatusNotFound, "Not for sale", "We do not sell this plan any more. Choose another one."}
	errTooLarge   = &siteError{http.StatusRequestEntityTooLarge, "Too large", "Type less into the form."}
)

// The type `siteError` is an error with a page of its own.
type siteError struct {
	status        int
	title, detail string
}

// Error returns the title.
func (e *siteError) Error() string { return e.title }

// The method `fail` answers with the page of an error. If the API no longer accepts the token of the user, the session ends.
func (p *portal) fail(w http.ResponseWriter, r *http.Request, err error) {
	shown := &siteError{http.StatusInternalServerError, "Something went wrong", "We have noted the error. Try again in a moment."}
	answer, isRefusal := asRefusal(err)
	site, isSite := errors.AsType[*siteError](err)
	switch {
	case isSite:
		shown = site
	case isRefusal && answer.kind() == "user-token-invalid":
		if err = p.end(w, r); err == nil {
			p.toLogin(w, r)
			return
		}
		p.Log.Error().Err(err).Msg("portal")
	case isRefusal:
		p.note(r, answer)
		answer.setHeaders(w)
		shown = &siteError{answer.shownStatus(), "This did not work", answer.words()}
	case r.Context().Err() != nil: // the visitor has gone away
		p.Log.Debug().Err(err).Str("path", r.URL.Path).Msg("portal")
	default:
		p.Log.Error().Err(err).Str("path", r.URL.Path).Msg("portal")
	}
	if err := p.show(w, r, shown.status, "error", shown.title, shown.detail); err != nil {
		p.Log.Error().Err(err).Msg("portal")
	}
}

// The method `note` logs a refusal that the merchant or an operator can fix: for example, because the API key was revoked.
func (p *portal) note(r *http.Request, answer *refused) {
	level := p.Log.Debug()
	if answer.faultOfPortal() || answer.cause != nil && r.Context().Err() == nil {
		level = p.Log.Error()
	}
	level.Err(answer).Str("merchant_id", p.Merchant).Str("path", r.URL.Path).Str("api_request_id", answer.RequestID).Msg("portal")
}

// The function `value` returns the value that a pointer points to, or the zero value if the pointer is nil.
func value[T any](v *T) T {
	if v == nil {
		var zero T
		return zero
	}
	return *v
}

package billing

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// fault is an answer that is not a success, before it is known what was asked.
type fault struct {
	status     int
	retryAfter time.Duration
	shaped     bool   // the body is one of BillingStack's own shapes
	text       string // first line, without what the message queue put before it
}

var remotePrefix = regexp.MustCompile(`^Remote error: \w+ ?`)

// readFault decodes by shape: Content-Type says nothing (v1 sends its JSON faults as text/html).
func readFault(status int, header http.Header, body []byte) fault {
	f := fault{status: status, retryAfter: retryAfter(header)}
	var shape struct {
		FaultString *string `json:"faultstring"` // of the web framework, in v1 and v2
		Code        *int    `json:"code"`        // of v1's own error handler
		Type        string  `json:"type"`
		Message     string  `json:"message"`
	}
	text := string(body)
	// A field of another type leaves the others decoded; a body that is no object leaves none.
	if err := json.Unmarshal(body, &shape); err == nil || isTypeError(err) {
		switch {
		case shape.FaultString != nil:
			f.shaped, text = true, *shape.FaultString
		case shape.Code != nil && *shape.Code == status:
			f.shaped, text = true, shape.Message
			if text == "" {
				text = shape.Type
			}
		}
	}
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	f.text = upstream.Clean(remotePrefix.ReplaceAllString(line, ""))
	return f
}

func isTypeError(err error) bool {
	_, ok := errors.AsType[*json.UnmarshalTypeError](err)
	return ok
}

func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(v); err == nil {
		return time.Duration(max(seconds, 0)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// notFound tells whether the fault says that the object with this id is not there. The original answers 500
// with the bare id; a 404 that is not in its shape is a missing route or another server, and no proof
// of anything.
func (f fault) notFound(id string) bool {
	switch f.status {
	case http.StatusNotFound:
		return f.shaped
	case http.StatusInternalServerError:
		return f.shaped && (f.text == id || f.text == "No criterias matched") //nolint:misspell // the original's words
	}
	return false
}

// queueTimeout tells of a call that the API gave up waiting for; the service behind may still carry it out.
func (f fault) queueTimeout() bool {
	return f.status == http.StatusInternalServerError && strings.Contains(f.text, "Timeout while waiting on RPC response")
}

// ofRequest tells whether a 500 is about the request, in the words of the databases and of the original's code.
func (f fault) ofRequest() bool {
	text := strings.ToLower(f.text)
	for _, words := range requestFaults {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

var requestFaults = [...]string{
	"foreign key",
	"not null", "may not be null", "cannot be null", "null value in column",
	"takes exactly", "positional argument", // a handler of the original that cannot work
	"badly formed hexadecimal uuid string",
	"no criterias matched", //nolint:misspell // the original's words
	"data too long", "value too long",
	"circular reference detected", "not allowed to change id",
	"is not a valid field to query by", "invalid operator",
}

// class classifies the fault as if no look-up were possible. write: the request could change something.
func (f fault) class(write bool) (class upstream.Class, maybeDone bool) {
	switch {
	case f.status == http.StatusUnauthorized, f.status == http.StatusForbidden:
		return upstream.Unavailable, false
	case f.status == http.StatusMethodNotAllowed, f.status == http.StatusNotFound && !f.shaped, f.status < http.StatusBadRequest:
		return upstream.Unavailable, false
	case f.status == http.StatusRequestTimeout, f.status == http.StatusTooManyRequests:
		return upstream.Transient, false
	case f.status < http.StatusInternalServerError:
		return upstream.Permanent, false
	case f.status == http.StatusServiceUnavailable:
		return upstream.Unavailable, write
	case f.queueTimeout():
		return upstream.Transient, write
	case f.status != http.StatusInternalServerError:
		return upstream.Transient, write
	case f.ofRequest():
		return upstream.Permanent, false
	}
	return upstream.Transient, false
}

// cause is the sentinel that the status alone stands for.
func (f fault) cause() error {
	switch {
	case f.status == http.StatusNotFound && f.shaped:
		return ErrNotFound
	case f.status == http.StatusConflict:
		return ErrConflict
	}
	return nil
}

// isJSON guards a success: a proxy's page with status 200 is not an answer.
func isJSON(body []byte) bool { return json.Valid(bytes.TrimSpace(body)) }

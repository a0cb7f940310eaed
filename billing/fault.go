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

// fault is an unsuccessful answer.
type fault struct {
	status     int
	retryAfter time.Duration
	shaped     bool   // the body has one of BillingStack's own formats
	text       string // first line, without the prefix of the message queue
}

var remotePrefix = regexp.MustCompile(`^Remote error: \w+ ?`)

// readFault decodes by the fields of the body. The Content-Type is not reliable: v1 sends its JSON faults as text/html.
func readFault(status int, header http.Header, body []byte) fault {
	f := fault{status: status, retryAfter: retryAfter(header)}
	var shape struct {
		FaultString *string `json:"faultstring"` // of the web framework, in v1 and v2
		Code        *int    `json:"code"`        // of v1's own error handler
		Type        string  `json:"type"`
		Message     string  `json:"message"`
	}
	text := string(body)
	// If a field has another type, the others are still decoded. If the body is not an object, none is.
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

// notFound reports whether the object with this id does not exist. The original answers 500 with the id as its text. A 404 in
// another format is a missing route or another server, and proves nothing.
func (f fault) notFound(id string) bool {
	switch f.status {
	case http.StatusNotFound:
		return f.shaped
	case http.StatusInternalServerError:
		return f.shaped && (f.text == id || f.text == "No criterias matched") //nolint:misspell // the original's words
	}
	return false
}

// queueTimeout reports whether the API gave up waiting for the service behind it, which may still carry the request out.
func (f fault) queueTimeout() bool {
	return f.status == http.StatusInternalServerError && strings.Contains(f.text, "Timeout while waiting on RPC response")
}

// ofRequest reports whether a 500 is the fault of the request. It compares the text with those of the databases and of the
// original's code.
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

// class classifies the fault without a look-up. write means that the request could change something.
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

// cause returns the sentinel for the status.
func (f fault) cause() error {
	switch {
	case f.status == http.StatusNotFound && f.shaped:
		return ErrNotFound
	case f.status == http.StatusConflict:
		return ErrConflict
	}
	return nil
}

// isJSON reports whether a successful answer is JSON. A proxy's page with status 200 is not.
func isJSON(body []byte) bool { return json.Valid(bytes.TrimSpace(body)) }

package billing

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `fault` is an answer that reports an error.
type fault struct {
	status     int
	retryAfter time.Duration
	framework  bool   // whether the body has the error format of BillingStack's web framework, which v1 and v2 use
	absent     bool   // whether the body is v1's answer about a missing object
	text       string // first line of the error text, without the prefix of the message queue
}

var remotePrefix = regexp.MustCompile(`^Remote error: \w+ ?`)

// readFault recognizes the format of a fault by the keys of its body. readFault ignores the Content-Type, because v1 sends JSON
// faults as text/html.
func readFault(status int, header http.Header, body []byte) fault {
	f := fault{status: status, retryAfter: upstream.RetryAfter(header, time.Now())}
	var shape struct {
		FaultString *string `json:"faultstring"` // set in errors of the web framework, in v1 and v2
		Code        *int    `json:"code"`        // set in errors of v1's own error handler
		Type        string  `json:"type"`
		Message     string  `json:"message"`
		Title       string  `json:"title"` // key of the errors of v2's router
	}
	text := string(body)
	// If one field has an unexpected type, Unmarshal still decodes the other fields. If the body is not a JSON object, Unmarshal
	// decodes no field.
	if err := json.Unmarshal(body, &shape); err == nil || isTypeError(err) {
		switch {
		case shape.FaultString != nil:
			f.framework, text = true, *shape.FaultString
		case shape.Code != nil && *shape.Code == status:
			f.absent, text = shape.Type == "not_found", cmp.Or(shape.Message, shape.Type, shape.Title)
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

// notFound reports whether the fault means that the object of the request does not exist. In most cases, the text of such a fault is the id
// of the object. The original server answers 500 for a missing object. It also answers 500 to a POST if the merchant is missing. If the
// body of a 404 does not say that the object is missing, the 404 comes from a missing route, a wrong API version or another server. Such a
// 404 does not prove that the object is missing. For example, v2's router answers 404 with {"code": 404, "title": "Not Found",
// "description": null}.
func (f fault) notFound(r request) bool {
	switch {
	case r.item == "": // a collection always exists
		return false
	case f.status == http.StatusNotFound:
		return r.method != http.MethodPost && (f.absent || f.framework && f.text == r.item) // a POST is sent to a collection
	case f.status == http.StatusInternalServerError:
		return f.framework && (f.text == r.item || f.text == "No criterias matched") //nolint:misspell // the original's words
	}
	return false
}

// queueTimeout reports whether BillingStack's API stopped waiting for the service behind its message queue. The service may still
// execute the request.
func (f fault) queueTimeout() bool {
	return f.status == http.StatusInternalServerError && strings.Contains(f.text, "Timeout while waiting on RPC response")
}

// ofRequest reports whether an invalid request caused a 500.
func (f fault) ofRequest() bool {
	return f.mentions(requestFaults[:]) || f.mentions(unstorable[:]) || f.refusedValue() != ""
}

// The method `mentions` reports whether the fault's text contains one of the words, which must be in lower case. `mentions` ignores
// case in the text.
func (f fault) mentions(words []string) bool {
	text := strings.ToLower(f.text)
	return slices.ContainsFunc(words, func(one string) bool { return strings.Contains(text, one) })
}

// The variable `statement` matches the SQL statement, and its values, at the end of an error text of SQLAlchemy or PostgreSQL. The
// client removes the statement and its values from its errors. SQLAlchemy writes the first word of a statement in capitals.
var statement = regexp.MustCompile(
	`(?s)\s*(\[(SQL|parameters):|(\\n|\s)LINE \d+:|u?['"]\s*([A-Z]{3,}|(?i:INSERT|UPDATE|DELETE|SELECT|REPLACE|WITH))\s).*`)

const foreignKey = "foreign key"

// The variables `empty` and `tooLong` contain error texts of the databases about a value of the request. The texts contain the name
// of the column.
var (
	empty   = [...]string{"not null", "may not be null", "cannot be null", "null value in column"}
	tooLong = [...]string{"data too long", "value too long"}
	column  = regexp.MustCompile(`(?i)column ['"](\w+)['"]|constraint failed: \w+\.(\w+)|\w+\.(\w+) may not be null`)
)

// refusedValue returns the message about a value that the database refuses; "" if the fault has another cause.
func (f fault) refusedValue() string {
	message := "BillingStack's database refuses a value"
	if name := column.FindStringSubmatch(f.text); name != nil {
		message = "BillingStack's database refuses the value of " + cmp.Or(name[1:]...)
	}
	switch {
	case f.mentions(empty[:]):
		return message + ": it is empty"
	case f.mentions(tooLong[:]):
		return message + ": it is too long"
	}
	return ""
}

// requestFaults are error texts of the databases and of the original BillingStack's code about invalid requests.
var requestFaults = [...]string{
	foreignKey,
	"takes exactly", "positional argument", // bugs of the original: calls with a wrong number of arguments
	"badly formed hexadecimal uuid string",
	"no criterias matched", //nolint:misspell // the original's words
	"circular reference detected", "not allowed to change id",
	"is not a valid field to query by", "invalid operator",
}

// The variable `unstorable` contains error texts about characters that cannot be encoded. The texts come from Python with MySQL or SQLite,
// from MySQL in strict mode, and from PostgreSQL.
var unstorable = [...]string{"codec can't encode", "incorrect string value", "has no equivalent in encoding"}

// The method `class` returns the error class of a fault that is not about a missing object, and whether the effect of the request
// may have happened. The parameter `write` is true if the request can change something.
func (f fault) class(write bool) (class upstream.Class, maybeDone bool) {
	switch {
	case f.status == http.StatusUnauthorized, f.status == http.StatusForbidden:
		return upstream.Unavailable, false
	case f.status == http.StatusMethodNotAllowed, f.status == http.StatusNotFound, f.status < http.StatusBadRequest:
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

// isJSON reports whether a successful answer is JSON. A proxy may answer with an HTML page and status 200.
func isJSON(body []byte) bool { return json.Valid(bytes.TrimSpace(body)) }

package upstream

import (
	"context"
	"net/http"
	"regexp"
)

// RequestIDHeader is the header that carries request ids in both directions, as in OpenStack.
const RequestIDHeader = "X-Openstack-Request-Id"

// requestID matches the ids that OpenStack's services give to requests, such as "req-" and a UUID.
var requestID = regexp.MustCompile(`^req-[0-9A-Za-z-]{1,60}$`)

// RequestID returns the id that a service gave to a request. The service sends the id in the header of the answer. The result is empty if
// the header has no id, if the value does not have the form of a request id, or if the value contains one of the secrets.
func RequestID(header http.Header, secrets ...string) string {
	id := header.Get(RequestIDHeader)
	if !requestID.MatchString(id) || Mask(id, secrets...) != id {
		return ""
	}
	return id
}

// ReportAnswer reads the request id from the header of an answer, and passes the id to the caller in ctx. See [RequestID].
func ReportAnswer(ctx context.Context, header http.Header, secrets ...string) {
	if c := CallerOf(ctx); c.Answered != nil {
		c.Answered(RequestID(header, secrets...))
	}
}

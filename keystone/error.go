package keystone

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// What a caller may tell apart with errors.Is. Each comes inside an *[Error].
var (
	ErrNotFound     = errors.New("not found")
	ErrTokenInvalid = errors.New("token is not valid")
	ErrNoAccess     = errors.New("no access to the project")
	ErrConflict     = errors.New("name is taken")
	ErrRefusedRole  = errors.New("role opens the whole cloud")
	// ErrGuard is a write that was stopped before it was sent, because it concerns something that is not Tenantry's.
	ErrGuard = errors.New("write is outside of what this service may touch")
)

// Kind says what to do about an error.
type Kind int

const (
	// Permanent is a refusal of this very request: repeating it gives the same answer.
	Permanent Kind = iota + 1
	// Transient is worth trying again soon. The call had no effect, or has none that matters.
	Transient
	// Unavailable means that Keystone cannot serve anybody at present, or refuses the service's own credential. It is no
	// fault of the request: wait, and tell the operator if OwnCredential is set.
	Unavailable
	// Unknown means that a write may have taken place or not, or may still do so. Look before repeating it.
	Unknown
)

// String is the kind in lower case.
func (k Kind) String() string {
	switch k {
	case Permanent:
		return "permanent"
	case Transient:
		return "transient"
	case Unavailable:
		return "unavailable"
	case Unknown:
		return "unknown"
	default:
		return fmt.Sprintf("kind %d", int(k))
	}
}

// Error is a call of [Identity] that did not do what was asked. It holds no secret.
//
// How failures are told apart. MaybeDone is only ever true for a write (making or removing a project or a role assignment);
// a login, a validation and an exchange leave nothing behind that could be in the way, so they count as reads.
//
//	what happened                                    on a write              on a read     MaybeDone (write)
//	400, 405, 413, any other 4xx                     Permanent               Permanent     no
//	401 also after a new login, login refused        Unavailable             Unavailable   no   OwnCredential
//	403 naming a policy rule, also after a new login Unavailable             Unavailable   no   OwnCredential
//	404 because the service's project is disabled    Unavailable             Unavailable   no   OwnCredential
//	403 about the request (a child, immutable, ...)  Permanent               Permanent     no
//	404 from Keystone                                Permanent, ErrNotFound  the same      no   (a removal: success)
//	404 from something else (no Keystone there)      Unavailable             Unavailable   no
//	409                                              looked up by name; not found: Permanent, ErrConflict   no
//	408, 425, 429 with its Retry-After               Transient               Transient     no
//	500 and other 5xx                                Unknown                 Transient     yes
//	502, 504                                         Unknown                 Unavailable   yes
//	503 with its Retry-After                         Unavailable             Unavailable   yes: some proxies answer it for
//	                                                                                       a connection lost half-way
//	3xx (never followed)                             Unavailable             Unavailable   no
//	connection refused, no such host, TLS handshake  Unavailable             Unavailable   no
//	EOF, reset, time-out, ctx ended after sending    Unknown                 Transient     yes
//	time-out or ctx ended before sending             Transient               Transient     no
//	truncated, non-JSON or incomplete 2xx answer     Unknown                 Transient     yes
//	turned away, for Keystone is out of order        Unavailable             Unavailable   no
//	stopped by the guard                             Permanent, ErrGuard     -             no
//
// A ctx that ended is found by errors.Is(err, context.Canceled) or context.DeadlineExceeded.
type Error struct {
	Kind Kind
	// Op is what was being done, a gerund and the thing: `creating project "x"`.
	Op string
	// Status is the HTTP status of the answer, 0 if there was none.
	Status int
	// RequestID is Keystone's x-openstack-request-id.
	RequestID string
	// RetryAfter is how long Keystone asked to be left alone, 0 if it did not say.
	RetryAfter time.Duration
	// Message is Keystone's own, as [Clean] leaves it.
	Message string
	// MaybeDone says that the effect may have taken place, or may still. It does not follow from Kind.
	MaybeDone bool
	// OwnCredential says that the service's own credential was refused: only an operator can mend that.
	OwnCredential bool
	// Err is a sentinel of this package, or what the network said.
	Err error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	b.WriteString(": ")
	if e.OwnCredential {
		b.WriteString("the service's own credential is refused: ")
	}
	if e.Err != nil {
		b.WriteString(e.Err.Error())
	}
	if e.Status != 0 {
		if e.Err != nil {
			b.WriteString(": ")
		}
		fmt.Fprintf(&b, "Keystone answered %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Message != "" {
		b.WriteString(": ")
		b.WriteString(e.Message)
	}
	if e.RequestID != "" {
		b.WriteString(" (" + e.RequestID + ")")
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// maxMessage is how many bytes of a message from outside are kept.
const maxMessage = 1024

// Clean makes text from outside fit for a database, a log and a person: valid UTF-8 without NUL, at most 1 KiB, without
// blanks at its ends.
func Clean(s string) string {
	if len(s) > 4*maxMessage { // no need to look at the whole of a large page
		s = s[:4*maxMessage]
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.TrimSpace(strings.ReplaceAll(s, "\x00", ""))
	for len(s) > maxMessage {
		cut := maxMessage
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	return s
}

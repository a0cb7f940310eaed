package keystone

import (
	"errors"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// What a caller may tell apart with errors.Is. Each comes inside an *[upstream.Error].
var (
	ErrNotFound     = errors.New("not found")
	ErrTokenInvalid = errors.New("token is not valid")
	ErrNoAccess     = errors.New("no access to the project")
	ErrConflict     = errors.New("name is taken")
	ErrRefusedRole  = errors.New("role opens the whole cloud")
	// ErrGuard is a write that was stopped before it was sent, because it concerns something that is not Tenantry's.
	ErrGuard = errors.New("write is outside of what this service may touch")
)

// Service names Keystone in errors.
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
//	500 and other 5xx                                Transient               Transient     yes
//	502, 504                                         Transient               Unavailable   yes
//	503 with its Retry-After                         Unavailable             Unavailable   yes: some proxies answer it for
//	                                                                                       a connection lost half-way
//	3xx (never followed)                             Unavailable             Unavailable   no
//	connection refused, no such host, TLS handshake  Unavailable             Unavailable   no
//	EOF, reset, time-out, ctx ended after sending    Transient               Transient     yes
//	time-out or ctx ended before sending             Transient               Transient     no
//	truncated, non-JSON or incomplete 2xx answer     Transient               Transient     yes
//	kept back, the circuit is open                   Unavailable             Unavailable   no
//	stopped by the guard                             Permanent, ErrGuard     -             no
//
// A ctx that ended is found by errors.Is(err, context.Canceled) or context.DeadlineExceeded.
var Service = upstream.Service{ID: "keystone", Name: "Keystone"}

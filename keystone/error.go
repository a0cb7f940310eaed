package keystone

import (
	"errors"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Errors that callers distinguish with errors.Is. Each is wrapped in an *[upstream.Error].
var (
	ErrNotFound     = errors.New("not found")
	ErrTokenInvalid = errors.New("token is not valid")
	ErrNoAccess     = errors.New("no access to the project")
	ErrConflict     = errors.New("name is taken")
	ErrRefusedRole  = errors.New("role grants access to the whole cloud")
	// ErrGuard is a write that was refused before it was sent, because its target is not Tenantry's.
	ErrGuard = errors.New("write is outside of what this service may touch")
)

// Service names Keystone in errors.
//
// The table classifies failures. MaybeDone is only ever true for a write: creating or removing a project or a role assignment. A
// login, a validation and an exchange count as reads, because they leave nothing that has to be removed.
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
//	not sent, the circuit is open                    Unavailable             Unavailable   no
//	refused by the guard                             Permanent, ErrGuard     -             no
//
// If ctx has ended, errors.Is(err, context.Canceled) or errors.Is(err, context.DeadlineExceeded) reports so.
var Service = upstream.Service{ID: "keystone", Name: "Keystone"}

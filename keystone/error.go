package keystone

import (
	"errors"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Callers distinguish these errors with errors.Is. The methods of [Identity] wrap these errors in an *[upstream.Error].
var (
	ErrNotFound     = errors.New("not found")
	ErrTokenInvalid = errors.New("token is not valid")
	ErrNoAccess     = errors.New("no access to the project")
	ErrConflict     = errors.New("name is taken")
	ErrAmbiguous    = errors.New("several objects have this name")
	ErrRefusedRole  = errors.New("users must not get the role")
	// ErrForbidden means that Keystone's policy forbids a request of Tenantry's own user, even after a new login.
	ErrForbidden = errors.New("the service's user lacks a permission")
	// ErrUnscoped means that a login with a correct credential returned a token without a scope. Keystone refuses requests that Tenantry sends
	// with this token.
	ErrUnscoped = errors.New("the login has no scope")
	// ErrLoginRefused means that Keystone refuses the credential of a person, not of the service.
	ErrLoginRefused = errors.New("the credential is refused")
	// ErrCut means that Keystone has cut a list, and that the list cannot be read in parts. Keystone cuts a list that is longer than the
	// option list_limit in keystone.conf.
	ErrCut = errors.New("list is longer than Keystone's list_limit")
	// ErrGuard means that the guard refused to send a write, because the write's target does not belong to Tenantry.
	ErrGuard = errors.New("refused by the guard: Tenantry may write only to its own tenants in the configured domains")
)

// Service identifies Keystone in errors.
//
// The rules below map a failed request to the class of its error. A write creates, changes or removes a project or
// a user, or creates or removes a role assignment. All other requests count as reads. A login, the validation of a token and the exchange
// of a token count as reads too, because they leave nothing that must be removed. MaybeDone can be true only for the error of a write.
//
//	Status 400, 405, 413 or any other 4xx is Permanent.
//	A refused login is Unavailable with OwnCredential, and wraps an [upstream.RefusedLoginError].
//	Status 401 leads to a new login. If the new login does not help or is refused, the error is Unavailable with OwnCredential.
//	Status 403 that names a policy rule leads to a new login. A second such 403 is Blocked with ErrForbidden.
//	Any other status 403 from Keystone is Permanent, for example if a project has a child or is immutable.
//	A login whose token has no scope is Unavailable with ErrUnscoped.
//	Status 404 is Unavailable with OwnCredential if the project of Tenantry's own user is disabled.
//	Any other status 404 from Keystone is Permanent with ErrNotFound.
//	Status 404 from Keystone counts as success if the request is a removal.
//	Status 404 is Unavailable if its body is not a Keystone error, because the answer then says nothing about the requested object.
//	Status 401 or 403 is Unavailable if a server other than Keystone, such as a proxy, sent the answer.
//	Status 404 for the validation or the exchange of a token is Permanent with ErrTokenInvalid.
//	If the cause is a deleted implied role, status 404 for a login, a validation or an exchange is Unavailable without OwnCredential.
//	Status 401 or 403 for the exchange of a token is Permanent with ErrNoAccess.
//	Status 401 for the login of a user is Permanent with ErrWrongLogin, ErrPasswordExpired or *SecondFactorError.
//	Status 403 for the login of a user is Permanent with ErrWrongLogin: the password is longer than Keystone allows.
//	Status 400 or 403 for a new password is Permanent with ErrPasswordRefused if the message says that the password breaks a rule.
//	Status 409 makes EnsureProject look the project up by name.
//	Status 409 is Permanent with ErrConflict if EnsureProject finds no project with the name.
//	Status 408, 425 or 429 is Transient, with the Retry-After of the answer.
//	Status 502 or 504 is Transient with MaybeDone for a write, and Unavailable for a read.
//	Status 503 is Unavailable, with the Retry-After of the answer.
//	Status 503 for a write has MaybeDone: a proxy may answer 503 if the connection breaks after the proxy has sent the write.
//	Any other 5xx, such as status 500, is Transient, with MaybeDone for a write.
//	Status 3xx is Unavailable, because redirects are never followed.
//	A refused connection, an unknown host or a failed TLS handshake is Unavailable.
//	A lost connection, a time-out or the end of ctx is Transient, with MaybeDone for a write that may have been sent.
//	A truncated, incomplete or non-JSON answer with status 2xx is Transient, with MaybeDone for a write.
//	A list that Keystone has cut is Unavailable with ErrCut.
//	A request that is not sent because the circuit is open is Unavailable.
//	A write that the guard refuses is Permanent with ErrGuard.
//
// If a request fails because ctx has ended, its error wraps context.Canceled or context.DeadlineExceeded.
var Service = upstream.Service{ID: "keystone", Name: "Keystone"}

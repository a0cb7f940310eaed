package upstream

import "errors"

// RefusedLoginError reports that a service refused a login with Tenantry's own credential. If the login were repeated with each call,
// the service might lock the user. Text says who logged in and why the service may have refused the login. Text holds no secret.
type RefusedLoginError struct{ Text string }

func (e *RefusedLoginError) Error() string { return e.Text }

// RefusedLogin returns the RefusedLoginError that err is or wraps; nil if there is none.
func RefusedLogin(err error) *RefusedLoginError {
	refused, _ := errors.AsType[*RefusedLoginError](err)
	return refused
}

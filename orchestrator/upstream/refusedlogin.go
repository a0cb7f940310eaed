package upstream

import (
	"errors"
	"strings"
)

// RefusedLoginError reports that a service refused a login with Tenantry's own credential. If the login were repeated with each
// call, the service might lock the user. Text names the user of the login, and the possible reasons for the refusal. Text contains
// no secret, but only operators may read it: see [ForOperator]. Merchants read the result of Error in their runs, so Error names no
// user.
type RefusedLoginError struct{ Text string }

func (e *RefusedLoginError) Error() string { return "Tenantry's login is refused" }

// RefusedLogin returns the RefusedLoginError that err is or wraps, or nil if there is no such error.
func RefusedLogin(err error) *RefusedLoginError {
	refused, _ := errors.AsType[*RefusedLoginError](err)
	return refused
}

// ForOperator returns the text of an error. If err is or wraps a RefusedLoginError, the text names the user of the login.
func ForOperator(err error) string {
	text := err.Error()
	if refused := RefusedLogin(err); refused != nil {
		return strings.Replace(text, refused.Error(), refused.Text, 1)
	}
	return text
}

package upstream

import (
	"errors"
	"strings"
)

// RefusedLoginError reports that a service refused a login with Tenantry's own credential. If the login were repeated with each call,
// the service might lock the user. Text says who logged in and why the service may have refused the login. Text holds no secret, but it
// is for operators only: merchants read the text of Error in their runs, so Error names nobody. See [ForOperator].
type RefusedLoginError struct{ Text string }

func (e *RefusedLoginError) Error() string { return "Tenantry's login is refused" }

// RefusedLogin returns the RefusedLoginError that err is or wraps; nil if there is none.
func RefusedLogin(err error) *RefusedLoginError {
	refused, _ := errors.AsType[*RefusedLoginError](err)
	return refused
}

// ForOperator returns the text of an error. If err is or wraps a RefusedLoginError, the text says who logged in.
func ForOperator(err error) string {
	text := err.Error()
	if refused := RefusedLogin(err); refused != nil {
		return strings.Replace(text, refused.Error(), refused.Text, 1)
	}
	return text
}

package upstream

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// Cause returns the reason why a call got no answer, such as "connection refused". The text names no host, object or caller. The
// result is empty for an unusual cause.
func Cause(err error) string {
	number, isNumber := errors.AsType[syscall.Errno](err)
	name, isName := errors.AsType[*net.DNSError](err)
	timed, isTimed := errors.AsType[net.Error](err)
	switch {
	case isNumber:
		return number.Error()
	case isName && name.IsNotFound:
		return "no such host"
	case errors.Is(err, context.DeadlineExceeded), isTimed && timed.Timeout():
		return "no answer in time"
	}
	return ""
}

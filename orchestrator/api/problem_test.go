package api

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
)

func TestADatabaseThatIsGoneIsNotAFaultOfTheService(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want kind
	}{
		"refused":       {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, upstreamUnavailable},
		"broken":        {fmt.Errorf("reading runs: %w", io.ErrUnexpectedEOF), upstreamUnavailable},
		"given up":      {driver.ErrBadConn, upstreamUnavailable},
		"anything else": {errors.New("column does not exist"), internalError},
	} {
		if got := problem(c.err).kind; got.name != c.want.name {
			t.Errorf("%s: %s, want %s", name, got.name, c.want.name)
		}
	}
}

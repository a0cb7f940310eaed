package api

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestADatabaseThatIsGoneIsNotAFaultOfTheService(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want kind
	}{
		"refused":       {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, upstreamUnavailable},
		"broken":        {fmt.Errorf("reading runs: %w", io.ErrUnexpectedEOF), upstreamUnavailable},
		"given up":      {driver.ErrBadConn, upstreamUnavailable},
		"shut down":     {fmt.Errorf("reading runs: %w", stateError("57P01")), upstreamUnavailable},
		"starting up":   {fmt.Errorf("connecting: %w", stateError("57P03")), upstreamUnavailable},
		"full":          {stateError("53100"), upstreamUnavailable},
		"no connection": {fmt.Errorf("reading runs: %w", errors.Join(saga.ErrUnavailable, stateError("XX000"))), upstreamUnavailable},
		"a bad column":  {stateError("42703"), internalError},
		"anything else": {errors.New("column does not exist"), internalError},
	} {
		if got := problem(c.err).kind; got.name != c.want.name {
			t.Errorf("%s: %s, want %s", name, got.name, c.want.name)
		}
	}
}

func TestTheDetailSaysWhatAnUpstreamOrTheDatabaseDid(t *testing.T) {
	of := func(status int, class upstream.Class) error {
		return &upstream.Error{Service: keystone.Service, Class: class, Status: status, Op: "reading", Message: "its text"}
	}
	for want, err := range map[string]error{
		"the database could not be written: its disk is full":                                          fmt.Errorf("x: %w", saga.ErrDiskFull),
		"the database could not be written: it is read-only":                                           stateError("25006"),
		"the database could not be reached":                                                            saga.ErrUnavailable,
		"Keystone answered 400 Bad Request":                                                            of(400, upstream.Permanent),
		"Keystone answered 503 Service Unavailable":                                                    of(503, upstream.Unavailable),
		"Keystone answered 599":                                                                        of(599, upstream.Unavailable),
		"Keystone could not be reached":                                                                of(0, upstream.Unavailable),
		"Keystone refuses a request that this service must send":                                       of(403, upstream.Blocked),
		"Keystone answered 400 Bad Request to the validation of the token":                             tokenNotValidated(of(400, upstream.Permanent)),
		"Keystone does not accept the server's own credential (OS_* or clouds.yaml of tenantry serve)": &upstream.Error{Service: keystone.Service, Status: 401, OwnCredential: true},
	} {
		if got := problem(err).detail; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := problem(stateError("53100")).detail; got != "the database could not be written: its disk is full" {
		t.Errorf("got %q for a full disk of PostgreSQL", got)
	}
}

func TestTheDocumentNamesTheLimits(t *testing.T) {
	for limit, texts := range map[int][]string{
		maxBody: {
			bodyTooLarge.help(), must(loadDocument("")).doc.Info.Description,
			*must(loadDocument("")).doc.Components.Responses["TooLarge"].Value.Description,
		},
		maxDepth:  {bodyMalformed.help()},
		maxTokens: {bodyMalformed.help()},
		maxKey:    {keyInvalid.help(), must(loadDocument("")).doc.Components.Parameters["IdempotencyKey"].Value.Description},
	} {
		for _, text := range texts {
			if !strings.Contains(text, strconv.Itoa(limit)) {
				t.Errorf("the text %q does not name the limit %d", text, limit)
			}
		}
	}
	_, err := idempotencyKey(http.Header{headerKey: {""}})
	for _, text := range []string{keyInvalid.help(), err.Error(), must(loadDocument("")).doc.Components.Parameters["IdempotencyKey"].Value.Description} {
		if !strings.Contains(text, keyForm) {
			t.Errorf("%q does not describe the key as %q", text, keyForm)
		}
	}
}

func TestACodeOfAnOlderReleaseFitsTheDocument(t *testing.T) {
	if got := code("Toy Fault/ü"); got != "toy-fault--" {
		t.Errorf("got %q", got)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// stateError is a PostgreSQL error. Its text is the SQLSTATE.
type stateError string

func (s stateError) Error() string    { return "FATAL (SQLSTATE " + string(s) + ")" }
func (s stateError) SQLState() string { return string(s) }

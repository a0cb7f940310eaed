package v3_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"

	"github.com/tenantry/tenantry/keystone/conn"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// accessTo calls Access with a stub of Keystone. The stub answers the login with the given status and the token gAAAA-canary. The stub then
// receives the request for the token and its catalog, and answers with the body. The result `told` lists the errors that the Cloud passed
// to the function `leave` of Enter.
func accessTo(t *testing.T, status int, body string) (access keystone.Access, told []error, err error) {
	t.Helper()
	cloud, err := v3.New(conn.Config{
		URL: "http://k.invalid", Credential: conn.Credential{Username: "u", UserDomainID: "d", Password: "canary", ProjectID: "p"},
		Enter: func(context.Context) (func(int, error), error) {
			return func(_ int, err error) { told = append(told, err) }, nil
		},
		Base: roundTrip(func(r *http.Request) (*http.Response, error) {
			if isLogin(r) {
				return answer(status, `{"token":{"expires_at":"2999-01-01T00:00:00.000000Z","project":{"id":"p"}}}`,
					"X-Subject-Token", "gAAAA-canary")(r)
			}
			if r.Method != http.MethodGet || r.URL.String() != "http://k.invalid/v3/auth/tokens" ||
				r.Header.Get("X-Auth-Token") != "gAAAA-canary" || r.Header.Get("X-Subject-Token") != "gAAAA-canary" {
				t.Errorf("got %s %s %v", r.Method, r.URL, r.Header)
			}
			return &http.Response{
				StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
				Body: io.NopCloser(strings.NewReader(body)), Request: r,
			}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	access, err = cloud.Access(t.Context())
	return access, told, err
}

// A visitor chooses the name and the password of a login. A login without an answer must not count as an outage, because a visitor could
// then stop the runs of all merchants. A login that was not sent counts as an outage.
func TestALoginWithoutAnAnswerIsNoOutage(t *testing.T) {
	for _, c := range []struct {
		what   string
		err    error
		status int
		outage bool
	}{
		{"the answer is lost", io.EOF, http.StatusInternalServerError, false},
		{"no connection", &net.OpError{Op: "dial", Err: io.EOF}, 0, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			left := 0
			cloud, err := v3.New(conn.Config{
				URL: "http://k.invalid", Credential: conn.Credential{Username: "u", UserDomainID: "d", Password: "canary", ProjectID: "p"},
				Enter: func(context.Context) (func(int, error), error) {
					return func(status int, err error) {
						if left++; status != c.status || (err != nil) != c.outage {
							t.Errorf("the circuit received %d, %v", status, err)
						}
					}, nil
				},
				Base: roundTrip(func(*http.Request) (*http.Response, error) { return nil, c.err }),
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := cloud.LogIn(t.Context(), "default", "ann", "secret-1"); err == nil || left != 1 {
				t.Errorf("LogIn: %v; the circuit was told %d times", err, left)
			}
		})
	}
}

func TestAccessIsANewTokenWithItsCatalog(t *testing.T) {
	got, _, err := accessTo(t, http.StatusCreated, `{"token":{"project":{"id":"p"},"catalog":[{"id":"s","type":"image","name":"glance",
		"endpoints":[{"id":"e","interface":"public","region":"Old","region_id":"R","url":"http://glance"}]}]}}`)
	want := keystone.Access{Token: "gAAAA-canary", ProjectID: "p", Catalog: []keystone.CatalogService{{
		Type: "image", Endpoints: []keystone.CatalogEndpoint{{Interface: "public", RegionID: "R", Region: "Old", URL: "http://glance"}},
	}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestACatalogThatIsEmptyOrVeryLargeIsAnError(t *testing.T) {
	for what, c := range map[string]struct{ body, want string }{
		"no catalog":       {`{"token":{"project":{"id":"p"}}}`, "the answer does not contain the requested data"},
		"an empty catalog": {`{"token":{"project":{"id":"p"},"catalog":[]}}`, "the answer does not contain the requested data"},
		"many services":    {`{"token":{"catalog":[{}` + strings.Repeat(`,{}`, 1<<20) + `]}}`, "the answer has more than 20000 values"},
		"a long name":      {`{"token":{"catalog":[{"type":"` + strings.Repeat("x", 5<<20) + `"}]}}`, "the answer is longer than 4194304 bytes"},
		"cut off":          {`{"token":{"catalog":[{"type":"image"`, "unexpected EOF"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		access, _, err := accessTo(t, http.StatusCreated, c.body)
		runtime.ReadMemStats(&after)
		if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 24 {
			t.Errorf("%s: allocated %d MiB, want at most 24", what, used)
		}
		e, ok := errors.AsType[*upstream.Error](err)
		if !ok || e.Class != upstream.Transient || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v, want %s", what, err, c.want)
		}
		if !reflect.DeepEqual(access, keystone.Access{}) {
			t.Errorf("%s: got %+v together with the error", what, access)
		}
	}
}

// The login of Access counts as one of Tenantry's own logins. If Keystone refuses the login, the circuit opens, so that Keystone does not
// lock the user.
func TestAccessWithARefusedLoginTellsTheCircuit(t *testing.T) {
	_, told, err := accessTo(t, http.StatusUnauthorized, "")
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok || e.Class != upstream.Unavailable || !e.OwnCredential || upstream.RefusedLogin(err) == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
	if len(told) != 1 || upstream.RefusedLogin(told[0]) == nil {
		t.Errorf("the circuit received %v", told)
	}
}

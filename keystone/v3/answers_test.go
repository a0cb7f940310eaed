package v3_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	v3 "github.com/tenantry/tenantry/keystone/v3"
)

// The memory for an answer of Keystone is limited, whatever the answer contains.
func TestNoAnswerNeedsMuchMemory(t *testing.T) {
	const size = 8 << 20
	filled := func(begin, element, end string) string {
		return begin + strings.Repeat(element, (size-len(begin)-len(end))/len(element)) + end
	}
	answers := map[string]string{
		"empty projects":         filled(`{"projects":[{}`, `,{}`, `]}`),
		"projects with tags":     filled(`{"projects":[{"tags":[""]}`, `,{"tags":[""]}`, `]}`),
		"a project with tags":    filled(`{"projects":[{"tags":[""`, `,""`, `]}]}`),
		"objects in each other":  filled(`{"projects":[`, `{"a":`, ``),
		"lists in each other":    filled(`{"projects":`, `[`, ``),
		"a long text":            filled(`{"projects":[{"name":"`, `x`, `"}]}`),
		"fields":                 filled(`{"projects":[{"x":0`, `,"x":0`, `}]}`),
		"implied roles":          filled(`{"role_inferences":[{"implies":[{}`, `,{}`, `]}]}`),
		"roles":                  filled(`{"roles":[{}`, `,{}`, `]}`),
		"assignments":            filled(`{"role_assignments":[{}`, `,{}`, `]}`),
		"a token with roles":     filled(`{"token":{"roles":[{}`, `,{}`, `]}}`),
		"a token with methods":   filled(`{"token":{"methods":[""`, `,""`, `]}}`),
		"a token with a catalog": filled(`{"token":{"catalog":[{}`, `,{}`, `]}}`),
		"a user":                 filled(`{"user":{"options":[{}`, `,{}`, `]}}`),
		"domains":                filled(`{"domains":[{}`, `,{}`, `],"domain":{}}`),
		"an error":               filled(`{"error":[{}`, `,{}`, `]}`),
	}
	login := answer(201, `{"token":{"expires_at":"2999-01-01T00:00:00.000000Z","project":{"id":"p"}}}`, "X-Subject-Token", "t")
	for what, body := range answers {
		for _, status := range []int{200, 201, 404} {
			loggedIn := false
			cloud, err := v3.New(conn.Config{
				URL: "http://k.invalid", Credential: conn.Credential{Username: "u", UserDomainID: "d", Password: "pass", ProjectID: "p"},
				OperatorRole: "operator", MayWriteDomain: func(string) bool { return true },
				Base: roundTrip(func(r *http.Request) (*http.Response, error) {
					if isLogin(r) && !loggedIn {
						loggedIn = true
						return login(r)
					}
					return &http.Response{
						StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
						Body: io.NopCloser(strings.NewReader(body)), Request: r,
					}, nil
				}),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := cloud.Ping(t.Context()); err == nil && status != 200 {
				t.Error("Ping accepted an answer with a wrong status")
			}
			for name, call := range map[string]func() error{
				"Ping":          func() error { return cloud.Ping(t.Context()) },
				"FindProject":   func() error { _, err := cloud.FindProject(t.Context(), "d", "bs-customer-1"); return err },
				"Domain":        func() error { _, err := cloud.Domain(t.Context(), "d"); return err },
				"Roles":         func() error { _, err := cloud.Roles(t.Context(), []string{"member"}); return err },
				"AssignedRoles": func() error { _, err := cloud.AssignedRoles(t.Context(), "p", "u"); return err },
				"EachProject":   func() error { _, err := cloud.EachProject(t.Context(), "d", "", func(keystone.Project) {}); return err },
				"EachUser":      func() error { _, err := cloud.EachUser(t.Context(), "d", func(keystone.User) {}); return err },
				"EachAssignment": func() error {
					return cloud.EachAssignment(t.Context(), keystone.AssignmentFilter{}, func(keystone.Granted) {})
				},
				"AllRoles":      func() error { _, err := cloud.AllRoles(t.Context()); return err },
				"Implied":       func() error { _, err := cloud.Implied(t.Context()); return err },
				"Reach":         func() error { _, err := cloud.Reach(t.Context()); return err },
				"User":          func() error { _, err := cloud.User(t.Context(), "u"); return err },
				"ValidateToken": func() error { _, err := cloud.ValidateToken(t.Context(), "token"); return err },
				"ExchangeToken": func() error { _, err := cloud.ExchangeToken(t.Context(), "token", "p"); return err },
				"EnsureProject": func() error {
					_, _, err := cloud.EnsureProject(t.Context(), keystone.NewProject{Name: "bs-customer-1", DomainID: "d", RunTag: "r"})
					return err
				},
				"HasAssignment": func() error {
					_, err := cloud.HasAssignment(t.Context(), keystone.Assignment{RoleID: "r", UserID: "u", ProjectID: "p"})
					return err
				},
			} {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err := call()
				runtime.ReadMemStats(&after)
				if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 24 {
					t.Errorf("%s, answered %d with %s: allocated %d MiB, want at most 24: %.200v", name, status, what, used, err)
				}
			}
		}
	}
}

// An answer with a very long header is refused.
func TestHeadersOfAnswersHaveALimit(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Subject-Token", strings.Repeat("x", 1<<20))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"token":{"expires_at":"2999-01-01T00:00:00.000000Z","project":{"id":"p"}}}`)
	}))
	t.Cleanup(server.Close)
	cloud, err := v3.New(conn.Config{
		URL: server.URL, Credential: conn.Credential{Username: "u", UserDomainID: "d", Password: "pass", ProjectID: "p"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cloud.ExchangeToken(t.Context(), "token", "p"); err == nil || !strings.Contains(fmt.Sprint(err), "header") {
		t.Errorf("got %v; want an error about the header", err)
	}
}

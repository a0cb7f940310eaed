package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// The type `upstreams` is a stub of Keystone and BillingStack. The stub stores nothing, and computes each answer from the request.
// The answer comes after a delay, which the parent process sets. The stub needs little processor time per answer, and the same time
// for each contender.
type upstreams struct {
	delay atomic.Int64 // in nanoseconds
	calls atomic.Int64 // number of calls since the last GET /bench/calls
}

// serveUpstreams prints the URL of the stubs, and serves until its standard input is closed.
func serveUpstreams() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // the call cannot block
	if err != nil {
		return err
	}
	server := http.Server{Handler: new(upstreams).handler(), ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- errors.Join(err, server.Close())
	}()
	if _, err := fmt.Fprintf(os.Stdout, "http://%s\n", listener.Addr()); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
}

const (
	anyDomain = "default"
	stubRole  = `{"id": "role-%s", "name": %q}`
)

func (u *upstreams) handler() http.Handler {
	upstream := http.NewServeMux()
	upstream.HandleFunc("POST /v3/auth/tokens", func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			Auth struct {
				Identity struct{ Token struct{ ID string } }
				Scope    struct{ Project struct{ ID, Name string } }
			}
		}
		if json.NewDecoder(r.Body).Decode(&asked) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("X-Subject-Token", "scoped-"+uuid.NewString())
		tell(w, http.StatusCreated, token(userOf(asked.Auth.Identity.Token.ID), cmp.Or(asked.Auth.Scope.Project.ID, asked.Auth.Scope.Project.Name)))
	})
	upstream.HandleFunc("GET /v3/auth/tokens", func(w http.ResponseWriter, r *http.Request) {
		tell(w, http.StatusOK, token(userOf(r.Header.Get("X-Subject-Token")), ""))
	})
	upstream.HandleFunc("GET /v3/auth/projects", func(w http.ResponseWriter, _ *http.Request) {
		tell(w, http.StatusOK, `{"projects": []}`)
	})
	upstream.HandleFunc("GET /v3/domains/{id}", func(w http.ResponseWriter, r *http.Request) {
		tell(w, http.StatusOK, fmt.Sprintf(`{"domain": {"id": %q, "name": "Default"}}`, r.PathValue("id")))
	})
	upstream.HandleFunc("GET /v3/roles", func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("name")
		tell(w, http.StatusOK, fmt.Sprintf(`{"roles": [`+stubRole+`]}`, name, name))
	})
	upstream.HandleFunc("GET /v3/role_inferences", func(w http.ResponseWriter, _ *http.Request) {
		tell(w, http.StatusOK, `{"role_inferences": []}`)
	})
	upstream.HandleFunc("POST /v3/projects", echo(http.StatusCreated, `{"project":{`, func(*http.Request) string {
		return `{"project":{"enabled":true,"id":"` + strings.ReplaceAll(uuid.NewString(), "-", "") + `",`
	}))
	upstream.HandleFunc("PUT /v3/projects/{project}/users/{user}/roles/{role}", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})
	// BillingStack answers a list request with one object that matches the filter. BillingStack answers a write with the written
	// object.
	upstream.HandleFunc("GET /v2/{path...}", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		tell(w, http.StatusOK, fmt.Sprintf(`[{%q: %q}]`, q.Get("q.field"), q.Get("q.value")))
	})
	upstream.HandleFunc("POST /v2/merchants/{merchant}/customers", echo(http.StatusCreated, "{", func(r *http.Request) string {
		return `{"merchant_id":"` + r.PathValue("merchant") + `",`
	}))
	upstream.HandleFunc("POST /v2/merchants/{merchant}/subscriptions", echo(http.StatusCreated, "{", func(*http.Request) string {
		return "{"
	}))
	upstream.HandleFunc("PATCH /v2/merchants/{merchant}/subscriptions/{id}", echo(http.StatusOK, "{", func(r *http.Request) string {
		return `{"id":"` + r.PathValue("id") + `",`
	}))

	all := http.NewServeMux()
	all.HandleFunc("PUT /bench/delay", func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.URL.Query().Get("is"))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		u.delay.Store(int64(d))
	})
	all.HandleFunc("GET /bench/calls", func(w http.ResponseWriter, _ *http.Request) {
		tell(w, http.StatusOK, fmt.Sprint(u.calls.Swap(0)))
	})
	all.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		u.calls.Add(1)
		if d := time.Duration(u.delay.Load()); d > 0 {
			<-time.After(d)
		}
		upstream.ServeHTTP(w, r)
	})
	return all
}

// The function `echo` answers a write with the request's body. In the answer, the result of instead(request) replaces the first occurrence
// of the text `beginning`.
func echo(status int, beginning string, instead func(*http.Request) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		tell(w, status, strings.Replace(string(body), beginning, instead(r), 1))
	}
}

func tell(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := io.WriteString(w, body); err != nil { //nolint:gosec // no browser reads the body
		return // the caller has closed the connection and reports its own error
	}
}

// userOf returns the user of a token. A token of the benchmark consists of "user-" and the id of the user.
func userOf(token string) string { return strings.TrimPrefix(token, "user-") }

// The function `token` returns Keystone's description of a user's token. If project is empty, the token is unscoped. If project is
// set, the token is scoped to the project and has the customer roles.
func token(user, project string) string {
	scope := ""
	if project != "" {
		scope = fmt.Sprintf(`"project": {"id": %q}, "roles": [`+stubRole+`, `+stubRole+`],`, project,
			customerRoles[0], customerRoles[0], customerRoles[1], customerRoles[1])
	}
	now := time.Now().UTC()
	return fmt.Sprintf(`{"token": {"methods": ["password"], "user": {"id": %q, "name": "ann", "domain": {"id": %q}}, %s
		"issued_at": %q, "expires_at": %q}}`, user, anyDomain, scope, now.Format(time.RFC3339), now.Add(time.Hour).Format(time.RFC3339))
}

package v3_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	v3 "github.com/tenantry/tenantry/keystone/v3"
)

// The variable `echoes` contains the ways in which a stub of Keystone repeats a secret. The parameter `sent` is a text from the request; it
// contains the secret.
var echoes = map[string]func(sent string) roundTrip{
	"in the message": func(sent string) roundTrip {
		message, _ := json.Marshal("cannot read " + sent)
		return answer(400, fmt.Sprintf(`{"error":{"code":400,"message":%s}}`, message))
	},
	"in the message, at its cut": func(sent string) roundTrip {
		message, _ := json.Marshal(strings.Repeat("x", 1024-len(sent)/2) + sent)
		return answer(400, fmt.Sprintf(`{"message":%s}`, message))
	},
	"in the message, again in JSON": func(sent string) roundTrip {
		inner, _ := json.Marshal(sent)
		message, _ := json.Marshal(string(inner))
		return answer(500, fmt.Sprintf(`{"error":{"code":500,"message":%s}}`, message))
	},
	"as the whole body":   func(sent string) roundTrip { return answer(502, sent) },
	"as a plain text":     func(sent string) roundTrip { return answer(401, "was sent "+sent) },
	"as the request's id": func(sent string) roundTrip { return answer(503, "", "X-Openstack-Request-Id", sent) },
	"in a field with a time": func(sent string) roundTrip {
		text, _ := json.Marshal(sent)
		return answer(201, fmt.Sprintf(`{"token":{"expires_at":%s},"projects":1}`, text), "X-Subject-Token", "t")
	},
}

func TestASecretThatKeystoneRepeatsIsInNoError(t *testing.T) {
	const password, secret, token = `hunter2"\<&ü %`, "application-secret", "0123456789abcdef-opaque"
	credentials := map[string]conn.Credential{
		"password":               {Username: "u", UserDomainID: "d", Password: password, ProjectID: "p"},
		"application credential": {ApplicationCredentialID: "a", ApplicationCredentialSecret: secret},
	}
	login := answer(201, `{"token":{"expires_at":"2999-01-01T00:00:00.000000Z"}}`, "X-Subject-Token", token)
	for how, echo := range echoes {
		for name, credential := range credentials {
			t.Run(name+" "+how, func(t *testing.T) {
				cloud := func(rt roundTrip) *v3.Cloud {
					c, err := v3.New(conn.Config{URL: "http://k.invalid", Credential: credential, Base: rt})
					if err != nil {
						t.Fatal(err)
					}
					return c
				}
				told := func(what string, err error) {
					t.Helper()
					if err == nil {
						t.Fatalf("%s: no error", what)
					}
					for _, one := range []string{"hunter2", "application-sec", "0123456789abc", "ssecret"} {
						if strings.Contains(err.Error(), one) {
							t.Errorf("%s: the error contains %s: %s", what, one, err)
						}
					}
				}
				body := func(r *http.Request) string {
					sent, err := io.ReadAll(r.Body)
					if err != nil {
						t.Error(err)
					}
					return string(sent)
				}
				told("login", cloud(func(r *http.Request) (*http.Response, error) { return echo(body(r))(r) }).Ping(t.Context()))

				all := cloud(func(r *http.Request) (*http.Response, error) {
					if isLogin(r) && !strings.Contains(body(r.Clone(t.Context())), "0123456789abc") {
						return login(r)
					}
					return echo(r.Header.Get("X-Auth-Token") + " " + r.Header.Get("X-Subject-Token") + " " + token)(r)
				})
				told("read", all.Ping(t.Context()))
				_, _, err := all.EnsureProject(t.Context(), keystone.NewProject{Name: "bs-customer-1", DomainID: "d", RunTag: "r"})
				told("write", err)
				_, err = all.ValidateToken(t.Context(), token+"-of-a-user")
				told("validation", err)

				exchange := cloud(func(r *http.Request) (*http.Response, error) { return echo(body(r))(r) })
				_, err = exchange.ExchangeToken(t.Context(), token, "p")
				told("exchange", err)
			})
		}
	}
}

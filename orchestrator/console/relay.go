package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/inprocess"
)

// asPerson returns a client of the API with the credential of the person who has sent the request. The API sees the address of this person, so
// its limits and its rules for TLS apply to the person.
func (c *console) asPerson(e echo.Context) (*client.ClientWithResponses, error) {
	p, _ := personOf(e)
	r := e.Request()
	over := inprocess.Transport{Handler: http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		in.RemoteAddr, in.TLS = r.RemoteAddr, r.TLS
		c.API.ServeHTTP(w, in)
	})}
	credential := client.WithRequestEditorFn(func(_ context.Context, in *http.Request) error {
		if p.Portal() {
			in.SetBasicAuth(p.Key, p.Secret)
		} else {
			in.Header.Set("X-Auth-Token", p.Token)
		}
		in.Header.Set("X-Openstack-Request-Id", requestID(e))
		return nil
	})
	return client.NewClientWithResponses("http://console", client.WithHTTPClient(direct{over}), credential)
}

// The type `direct` sends requests without an http.Client, because the errors of an http.Client contain the address of the request. An address may
// contain a name that was searched for, and errors are logged.
type direct struct{ over http.RoundTripper }

// Do implements the interface of the API's client.
func (d direct) Do(r *http.Request) (*http.Response, error) { return d.over.RoundTrip(r) }

// The function `answered` returns the body of an answer of the API. If the API has refused the request, the error has a page of its own.
func answered[T any](body *T, err error, response *http.Response, text []byte) (*T, error) {
	switch {
	case err != nil:
		return nil, fmt.Errorf("calling the API: %w", err)
	case body != nil:
		return body, nil
	}
	return nil, refusal(response, text)
}

// The function `refusal` returns the error for a problem of the API.
func refusal(response *http.Response, text []byte) error {
	return refusalWith(response.StatusCode, text)
}

func refusalWith(status int, text []byte) error {
	var p struct{ Type, Title, Detail string }
	if err := json.Unmarshal(text, &p); err != nil || p.Title == "" {
		return fmt.Errorf("the API answered with status %d", status)
	}
	disabled := strings.HasSuffix(p.Type, "/merchant-disabled")
	switch {
	case disabled:
		p.Title, p.Detail = "You are signed out", "The merchant is disabled. An operator of Tenantry can enable the merchant again."
	case status == http.StatusUnauthorized:
		p.Title, p.Detail = "You are signed out", "Your token or API key has expired or was revoked. Sign in again."
	}
	return &problem{status: status, title: p.Title, detail: p.Detail, ends: disabled || status == http.StatusUnauthorized}
}

package v3

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// Send simulates faulty code: it sends an arbitrary request with Tenantry's own token.
func Send(ctx context.Context, c *Cloud, method, path, body string) error {
	address := strings.TrimSuffix(c.identity.Endpoint, "/") + path
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.identity.HTTPClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("got %s", resp.Status)
	}
	return nil
}

// LoginBody returns the field "auth" in the body of a login with this credential.
func LoginBody(c Credential) (any, error) {
	opts := c.authOptions()
	scope, err := opts.ToTokenV3ScopeMap()
	if err != nil {
		return nil, err
	}
	body, err := opts.ToTokenV3CreateMap(scope)
	return body["auth"], err
}

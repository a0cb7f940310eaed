package v2

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// Send simulates faulty code: it sends an arbitrary request with Tenantry's own token.
func Send(ctx context.Context, c *Cloud, method, path, body string) error {
	address := strings.TrimSuffix(c.Own.Endpoint, "/") + path
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Own.HTTPClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("got %s", resp.Status)
	}
	return nil
}

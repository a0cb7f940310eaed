package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
)

// newPortal creates the contender "api". This contender calls the service as a merchant's portal does.
func newPortal(_ context.Context, s site) (subscriber, func(), error) {
	portal := &http.Client{
		Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: connections},
	}
	url := s.API + "/v1/merchants/" + s.Merchant + "/subscriptions"
	body := fmt.Sprintf(`{"plan_id": %q, "customer": {"name": "Ann", "currency": "eur", "language": "eng"}}`, s.Plan)
	return func(ctx context.Context, token string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.SetBasicAuth(s.Key, s.Secret)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", uuid.NewString())
		req.Header.Set("X-Subject-Token", token)
		resp, err := portal.Do(req)
		if err != nil {
			return err
		}
		answer, err := io.ReadAll(resp.Body)
		err = errors.Join(err, resp.Body.Close())
		if err == nil && (resp.StatusCode != http.StatusCreated || resp.Header.Get("X-Subject-Token") == "") {
			err = fmt.Errorf("the service answered %s: %s", resp.Status, answer)
		}
		return err
	}, portal.CloseIdleConnections, nil
}

// The type `server` is a running process of `tenantry serve`.
type server struct {
	process *os.Process
	url     string
	ready   time.Duration // time from the start until the server was ready
	stop    func() error
}

// The method `environment` returns the environment variables for the tenantry binary.
func (s site) environment() []string {
	return append(settings(s.Database),
		"TENANTRY_BILLING_URL="+s.Upstreams+"/v2", fmt.Sprint("TENANTRY_BILLING_CONNECTIONS=", connections),
		fmt.Sprint("TENANTRY_KEYSTONE_CONNECTIONS=", connections),
		"TENANTRY_DOMAIN="+anyDomain, "OS_AUTH_URL="+s.Upstreams+"/v3", "OS_USERNAME=tenantry", "OS_PASSWORD=stub",
		"OS_USER_DOMAIN_ID="+anyDomain, "OS_PROJECT_NAME=service", "OS_PROJECT_DOMAIN_ID="+anyDomain)
}

// The function `settings` returns the environment variables of this process, without the variables of Tenantry and OpenStack. It adds the
// variables that configure a database.
func settings(database string) (kept []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "OS_") && !strings.HasPrefix(v, "TENANTRY_") {
			kept = append(kept, v)
		}
	}
	return append(kept, "TENANTRY_DATABASE_URL="+database, "TENANTRY_SECRET_KEY=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
}

// The method `enroll` creates the merchant and its API key.
func (s *site) enroll(ctx context.Context, binary string) error {
	return s.enrollWith(ctx, binary, s.environment())
}

func (s *site) enrollWith(ctx context.Context, binary string, environment []string) error {
	cmd := exec.CommandContext(ctx, binary, "merchant", "create", s.Merchant, "--name", "ACME", "-f", "json") //nolint:gosec // built by us
	cmd.Env = environment
	var faults bytes.Buffer
	cmd.Stderr = &faults
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("creating the merchant: %w: %s", err, &faults)
	}
	var made struct {
		APIKey    string `json:"api_key"`
		APISecret string `json:"api_secret"`
	}
	err = json.Unmarshal(out, &made)
	s.Key, s.Secret = made.APIKey, made.APISecret
	return err
}

// The method `serve` runs `tenantry serve` with the site's database, and waits until the server is ready.
func (s site) serve(ctx context.Context, binary string) (*server, error) {
	return serve(ctx, binary, s.environment())
}

func serve(ctx context.Context, binary string, environment []string) (*server, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "serve") //nolint:gosec // built by us
	cmd.Env = append(slices.Clone(environment), "TENANTRY_LISTEN="+address)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	v := &server{process: cmd.Process, url: "http://" + address, stop: func() error {
		return errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
	}}
	if err := await(ctx, v.url+"/readyz"); err != nil {
		return nil, errors.Join(err, v.stop())
	}
	v.ready = time.Since(began)
	return v, nil
}

// The function `await` repeats a GET request until the answer is 200, for at most 30 s.
func await(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		status, _, err := ask(ctx, http.MethodGet, url)
		if err == nil && status == http.StatusOK {
			return nil
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("waiting for %s to answer 200 (last status %d): %w", url, status, err)
		}
	}
}

func ask(ctx context.Context, method, url string) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	resp, err := (&http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, nil, err
	}
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, errors.Join(err, resp.Body.Close())
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

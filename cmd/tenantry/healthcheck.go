package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

const healthcheckHelp = `Ask the server on this host for /healthcheck, and print nothing if it answers. The command reads the address from the settings
of the server (TENANTRY_LISTEN, TENANTRY_TLS_CERT). It is meant for container images, which have no other HTTP client.

` + exitHelp

// healthcheckTime is the time limit for the answer of a healthy server.
const healthcheckTime = 5 * time.Second

func (p *program) healthcheck() *cobra.Command {
	return &cobra.Command{
		Use: "healthcheck", Short: "Check that the server on this host answers", Long: healthcheckHelp, Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.config()
			if err != nil {
				return err
			}
			url, err := ownURL(c)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), healthcheckTime)
			defer cancel()
			return exit(exitUnreachable, checkHealth(ctx, url))
		},
	}
}

// ownURL returns the URL at which this host can reach a server with the configuration c.
func ownURL(c Config) (string, error) {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return "", usage("listen: %w", err)
	}
	if port == "0" {
		return "", usage("listen: with port 0, the server chooses a free port, which this command cannot find out: set a fixed port")
	}
	if host == "" || net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port), nil
}

// checkHealth returns an error if the server at url does not answer GET /healthcheck with 200. checkHealth opens a connection of its
// own, without a proxy.
func checkHealth(ctx context.Context, url string) error {
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // sends no credential, and asks only whether the server answers
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/healthcheck", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := c.Do(r)
	if err != nil {
		return noAnswer(err)
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s/healthcheck answers %s", url, resp.Status)
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/service"
)

const serveHelp = `Serves the HTTP API and works on runs, until SIGTERM or SIGINT; then it takes no more requests and hands its
runs to the other replicas. It brings the database to this release's schema first. The database must be reachable;
Keystone and BillingStack may come later: /readyz tells. Without TENANTRY_BILLING_URL it serves a BillingStack of
its own on TENANTRY_BILLING_LISTEN.

Keystone and the service's credential there are the OS_* variables, or with OS_CLOUD an entry of clouds.yaml.

` + exitHelp

func (p *program) serve() *cobra.Command {
	c := &cobra.Command{Use: "serve", Short: "Serve the API and work on runs", Long: serveHelp, Args: exactly()}
	printConfig := c.Flags().Bool("print-config", false, "print what is configured, secrets masked, and end")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		config, err := p.config()
		if err != nil {
			return err
		}
		if *printConfig {
			return config.print(p.out)
		}
		return p.serveUntil(cmd.Context(), config)
	}
	return c
}

// collectLessOften lets the heap grow to five times what is live, not twice: with some ten MiB live, collecting took a
// fifth of the processor time of a replica under load. GOGC, where it is set, and GOMEMLIMIT count as ever.
func collectLessOften() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// serveUntil serves until ctx ends or a listener fails.
func (p *program) serveUntil(ctx context.Context, c Config) error {
	log, err := newLog(c, p.err)
	if err != nil {
		return exit(exitUsage, err)
	}
	if c, err = withSecretKey(c); err != nil {
		return err
	}
	collectLessOften()
	s, err := service.Start(ctx, service.Options{Config: c.Config, Log: log, Version: version, Cloud: v3.FromCloud})
	if err != nil {
		return ofService(c, err)
	}
	log.Info().Str("version", version).Str("url", s.URL).Str("billing_url", s.BillingURL).Msg("serving")
	select {
	case <-ctx.Done():
	case err = <-s.Failed:
	}
	log.Info().Msg("stopping")
	err = errors.Join(err, s.Stop())
	log.Info().Err(err).Msg("stopped")
	return err
}

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

const serveHelp = `Serve the HTTP API and execute runs until SIGTERM or SIGINT. Then the server accepts no more requests and hands its runs
to the other replicas. It migrates the database first. The database must be reachable at the start; Keystone and
BillingStack need not be: /readyz reports which of them answer. Without TENANTRY_BILLING_URL, an embedded BillingStack
listens on TENANTRY_BILLING_LISTEN.

OS_* variables, or OS_CLOUD and clouds.yaml, name Keystone and the service's credential. All settings are described in
docs/configuration.md.

` + exitHelp

func (p *program) serve() *cobra.Command {
	c := &cobra.Command{Use: "serve", Short: "Serve the API and execute runs", Long: serveHelp, Args: exactly()}
	printConfig := c.Flags().Bool("print-config", false, "print the settings in force, with secrets masked, and exit")
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

// collectLessOften lets the heap grow to five times the live heap, not twice. With a live heap of some ten MiB, the garbage
// collector took a fifth of a replica's processor time under load. GOGC, if set, and GOMEMLIMIT apply as usual.
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

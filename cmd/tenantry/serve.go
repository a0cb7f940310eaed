package main

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/orchestrator/service"
)

const serveHelp = `Migrate the database, serve the HTTP API and execute runs until SIGTERM or SIGINT. On a signal, the server stops
accepting requests and hands its runs to the other replicas. The database must be reachable at the start. Keystone and
BillingStack may be unreachable; the log and /readyz report their states. Without TENANTRY_BILLING_URL, an embedded
BillingStack listens on TENANTRY_BILLING_LISTEN. The first start creates the tables of the database, and then logs the
result of "tenantry doctor" in up to three lines.

OS_* variables, or OS_CLOUD and clouds.yaml, configure the address of Keystone and the service's credential.
docs/configuration.md describes all settings.

If systemd starts the server with Type=notify, the server tells systemd when it serves and when it stops. With WatchdogSec, the server
also tells systemd that it is healthy, as long as it answers /healthcheck.

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

// collectLessOften lets the heap grow to five times the live heap before a collection. With Go's default of twice the live heap,
// the garbage collector took a fifth of a replica's processor time under load. The live heap was about 10 MiB. If the memory of the
// process comes near memoryLimit, the collector runs more often. The variables GOGC and GOMEMLIMIT override the two values.
func collectLessOften() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// memoryLimit is a soft limit: see debug.SetMemoryLimit.
const memoryLimit = 160 << 20

// serveUntil serves until ctx is canceled or a listener fails.
func (p *program) serveUntil(ctx context.Context, c Config) error {
	log, err := newLog(c, p.err)
	if err != nil {
		return exit(exitUsage, err)
	}
	if c, err = withSecretKey(c); err != nil {
		return err
	}
	collectLessOften()
	s, err := service.Start(ctx, service.Options{Config: c.Config, Log: log, Version: version, Cloud: clouds.FromCloud, Settings: c.shown()})
	if err != nil {
		return ofService(c, err)
	}
	log.Info().Str("version", version).Str("url", s.URL).Str("billing_url", s.BillingURL).Msg("serving")
	tellSystemd(log, daemon.SdNotifyReady)
	endWatch := startWatchdog(log, func(ctx context.Context) error { return checkHealth(ctx, s.URL) })
	var checks sync.WaitGroup
	checked, stopChecks := context.WithCancel(ctx)
	if s.NewTables {
		checks.Go(func() { p.logDoctor(checked, log) })
	}
	select {
	case <-ctx.Done():
	case err = <-s.Failed:
	}
	stopChecks()
	log.Info().Msg("stopping")
	endWatch()
	tellSystemd(log, daemon.SdNotifyStopping)
	err = errors.Join(err, s.Stop())
	checks.Wait()
	log.Info().Err(err).Msg("stopped")
	return err
}

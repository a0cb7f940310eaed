// Package service builds the orchestrator from a configuration, starts it, and stops it.
package service

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/orchestrator/usage/spool"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/workflows"
)

// Stop waits at most drainTime for the calls of runs, and at most answerTime for API requests.
const (
	drainTime  = 20 * time.Second
	answerTime = 10 * time.Second
)

// Options configures a service.
type Options struct {
	Config
	Log     zerolog.Logger
	Version string // the release's version, which the API's document shows

	// Settings are the settings in force, as operators see them. They must not contain secrets.
	Settings []Setting
	// Cloud returns the configuration of a cloud's Keystone. Cloud is called when the cloud is first used: see [clouds.FromCloud].
	Cloud func(name string) (conn.Config, error)
	// Workflows returns the workflows of the service; nil means all workflows of this release.
	Workflows func(workflows.Deps) ([]*saga.Definition, error)
	// Resources asks the clouds' services for the resources of a project; nil means package keystone/resources.
	Resources workflows.Resources
	// ScopedTokens passes a run's scoped token to the API request that waits for the run; nil means the field Handover of
	// workflows.Deps.
	ScopedTokens api.ScopedTokens
	// Around wraps the HTTP transport of an upstream; nil means no wrapper. The upstream is [BillingStack] or "keystone/CLOUD". The
	// wrapper receives only requests that have passed the queue and the fence. If the wrapper returns an [upstream.NotSentError], the
	// request counts as never sent.
	Around func(upstream string, next http.RoundTripper) http.RoundTripper
	// TripsAfter is the number of consecutive failed calls that opens the circuit of an upstream; zero means 5.
	TripsAfter uint32
	// Heartbeat is the interval between keep-alive comments in a stream of events; zero means 15 s. If the caller's credential is
	// no longer valid at a heartbeat, the stream ends.
	Heartbeat time.Duration
	// If CheckByHand is true, the service makes no regular checks of its dependencies, neither at the start nor every 30 s. Such a check is
	// then made only by CheckDependencies.
	CheckByHand bool
	// KeepPassword is the maximum time for which the password of a new user can be used; zero means 30 min.
	KeepPassword time.Duration
	// Now returns the local time, which the engine corrects with the database's time; nil means [time.Now].
	Now func() time.Time
}

// Service is a running orchestrator: the API, the engine and the embedded BillingStack. If BillingURL is configured, the service
// has no embedded BillingStack.
type Service struct {
	URL        string       // URL of the API
	Handler    http.Handler // the handler of the API that is served at URL
	BillingURL string       // URL of BillingStack, with the API version
	Store      *store.Store // closed by Stop
	NewTables  bool         // Start has created the tables of the database
	Runs       Runs
	Failed     <-chan error // receives an error when a listener fails

	log      zerolog.Logger
	spool    *spool.Shared // nil if UsageSpool is not configured
	health   *health
	api      *http.Server
	embedded *http.Server // nil if BillingURL is configured
	failed   chan error

	work    sync.WaitGroup // the goroutines that execute runs and delete expired tokens
	stopRun context.CancelFunc
	hangUp  context.CancelFunc // cancels the API requests in flight
}

// Runs accepts runs, reads runs and stores actions, without the HTTP API.
type Runs interface {
	saga.Starter
	saga.Reader
	saga.Actions
}

// Start opens the database and starts the service. The database must be reachable. Keystone and BillingStack may become reachable
// later. If Start fails, Start closes everything that it has opened, and returns a *ConfigurationError, an *UnreachableError or
// store.ErrOtherKey.
func Start(ctx context.Context, o Options) (_ *Service, err error) {
	s := &Service{log: o.Log, failed: make(chan error, 2)}
	s.Failed = s.failed
	var opened closers
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.close())
		}
	}()
	certificate, err := o.certificate()
	if err != nil {
		return nil, err
	}
	meters, err := readMeters(o)
	if err != nil {
		return nil, err
	}
	sites, err := readSites(o)
	if err != nil {
		return nil, err
	}
	var migrations int
	if s.Store, migrations, err = Open(ctx, o.Config); err != nil {
		return nil, err
	}
	opened.add(s.Store.Close)
	schema, err := s.Store.Schema(ctx)
	if err != nil {
		return nil, &UnreachableError{err}
	}
	s.NewTables = int64(migrations) == schema.Release // the versions have no gaps
	installation, err := s.Store.InstallationID(ctx)
	if err != nil {
		return nil, &UnreachableError{err}
	}
	if err := s.warnOfPlanner(ctx); err != nil {
		return nil, &UnreachableError{err}
	}
	listener, err := listen(ctx, o.Listen)
	if err != nil {
		return nil, err
	}
	opened.add(listener.Close)
	s.BillingURL = o.BillingURL
	var inside net.Listener
	if s.BillingURL == "" {
		if inside, err = listen(ctx, o.BillingListen); err != nil {
			return nil, err
		}
		opened.add(inside.Close)
		if tcp, ok := inside.Addr().(*net.TCPAddr); !o.BillingRemote && (!ok || !tcp.IP.IsLoopback()) {
			return nil, &ConfigurationError{fmt.Errorf("billing_listen: %s is not a loopback address, and the embedded BillingStack does not"+
				" authenticate its callers: choose a loopback address, or set billing_remote to true", o.BillingListen)}
		}
		s.BillingURL = "http://" + reachable(inside.Addr()) + "/v2"
	}
	records, err := openSpool(o)
	if err != nil {
		return nil, err
	}
	if records != nil {
		s.spool = records
		opened.add(records.Close)
	}
	made, err := wire(parts{Options: o, store: s.Store, installation: installation, billingURL: s.BillingURL, spool: records, meters: meters, sites: sites})
	if err != nil {
		return nil, &ConfigurationError{err}
	}
	s.Runs, s.Handler, s.health = made.runs, made.handler, made.health
	if inside != nil {
		s.serveBilling(inside, o.BillingRemote)
	}
	s.serveAPI(ctx, listener, certificate)
	s.run(ctx, made, !o.CheckByHand)
	return s, nil
}

// If a file of meters is configured, readMeters reads it, and logs the number of meters. The file says how the usage of meters is billed.
func readMeters(o Options) (usage.Meters, error) {
	if o.Meters == "" {
		return nil, nil
	}
	found, err := ReadMeters(o.Meters)
	switch {
	case err != nil:
	case len(found) == 0: // for example, because the program that writes the file has failed
		o.Log.Warn().Str("file", o.Meters).Msg("the file of meters has no meters: each meter is billed as the product with the meter's name")
	default:
		o.Log.Info().Str("file", o.Meters).Int("meters", len(found)).Msg("read the file of meters")
	}
	return found, err
}

// ReadMeters reads the file at the path. The error joins all faults of the file. Each fault is a *ConfigurationError.
func ReadMeters(path string) (found usage.Meters, err error) {
	file, err := os.Open(path)
	if err == nil {
		defer func() { _ = file.Close() }() // an error of Close does not matter, because the file has been read
		found, err = usage.ReadMeters(file)
	}
	return found, inFile("meters", path, err)
}

// inFile returns the faults of the file at the path that a setting contains. Each fault is a *ConfigurationError.
func inFile(setting, path string, err error) error {
	if err == nil {
		return nil
	}
	faults := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		faults = joined.Unwrap()
	}
	for i, fault := range faults {
		faults[i] = &ConfigurationError{fmt.Errorf("%s: %s: %w", setting, path, fault)}
	}
	return errors.Join(faults...)
}

// openSpool opens the spool, if one is configured.
func openSpool(o Options) (*spool.Shared, error) {
	if o.UsageSpool == "" {
		return nil, nil //nolint:nilnil // there is no spool
	}
	s, err := spool.OpenShared(spool.Options{
		Folder: o.UsageSpool, MaxBytes: int64(cmp.Or(o.UsageSpoolMiB, 1024)) << 20,
		OnFault: func(err error) { o.Log.Error().Err(err).Msg("spool of samples") },
	})
	if err != nil {
		return nil, &ConfigurationError{fmt.Errorf("usage_spool: %w", err)}
	}
	return s, nil
}

// warnOfPlanner logs a warning if the sessions of a connection pooler lack settings of PostgreSQL's planner.
func (s *Service) warnOfPlanner(ctx context.Context) error {
	missing, err := s.Store.MissingPlannerSettings(ctx)
	if len(missing) > 0 {
		s.log.Warn().Strs("missing", missing).Msg("the sessions of the connection pooler lack settings that keep statements fast: see" +
			" \"PgBouncer\" in docs/operations.md")
	}
	return err
}

// CheckDependencies checks the database, the lease and the upstreams now, and returns when the results are known. The API then shows
// the results at /readyz.
func (s *Service) CheckDependencies(ctx context.Context) { s.health.check(ctx) }

// The type `closers` contains functions that close the database and the listeners. If Start fails, Start calls these functions.
type closers []func() error

func (c *closers) add(closeIt func() error) { *c = append(*c, closeIt) }

func (c *closers) close() (err error) {
	for _, closeIt := range *c {
		err = errors.Join(err, closeIt())
	}
	return err
}

// serveBilling serves the embedded BillingStack. The parameter `remote` is BillingRemote of the configuration.
func (s *Service) serveBilling(l net.Listener, remote bool) {
	s.embedded = newHTTPServer(embedded(s.Store, remote, s.log), s.log)
	go s.answer("the embedded BillingStack", func() error { return s.embedded.Serve(l) })
}

// serveAPI serves the API.
func (s *Service) serveAPI(ctx context.Context, l net.Listener, certificate *tls.Certificate) {
	requests, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	s.hangUp = hangUp
	s.api = newHTTPServer(s.Handler, s.log)
	s.api.BaseContext = func(net.Listener) context.Context { return requests }
	s.URL = "http://" + reachable(l.Addr())
	if certificate != nil {
		s.URL = "https://" + reachable(l.Addr())
		s.api.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12}
	}
	go s.answer("the API", func() error {
		if certificate != nil {
			return s.api.ServeTLS(l, "", "")
		}
		return s.api.Serve(l)
	})
}

// run starts goroutines that continue until Stop is called. These goroutines execute the runs and the audits, check the
// dependencies if watch is true, and delete expired tokens every hour.
func (s *Service) run(ctx context.Context, w wired, watch bool) {
	runs := w.runs
	ctx, s.stopRun = context.WithCancel(context.WithoutCancel(ctx))
	if watch {
		s.work.Go(func() { s.health.watch(ctx) })
	}
	s.work.Go(func() { runs.Serve(ctx, drainTime) })
	s.work.Go(func() { w.audits.Serve(ctx) })
	s.work.Go(func() { w.intake.Serve(ctx) })
	s.work.Go(func() { w.closer.Serve(ctx) })
	s.work.Go(func() { w.biller.Serve(ctx) })
	s.work.Go(func() { w.console(ctx) })
	s.work.Go(func() {
		hourly := time.NewTicker(time.Hour)
		defer hourly.Stop()
		for {
			if err := s.Store.DeleteExpiredTokens(ctx, runs.Clock.Now()); err != nil && ctx.Err() == nil {
				s.log.Error().Err(err).Msg("deleting expired tokens")
			}
			if err := w.signIns.DeleteExpired(ctx); err != nil && ctx.Err() == nil {
				s.log.Error().Err(err).Msg("deleting expired sessions")
			}
			select {
			case <-ctx.Done():
				return
			case <-hourly.C:
			}
		}
	})
}

// The method `answer` calls the function `serve`, which serves requests until the server is shut down. If the server fails before
// the shutdown, `answer` sends the error to Failed.
func (s *Service) answer(what string, serve func() error) {
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		s.failed <- fmt.Errorf("serving %s: %w", what, err)
	}
}

// Stop accepts no more requests, waits for the calls of runs, hands back the runs, and closes everything. After answerTime, Stop
// cancels the API requests that still wait for runs. Call Stop once.
func (s *Service) Stop() error {
	s.stopRun()
	ctx, cancel := context.WithTimeout(context.Background(), answerTime+time.Second)
	defer cancel()
	timer := time.AfterFunc(answerTime, s.hangUp)
	defer timer.Stop()
	err := s.api.Shutdown(ctx)
	s.hangUp()
	s.work.Wait()
	if s.embedded != nil {
		err = errors.Join(err, s.embedded.Close()) // runs use the embedded BillingStack until they are handed back
	}
	if s.spool != nil {
		err = errors.Join(err, s.spool.Close())
	}
	return errors.Join(err, s.Store.Close())
}

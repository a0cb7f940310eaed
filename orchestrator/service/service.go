// Package service builds the whole orchestrator from a configuration, serves it, and stops it again.
package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/workflows"
)

// How long a service that stops waits for calls of runs, and for requests.
const (
	drainTime  = 20 * time.Second
	answerTime = 10 * time.Second
)

// Options are what a service is built from. Cloud is required.
type Options struct {
	Config
	Log     zerolog.Logger
	Version string // of this release, for the API's document

	// Cloud reads how a cloud's Keystone is reached, by its name, when the cloud is first used: [v3.FromCloud].
	Cloud func(name string) (v3.Config, error)
	// Workflows defines what the service can run; nil means [workflows.All].
	Workflows func(workflows.Deps) ([]*saga.Definition, error)
	// ScopedTokens hands over the tokens that runs scope; nil means the Handover in the workflows' Deps.
	ScopedTokens api.ScopedTokens
	// Around goes around the transport of the requests to an upstream, [BillingStack] or "keystone/CLOUD"; nil adds nothing.
	// A request that reaches it has had its turn, and its run may write. An [upstream.NotSentError] of it counts as a request
	// that was never sent.
	Around func(upstream string, next http.RoundTripper) http.RoundTripper
	// TripsAfter is how many calls in a row an upstream must fail before its circuit opens; zero means 5.
	TripsAfter uint32
	// Now is the clock, which the database's corrects; nil means [time.Now].
	Now func() time.Time
}

// Service is a running orchestrator: API, engine and, unless there is another BillingStack, the embedded one.
type Service struct {
	URL        string       // of the API
	Handler    http.Handler // the API, as it is served at URL
	BillingURL string       // BillingStack's, with its version
	Store      *store.Store // closed by Stop
	Runs       Runs
	Failed     <-chan error // why a listener ended by itself

	log      zerolog.Logger
	api      *http.Server
	embedded *http.Server // nil: BillingStack is elsewhere
	failed   chan error

	work    sync.WaitGroup // the engine and the cleaning
	stopRun context.CancelFunc
	hangUp  context.CancelFunc // ends the requests under way
}

// Runs are the runs of a service to those who accept, read and act on them without the API.
type Runs interface {
	saga.Starter
	saga.Reader
	saga.Actions
}

// Start opens the database, which must be there, and serves. Keystone and BillingStack may come later. What it refuses is a
// *ConfigurationError, an *UnreachableError, or store.ErrOtherKey; nothing is left open then.
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
	if s.Store, _, err = Open(ctx, o.Config); err != nil {
		return nil, err
	}
	opened.add(s.Store.Close)
	installation, err := s.Store.InstallationID(ctx)
	if err != nil {
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
		s.BillingURL = "http://" + reachable(inside.Addr()) + "/v2"
	}
	runs, handler, err := wire(parts{Options: o, store: s.Store, installation: installation, billingURL: s.BillingURL})
	if err != nil {
		return nil, &ConfigurationError{err}
	}
	s.Runs, s.Handler = runs, handler
	if inside != nil {
		s.serveBilling(inside)
	}
	s.serveAPI(ctx, listener, certificate)
	s.run(ctx, runs)
	return s, nil
}

// closers are what is to be closed again if the service does not come to be.
type closers []func() error

func (c *closers) add(closeIt func() error) { *c = append(*c, closeIt) }

func (c *closers) close() (err error) {
	for _, closeIt := range *c {
		err = errors.Join(err, closeIt())
	}
	return err
}

// serveBilling serves the embedded BillingStack.
func (s *Service) serveBilling(l net.Listener) {
	s.embedded = newHTTPServer(embedded(s.Store, s.log), s.log)
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

// run works on runs, and forgets expired tokens, until stop.
func (s *Service) run(ctx context.Context, runs *engine.Engine) {
	ctx, s.stopRun = context.WithCancel(context.WithoutCancel(ctx))
	s.work.Go(func() { runs.Serve(ctx, drainTime) })
	s.work.Go(func() {
		hourly := time.NewTicker(time.Hour)
		defer hourly.Stop()
		for {
			if err := s.Store.DeleteExpiredTokens(ctx, runs.Clock.Now()); err != nil && ctx.Err() == nil {
				s.log.Error().Err(err).Msg("deleting expired tokens")
			}
			select {
			case <-ctx.Done():
				return
			case <-hourly.C:
			}
		}
	})
}

// answer serves until the server is shut down.
func (s *Service) answer(what string, serve func() error) {
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		s.failed <- fmt.Errorf("serving %s: %w", what, err)
	}
}

// Stop takes no more requests, hands the runs back when their calls are over, and closes all. Requests that wait for their
// runs get some time to be answered.
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
		err = errors.Join(err, s.embedded.Close()) // the runs needed it until now
	}
	return errors.Join(err, s.Store.Close())
}

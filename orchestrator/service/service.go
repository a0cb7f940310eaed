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

// Options are what a service is built from.
type Options struct {
	Config
	Log     zerolog.Logger
	Version string                                        // of this release, which the API tells
	Cloud   func(name string) (v3.Config, error)          // the Keystone of a cloud; asked when the cloud is first used
	InFront func(*store.Store, http.Handler) http.Handler // nil, or what stands before the embedded BillingStack
	// Workflows defines what the service can run; nil: all that this release has.
	Workflows func(workflows.Deps) ([]*saga.Definition, error)
}

// Service is a running orchestrator: API, engine and, unless there is another BillingStack, the embedded one.
type Service struct {
	URL        string // of the API
	BillingURL string
	Store      *store.Store
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
	if o.Workflows == nil {
		o.Workflows = workflows.All
	}
	runs, handler, err := wire(parts{Options: o, store: s.Store, installation: installation, billingURL: s.BillingURL})
	if err != nil {
		return nil, &ConfigurationError{err}
	}
	s.Runs = runs
	if inside != nil {
		s.serveBilling(inside, o)
	}
	s.serveAPI(ctx, listener, handler, certificate)
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

// certificate reads the certificate of the API; nil: it serves plain HTTP.
func (o *Options) certificate() (*tls.Certificate, error) {
	if o.TLSCert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(o.TLSCert, o.TLSKey)
	if err != nil {
		return nil, &ConfigurationError{fmt.Errorf("reading the certificate: %w", err)}
	}
	return &pair, nil
}

// serveBilling serves the embedded BillingStack.
func (s *Service) serveBilling(l net.Listener, o Options) {
	h := embedded(s.Store, o.Log)
	if o.InFront != nil {
		h = o.InFront(s.Store, h)
	}
	s.embedded = newHTTPServer(h, o.Log)
	go s.answer("the embedded BillingStack", func() error { return s.embedded.Serve(l) })
}

// serveAPI serves the API.
func (s *Service) serveAPI(ctx context.Context, l net.Listener, handler http.Handler, certificate *tls.Certificate) {
	requests, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	s.hangUp = hangUp
	s.api = newHTTPServer(handler, s.log)
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

func listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, &ConfigurationError{fmt.Errorf("listening on %s: %w", address, err)}
	}
	return l, nil
}

// reachable is an address for this host to connect to.
func reachable(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Port}).String()
	}
	return a.String()
}

func newHTTPServer(h http.Handler, log zerolog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 90 * time.Second, // more than a request may wait for its run
		IdleTimeout:  2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: httpFaults(log),
	}
}

package main

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
	"github.com/tenantry/tenantry/store"
)

// How long a service that stops waits for calls of runs, and for requests.
const (
	drainTime  = 20 * time.Second
	answerTime = 10 * time.Second
)

// service is a running orchestrator: API, engine and, unless there is another BillingStack, the embedded one.
type service struct {
	url        string // of the API
	billingURL string
	store      *store.Store

	log      zerolog.Logger
	api      *http.Server
	embedded *http.Server // nil: BillingStack is elsewhere
	failed   chan error   // why a listener ended by itself

	work    sync.WaitGroup // the engine and the cleaning
	stopRun context.CancelFunc
	hangUp  context.CancelFunc // ends the requests under way
}

// startOptions are a service's. Cloud is v3.FromCloud but in the demo, and so is InFront, which may stand before the
// embedded BillingStack.
type startOptions struct {
	Config
	Log     zerolog.Logger
	Cloud   func(name string) (v3.Config, error)
	InFront func(*store.Store, http.Handler) http.Handler
}

// start opens the database, which must be there, and serves. Keystone and BillingStack may come later.
func start(ctx context.Context, o startOptions) (_ *service, err error) {
	s := &service{log: o.Log, failed: make(chan error, 2)}
	var opened []func() error
	defer func() {
		if err != nil {
			for _, closeIt := range opened {
				err = errors.Join(err, closeIt())
			}
		}
	}()
	var certificates []tls.Certificate
	if o.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(o.TLSCert, o.TLSKey)
		if err != nil {
			return nil, exit(exitUsage, fmt.Errorf("reading the certificate: %w", err))
		}
		certificates = append(certificates, pair)
	}
	if s.store, _, err = open(ctx, o.Config); err != nil {
		return nil, err
	}
	opened = append(opened, s.store.Close)
	installation, err := s.store.InstallationID(ctx)
	if err != nil {
		return nil, exit(exitUnreachable, err)
	}
	listener, err := listen(ctx, o.Listen)
	if err != nil {
		return nil, err
	}
	opened = append(opened, listener.Close)

	s.billingURL = o.BillingURL
	var inside net.Listener
	if s.billingURL == "" {
		if inside, err = listen(ctx, o.BillingListen); err != nil {
			return nil, err
		}
		opened = append(opened, inside.Close)
		s.billingURL = "http://" + reachable(inside.Addr()) + "/v2"
	}
	runs, handler, err := wire(parts{
		Config: o.Config, store: s.store, installation: installation, billingURL: s.billingURL, cloud: o.Cloud, log: o.Log,
	})
	if err != nil {
		return nil, exit(exitUsage, err)
	}
	s.url = "http://" + reachable(listener.Addr())
	if o.TLSCert != "" {
		s.url = "https://" + reachable(listener.Addr())
	}

	requests, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	s.hangUp = hangUp
	if inside != nil {
		h := embedded(s.store, o.Log)
		if o.InFront != nil {
			h = o.InFront(s.store, h)
		}
		s.embedded = newHTTPServer(h, o.Log)
		go s.answer("the embedded BillingStack", func() error { return s.embedded.Serve(inside) })
	}
	s.api = newHTTPServer(handler, o.Log)
	s.api.BaseContext = func(net.Listener) context.Context { return requests }
	go s.answer("the API", func() error {
		if certificates != nil {
			s.api.TLSConfig = &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12}
			return s.api.ServeTLS(listener, "", "")
		}
		return s.api.Serve(listener)
	})
	s.run(ctx, runs)
	return s, nil
}

// run works on runs, and forgets expired tokens, until stop.
func (s *service) run(ctx context.Context, runs *engine.Engine) {
	ctx, s.stopRun = context.WithCancel(context.WithoutCancel(ctx))
	s.work.Go(func() { runs.Serve(ctx, drainTime) })
	s.work.Go(func() {
		hourly := time.NewTicker(time.Hour)
		defer hourly.Stop()
		for {
			if err := s.store.DeleteExpiredTokens(ctx, runs.Clock.Now()); err != nil && ctx.Err() == nil {
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
func (s *service) answer(what string, serve func() error) {
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		s.failed <- fmt.Errorf("serving %s: %w", what, err)
	}
}

// stop takes no more requests, hands the runs back when their calls are over, and closes all. Requests that wait for their
// runs get some time to be answered.
func (s *service) stop() error {
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
	return errors.Join(err, s.store.Close())
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, exit(exitUsage, fmt.Errorf("listening on %s: %w", address, err))
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

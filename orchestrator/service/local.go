package service

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/workflows"
)

// Local is the part of the API that needs only the database: the operations on runs, findings, repair plans and the ledger. A Local
// listens on no address, executes no runs, has no lease and sends no request to an upstream. The replicas of the database, if there
// are any, carry out the actions that a Local stores.
type Local struct {
	http.RoundTripper // passes requests to the API

	store *store.Store
}

// noRestart is the reason with which a Local refuses the retry of a compensated run.
const noRestart = "the retry of a compensated run is a new order, which a server must check with Keystone and BillingStack:" +
	" when both are available, repeat the command without --local"

// OpenLocal opens the database of the configuration. The parameter `user` is an operating-system user, who is recorded as the
// author of actions. OpenLocal neither creates nor migrates a database, and uses only the settings MaxLiveRuns and the database's
// URLs. If OpenLocal fails, the error is an *UnreachableError or a *ConfigurationError.
func OpenLocal(ctx context.Context, c Config, user string, log zerolog.Logger) (*Local, error) {
	s, err := store.OpenExisting(ctx, c.DatabaseURL, c.DatabaseListenURL)
	if err != nil {
		return nil, &UnreachableError{err}
	}
	clock := engine.NewClock(time.Now)
	if err := clock.Read(ctx, s.Time); err != nil {
		return nil, errors.Join(&UnreachableError{err}, s.Close())
	}
	installation, err := s.KnownInstallationID(ctx)
	if err != nil {
		return nil, errors.Join(&UnreachableError{err}, s.Close())
	}
	handler, err := localAPI(c, s, clock, installation, log)
	if err != nil {
		return nil, errors.Join(&ConfigurationError{err}, s.Close())
	}
	return &Local{api.LocalTransport(handler, user), s}, nil
}

// Close closes the database.
func (l *Local) Close() error { return l.store.Close() }

// localAPI returns the API without upstreams. Its engine stores actions, but executes no runs.
func localAPI(c Config, s *store.Store, clock *engine.Clock, installation string, log zerolog.Logger) (http.Handler, error) {
	noCloud := func(string) (keystone.Identity, error) { return nil, errors.New("there is no connection to Keystone") }
	deps := workflows.Deps{
		Identity: noCloud, Merchants: s.Merchants(), Ledger: s, FollowUps: s, Now: clock.Now, NewID: newID, Installation: installation,
	}
	definitions, err := workflows.All(deps)
	if err != nil {
		return nil, err
	}
	runs := engine.New(engine.Options{Store: s, Queue: s, Tokens: s, Workflows: definitions, NewID: newID, Clock: clock, NoRestart: noRestart})
	return api.New(api.Options{
		Runs: runs, Starter: runs, Actions: runs, Workflows: definitions,
		Admit: deps, Repairs: deps, Merchants: s.Merchants(), Identity: noCloud, Now: clock.Now, Random: rand.Reader,
		Audits: s.Audits(), Installation: installation,
		Auditor:     audit.NewAuditor(audit.Options{Store: s.Audits(), Installation: installation, Now: clock.Now, NewID: newID}),
		MaxLiveRuns: c.MaxLiveRuns, Log: log, Ready: func(context.Context) []api.Dependency { return nil },
		Backlog: func(ctx context.Context, l saga.BacklogLimits) (saga.Backlog, error) {
			return s.Backlog(ctx, saga.Due{Now: clock.Now()}, l)
		},
		Circuits: func() []api.Circuit { return nil }, Replica: func() string { return "" },
	})
}

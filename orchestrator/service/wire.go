package service

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/billing/server"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/workflows"
)

// parts is what a service is wired from.
type parts struct {
	Options
	store        *store.Store
	installation string
	billingURL   string // the configured one, or the embedded server's
}

// wire builds the engine and the HTTP API in front of it. It sends nothing to anybody.
func wire(p parts) (*engine.Engine, http.Handler, error) {
	var gates gate.Gates
	identities := &clouds{
		config: p.Cloud, merchants: p.store.Merchants(), domain: p.Domain, allowAdmin: p.AllowCloudAdminRole,
		gates: &gates, most: p.KeystoneConnections,
	}
	usual, err := p.Cloud(merchants.DefaultCloud)
	if err != nil {
		return nil, nil, err
	}
	toBilling := gates.Of("billingstack", p.BillingConnections)
	bill, err := billing.New(billing.Config{
		URL: p.billingURL, Connections: p.BillingConnections, Wrap: gate.Fence,
		Enter: toBilling.Enter,
	})
	if err != nil {
		return nil, nil, err
	}
	toBilling.TryBy(bill.Ping)
	var handover workflows.Handover
	clock := engine.NewClock(time.Now)
	deps := workflows.Deps{
		Identity: identities.identity, Billing: bill, Merchants: p.store.Merchants(), Reads: &coalesce.Reads{}, Handover: &handover,
		Now: clock.Now, NewID: newID, Installation: p.installation,
		Defaults: workflows.Defaults{CustomerRoles: p.CustomerRoles, SubscriptionRoles: p.SubscriptionRoles, Domain: p.Domain},
	}
	definitions, err := p.Workflows(deps)
	if err != nil {
		return nil, nil, err
	}
	runs := engine.New(engine.Options{
		Store: p.store, Queue: p.store, Tokens: p.store, Workflows: definitions, NewID: newID, Clock: clock,
		Lease: p.Lease, LateWindow: p.LateWindow, Deadline: p.Deadline, GiveUpAfter: p.GiveUpAfter, Down: gates.Open,
		OnEvent: logEvent(p.Log), OnFault: func(err error) { p.Log.Error().Err(err).Msg("engine") },
	})
	handler, err := api.New(api.Options{
		Runs: runs, Starter: runs, Actions: runs, Admit: deps, Merchants: p.store.Merchants(), Identity: deps.Identity, Billing: bill,
		Now: clock.Now, Random: rand.Reader, AdminRole: p.AdminRole, ScopedTokens: &handover,
		MaxLiveRuns: p.MaxLiveRuns,
		KeystoneURL: usual.URL, TLS: p.TLSCert != "", Version: p.Version, Log: p.Log,
		Ready: []api.Check{
			{Name: "database", Ask: p.store.Ping},
			{Name: "keystone", Ask: func(ctx context.Context) error { return ping(ctx, identities.identity) }},
			{Name: "billingstack", Ask: bill.Ping},
		},
	})
	return runs, handler, err
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func ping(ctx context.Context, identity func(string) (keystone.Identity, error)) error {
	usual, err := identity(merchants.DefaultCloud)
	if err != nil {
		return err
	}
	return usual.Ping(ctx)
}

// embedded is the BillingStack of a service that is told of no other.
func embedded(s *store.Store, log zerolog.Logger) http.Handler {
	return server.New(s.Billing(), func(r *http.Request, err error) {
		log.Error().Err(err).Str("method", r.Method).Str("path", r.URL.Path).Msg("embedded BillingStack")
	})
}

package service

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/billing/server"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/console"
	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/loginrate"
	"github.com/tenantry/tenantry/orchestrator/portal"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/orchestrator/usage/intake"
	"github.com/tenantry/tenantry/orchestrator/usage/spool"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/workflows"
)

// The type `parts` holds the inputs of the function `wire`.
type parts struct {
	Options
	store        *store.Store
	installation string
	billingURL   string        // the configured URL, or the URL of the embedded BillingStack
	spool        *spool.Shared // nil if no spool is configured
	meters       usage.Meters  // the content of the file Options.Meters
	sites        []portal.Site // the content of the file Options.Portals
}

// The type `wired` is the result of the function `wire`: the engine, the checks and the HTTP API.
type wired struct {
	runs    *engine.Engine
	audits  *audit.Auditor
	intake  *intake.Intake
	closer  *usage.Closer
	biller  *usage.Biller
	health  *health
	handler http.Handler // of the API, the console and the portals
	signIns *store.SignIns
	console func(context.Context) // sends live updates to the pages of the console, until the context ends
}

// The function `wire` builds the engine, the checks of the dependencies, and the HTTP API that uses both. `wire` sends no request.
func wire(p parts) (w wired, err error) {
	u, err := newUpstreams(p.Options, p.billingURL, p.store.Merchants())
	if err != nil {
		return w, err
	}
	var handover workflows.Handover
	if p.ScopedTokens == nil {
		p.ScopedTokens = &handover
	}
	if p.Workflows == nil {
		p.Workflows = workflows.All
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	p.KeepTenant, p.KeepBilling = cmp.Or(p.KeepTenant, 7*24*time.Hour), cmp.Or(p.KeepBilling, 35*24*time.Hour)
	clock := engine.NewClock(p.Now)
	if p.Resources == nil {
		p.Resources = &provers{clouds: u.clouds, entry: p.ResourcesCloud, ignore: p.EmptinessIgnore, now: clock.Now}
	}
	w.audits = audit.NewAuditor(audit.Options{
		Store: p.store.Audits(), Merchants: p.store.Merchants(), Inventory: (&inventories{clouds: u.clouds, entry: p.AuditCloud}).of,
		FindDomain: func(ctx context.Context, cloud, nameOrID string) (keystone.Domain, error) {
			identity, err := u.clouds.identity(cloud)
			if err != nil {
				return keystone.Domain{}, err
			}
			return identity.Domain(ctx, nameOrID)
		},
		Billing: u.billing, Installation: p.installation, Domain: p.Domain, AllowAdmin: p.AllowCloudAdminRole,
		Begin: collectOften, Replica: newID(), Every: p.AuditEvery, Now: clock.Now, NewID: newID,
		OnFault: func(err error) { p.Log.Error().Err(err).Msg("audits") },
	})
	deps := workflows.Deps{
		Identity: u.clouds.identity, Billing: u.billing, Merchants: p.store.Merchants(), Ledger: p.store, FollowUps: p.store, Audits: w.audits, Books: p.store.Usage(),
		Reads: &coalesce.Reads{}, Handover: &handover,
		Now: clock.Now, NewID: newID, Installation: p.installation,
		KeepTenant: p.KeepTenant, KeepBilling: p.KeepBilling, Resources: p.Resources,
		Defaults: workflows.Defaults{CustomerRoles: p.CustomerRoles, SubscriptionRoles: p.SubscriptionRoles, Domain: p.Domain},
	}
	definitions, err := p.Workflows(deps)
	if err != nil {
		return w, err
	}
	w.audits.Expect = expects(definitions)
	for _, d := range definitions {
		if d.Unaudited {
			w.audits.Unaudited = append(w.audits.Unaudited, d.Name)
		}
	}
	w.runs = engine.New(engine.Options{
		Store: p.store, Queue: p.store, Tokens: p.store, Workflows: definitions, NewID: newID, Clock: clock,
		Lease: p.Lease, LateWindow: p.LateWindow, Deadline: p.Deadline, GiveUpAfter: p.GiveUpAfter,
		Poll: p.Poll, Executors: p.Executors, KeepPassword: p.KeepPassword, Down: u.gates.Open,
		OnEvent: logEvent(p.Log), OnFault: func(err error) { p.Log.Error().Err(err).Msg("engine") },
	})
	var records intake.Spool
	if p.spool != nil {
		records = p.spool
	}
	w.intake = intake.New(p.store.Usage(), records, clock.Now, func(err error) { p.Log.Error().Err(err).Msg("samples") })
	w.health = newChecks(p, u, w.runs, w.intake)
	w.closer = &usage.Closer{
		Hours: p.store.Usage(), Tenants: deps, Hold: usage.DefaultHold, Now: clock.Now,
		Fault: func(err error) { p.Log.Error().Err(err).Msg("usage") },
	}
	w.biller = &usage.Biller{
		Billing: usage.Billing{Meters: p.meters, Live: workflows.BilledState},
		Books:   p.store.Usage(), Catalog: deps.UsageCatalog, Posting: deps.PostUsageLater, Now: clock.Now,
		Fault: func(err error) { p.Log.Error().Err(err).Msg("usage") },
	}
	w.intake.Meters = p.meters
	logins := loginrate.New(p.LoginRate)
	served, err := api.New(api.Options{
		Runs: w.runs, Starter: w.runs, Actions: w.runs, Workflows: definitions,
		Admit: deps, Repairs: deps, Merchants: p.store.Merchants(), Identity: deps.Identity, Billing: u.billing,
		Audits: p.store.Audits(), Auditor: w.audits, Installation: p.installation,
		Meters: intake.NewKeys(p.store.Usage(), clock.Now), Samples: w.intake, Usages: p.store.Usage(), Rebilling: p.store.Usage(),
		Now: clock.Now, Random: rand.Reader, AdminRole: p.AdminRole, ScopedTokens: p.ScopedTokens,
		MaxLiveRuns: p.MaxLiveRuns, Admissions: p.Admissions, Logins: logins, Heartbeat: p.Heartbeat,
		KeystoneURL: u.keystoneURL, TLS: p.TLSCert != "", Version: p.Version, Log: p.Log, Ready: w.health.report,
		Backlog: func(ctx context.Context, l saga.BacklogLimits) (saga.Backlog, error) {
			now := clock.Now()
			return p.store.Backlog(ctx, saga.Due{Now: now, Down: u.gates.Open(), Expired: now.Add(-cmp.Or(p.GiveUpAfter, 24*time.Hour))}, l)
		},
		Circuits: func() []api.Circuit { return viewCircuits(u.gates.Circuits()) }, Replica: w.runs.ReplicaID, Settings: viewSettings(p.Settings),
	})
	if err != nil {
		return w, err
	}
	w.signIns = p.store.SignIns(clock.Now)
	pages, live, err := console.New(console.Options{
		API: served, View: served.View, ViewEvent: served.ViewEvent, Follower: p.store, SignIns: w.signIns,
		Merchants: p.store.Merchants(), Identity: deps.Identity, Logins: logins, AdminRole: p.AdminRole, Workflows: namesOf(definitions),
		Domain: p.Domain, Now: clock.Now, Version: p.Version, Log: p.Log,
	})
	w.console = live
	if err != nil {
		return w, err
	}
	portals, err := newPortals(p, served, w.signIns)
	w.handler = http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case path == console.Path, strings.HasPrefix(path, console.Path+"/"):
			pages.ServeHTTP(out, r)
		case len(p.sites) > 0 && strings.HasPrefix(path, portal.Path):
			portals.ServeHTTP(out, r)
		default:
			served.ServeHTTP(out, r)
		}
	})
	return w, err
}

func viewSettings(all []Setting) []api.Setting {
	settings := make([]api.Setting, len(all))
	for i, s := range all {
		settings[i] = api.Setting{Key: s.Key, Variable: s.Variable, Value: s.Value, Source: api.SettingSource(s.Source), Default: s.Default, Meaning: s.Meaning}
		if s.File != "" {
			settings[i].File = &s.File
		}
	}
	return settings
}

func viewCircuits(all []gate.Circuit) []api.Circuit {
	circuits := make([]api.Circuit, len(all))
	for i, c := range all {
		circuits[i] = api.Circuit{Upstream: c.Upstream, Open: c.Open}
		if c.Open && c.Cause != "" {
			circuits[i].Since, circuits[i].NextTrialAt, circuits[i].Cause = &c.Since, &c.Trial, &c.Cause
		}
	}
	return circuits
}

// The function `expects` returns a function for audits. The returned function returns the objects that should exist after a run.
func expects(all []*saga.Definition) func(*saga.Run) ([]saga.Expected, bool, error) {
	byName := map[string]*saga.Definition{}
	for _, d := range all {
		byName[d.Name] = d
	}
	return func(r *saga.Run) ([]saga.Expected, bool, error) {
		d := byName[r.Workflow]
		if d == nil {
			return nil, false, nil
		}
		expected, err := d.Expect(r)
		return expected, true, err
	}
}

// namesOf returns the names of the workflows, sorted.
func namesOf(all []*saga.Definition) []string {
	names := make([]string, len(all))
	for i, d := range all {
		names[i] = d.Name
	}
	slices.Sort(names)
	return names
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// The function `embedded` returns the handler of the embedded BillingStack. If `remote` is false, the handler refuses requests whose Host
// is not a loopback name.
func embedded(s *store.Store, remote bool, log zerolog.Logger) http.Handler {
	e := server.New(s.Billing(), func(r *http.Request, err error) {
		level := zerolog.ErrorLevel
		if r.Context().Err() != nil { // the client has gone away
			level = zerolog.DebugLevel
		}
		log.WithLevel(level).Err(err).Str("method", upstream.Clean(r.Method)).Str("path", upstream.Clean(r.URL.EscapedPath())).Msg("embedded BillingStack")
	})
	if !remote {
		e.Pre(server.LoopbackOnly)
	}
	return e
}

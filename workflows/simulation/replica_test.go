package simulation

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The type `replica` is one process of Tenantry: engine, steps, clients and API, wired as in cmd/tenantry.
type replica struct {
	*host
	world  *world
	engine *engine.Engine
	api    http.Handler
	deps   workflows.Deps
	stop   context.CancelFunc
	ended  bool

	newID     func() string // returns ids of runs
	id        string        // the replica's id in the database
	admitting string        // the request that the replica is admitting
}

// The constant `installation` is the id of the simulated installation.
const installation = "simulated"

// defaultLateWindow is the late window of a world. A mutation may use another late window.
const defaultLateWindow = 90 * time.Second

// startReplica starts a replica. The parameter `off` is the difference between the replica's clock and the simulated time.
func (w *world) startReplica(off time.Duration) *replica {
	process, made := len(w.started)+1, 0
	r := &replica{host: &host{name: fmt.Sprintf("p%d", process)}, world: w}
	r.befall = func(k incidentKind, away time.Duration) { w.befall(slices.Index(w.replicas, r), k, away) }
	w.started = append(w.started, r)
	clock := engine.NewClock(func() time.Time { return time.Now().Add(off) })
	clock.AfterFunc = func(d time.Duration, f func()) func() {
		return w.driver.after(r.host, d, r.name+" timer", f)
	}
	clock.Yield = func(who string) { w.driver.sleep(time.Microsecond, r.name+" "+who+" yields") }
	gates := &gate.Gates{} // with high limits, no request is queued: the sequence of queued requests would be random
	toKeystone, toBilling := gates.Of("keystone/default", 1<<10), gates.Of("billingstack", 1<<10)
	identity, inventory := w.newIdentity(r, toKeystone), w.newIdentity(r, toKeystone)
	bill, err := billing.New(billing.Config{URL: "http://billing/v2", Connections: 1 << 10, Enter: toBilling.Enter, Wrap: func(http.RoundTripper) http.RoundTripper {
		return w.fenced(wire{r, billingStack, w.billing})
	}})
	w.ok(err)
	if !w.untried {
		toKeystone.TryBy(identity.Ping)
		toBilling.TryBy(bill.Ping)
	}
	var handover workflows.Handover
	database := shortsighted{link{r, w.store}, w.mutations}
	r.newID = func() string { made++; return newID(process, made) }
	auditor := audit.NewAuditor(audit.Options{
		Store: records{link: link{r, w.store}}, Merchants: w.merchants, Inventory: func(string) (keystone.Inventory, error) { return inventory, nil },
		FindDomain: func(ctx context.Context, _, name string) (keystone.Domain, error) { return identity.Domain(ctx, name) },
		Billing:    bill, Installation: installation, Domain: "default", Now: clock.Now, NewID: r.newID,
	})
	deps := workflows.Deps{
		Identity: func(string) (keystone.Identity, error) { return w.changed(r, identity), nil },
		Billing:  bill, Merchants: w.merchants, Ledger: database, FollowUps: database, Audits: auditor, Books: database, Reads: &coalesce.Reads{}, Handover: &handover, Now: clock.Now, NewID: r.newID,
		Installation: installation, KeepTenant: w.plan.keepTenant(), KeepBilling: keepBilling, Resources: workflowstest.NoResources{},
		Defaults: workflows.Defaults{CustomerRoles: customerRoles, SubscriptionRoles: subscriptionRoles, Domain: "default"},
	}
	if w.audits != nil {
		deps.Audits = w.audits(auditor)
	}
	r.deps = deps
	definitions, err := workflowstest.Definitions(deps)
	w.ok(err)
	if w.steps != nil {
		subscribe := workflows.Subscribe(deps)
		w.steps(&subscribe)
		definitions[0], err = saga.Define(subscribe)
		w.ok(err)
	}
	if w.switches != nil {
		for i, workflow := range []saga.Workflow[workflows.Switch]{workflows.Suspend(deps), workflows.Resume(deps)} {
			w.switches(&workflow)
			definitions[stranger+1+i], err = saga.Define(workflow)
			w.ok(err)
		}
	}
	if w.define != nil {
		changed, err := w.define(deps)
		w.ok(err)
		for i := range definitions {
			if definitions[i].Name == changed.Name {
				definitions[i] = changed
			}
		}
	}
	if w.plans != nil {
		workflow := workflows.ChangePlanWorkflow(deps)
		w.plans(&workflow.Steps[len(workflow.Steps)-1])
		definitions[changePlan], err = saga.Define(workflow)
		w.ok(err)
	}
	auditor.Expect = expectation(definitions)
	log := zerolog.Nop()
	if w.signUps != nil {
		log = zerolog.New(journal{w})
	}
	r.engine = engine.New(engine.Options{
		KeepPassword: w.plan.KeepPassword,
		Store:        database, Queue: database, Tokens: database, Workflows: definitions, NewID: r.newID, Clock: clock,
		LateWindow: cmp.Or(w.lateWindow, defaultLateWindow), Down: gates.Open,
		OnFault: func(err error) {
			w.driver.remark("%s: %v", r.name, err)
			log.Error().Err(err).Send()
		},
	})
	r.api, err = api.New(api.Options{
		Runs: r.engine, Starter: overheard{r.engine, w}, Actions: r.engine, Admit: deps, Merchants: w.merchants, Identity: deps.Identity, Billing: bill,
		Now: clock.Now, Random: zeros{}, AdminRole: "admin", ScopedTokens: &handover, Log: log, MaxLiveRuns: 1000,
	})
	w.ok(err)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		r.engine.Serve(ctx, 20*time.Second)
		w.driver.mu.Lock()
		defer w.driver.mu.Unlock()
		r.ended = true
	}()
	return r
}

const keepBilling = 3 * time.Hour

func (r *replica) hasEnded() bool {
	r.world.driver.mu.Lock()
	defer r.world.driver.mu.Unlock()
	return r.ended
}

// The method `changed` applies the mutation of the world to a client of Keystone.
func (w *world) changed(r *replica, id keystone.Identity) keystone.Identity {
	if w.identity == nil {
		return id
	}
	return w.identity(r, id)
}

func (w *world) newIdentity(r *replica, gate *gate.Gate) keystone.Cloud {
	cfg := w.serviceConfig()
	cfg.Base, cfg.Enter = w.fenced(wire{r, keystoneAPI, w.cloud}), gate.Enter
	cfg.MayWriteDomain = func(id string) bool { return id == "default" }
	cfg.MaySignUp = cfg.MayWriteDomain
	cloud, err := clouds.Open(cfg)
	w.ok(err)
	return cloud
}

// serviceConfig returns the configuration of a Keystone client with the service's credential.
func (w *world) serviceConfig() conn.Config {
	c := conn.Credential{Username: "admin", Password: servicePassword, ProjectName: "admin"}
	if w.plan.Second {
		return conn.Config{URL: "http://keystone/v2.0", AdminURL: "http://keystone/v2.0", Version: "2.0", Credential: c}
	}
	c.UserDomainID, c.ProjectDomainID = keystonetest.DefaultDomain, keystonetest.DefaultDomain
	return conn.Config{URL: "http://keystone/v3", Credential: c}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// newID returns a run id that contains the time, the number of the process and the number of the run. The id is the same in every
// replay.
func newID(process, nth int) string {
	now := time.Now().UnixMilli()
	return fmt.Sprintf("%08x-%04x-7%03x-8000-%012x", now>>16, now&0xffff, process, nth)
}

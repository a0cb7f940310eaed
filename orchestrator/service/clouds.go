package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
)

// The type `cloudClients` holds one Keystone client for each cloud. Each client is built when its cloud is first used.
type cloudClients struct {
	config      func(name string) (conn.Config, error)
	around      func(upstream string, next http.RoundTripper) http.RoundTripper
	merchants   merchants.Store
	domain      string // name or id of the domain in which tenants are created; a merchant may have another domain
	operators   string // the role of operators
	allowAdmin  bool
	gates       *gate.Gates
	connections int // maximum number of concurrent requests to one cloud

	mu    sync.Mutex
	known map[string]*cloud
}

// The method `identity` returns the Keystone client of a cloud, or an error if the cloud's configuration is missing or wrong. After
// an error, the next call of `identity` tries again.
func (c *cloudClients) identity(name string) (keystone.Identity, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.known[name]; known != nil {
		return known, nil
	}
	cfg, err := c.config(name)
	if err != nil {
		return nil, fmt.Errorf("setting up cloud %q: %w", name, err)
	}
	made := &cloud{name: name, url: cfg.URL, clouds: c, domains: map[string]bool{}}
	upstreamName := "keystone/" + name
	to := c.gates.Of(upstreamName, c.connections)
	cfg.Enter = to.Enter
	cfg.Base = gate.Fence(c.around(upstreamName, conn.NewTransport(cfg.TLS)))
	cfg.OperatorRole, cfg.AllowAdminRole = c.operators, c.allowAdmin
	cfg.MayWriteDomain, cfg.MaySignUp = made.mayWrite, made.maySignUp
	if made.Identity, err = clouds.Open(cfg); err != nil {
		return nil, fmt.Errorf("setting up cloud %q: %w", name, err)
	}
	to.TryBy(made.Ping)
	if c.known == nil {
		c.known = map[string]*cloud{}
	}
	c.known[name] = made
	return made, nil
}

// ownConnections is the maximum number of concurrent requests through a client's own gate: see configOf.
const ownConnections = 2

// configOf returns the configuration of a client that reads a cloud's Keystone. The client uses the credential of an entry in
// clouds.yaml. If this entry is not the cloud's own entry, the client gets its own gate, and the name of the gate contains
// `purpose`. If Keystone then refuses the entry's login, only this client's circuit opens. The circuit for runs and orders stays
// closed.
func (c *cloudClients) configOf(cloud, entry, purpose string) (conn.Config, error) {
	cfg, err := c.config(entry)
	if err != nil {
		return cfg, fmt.Errorf("setting up cloud %q: %w", entry, err)
	}
	name := "keystone/" + cloud
	cfg.Base = gate.Fence(c.around(name, conn.NewTransport(cfg.TLS)))
	if entry == cloud {
		cfg.Enter = c.gates.Of(name, c.connections).Enter
		return cfg, nil
	}
	own := c.gates.Of(name+" for "+purpose, ownConnections)
	cfg.Enter = own.Enter
	ping, err := clouds.Open(cfg)
	if err != nil {
		return cfg, fmt.Errorf("setting up cloud %q: %w", entry, err)
	}
	own.TryBy(ping.Ping)
	return cfg, nil
}

// The method `address` returns the URL of the Keystone of a cloud. If the cloud has no client yet, the result is empty.
func (c *cloudClients) address(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.known[name]; known != nil {
		return known.url
	}
	return ""
}

// The type `cloud` is a Keystone client with a guard. The guard allows writes to tenants only in the domain of the configuration and in the
// domains of the merchants. The guard allows writes to users only in the domains of merchants with sign-up. A cloud reads the ids of these
// domains before a write. If the read fails, the write fails with a transient error.
type cloud struct {
	keystone.Identity
	name   string
	url    string
	clouds *cloudClients

	mu      sync.Mutex
	read    bool
	domains map[string]bool // by id; the value reports whether a merchant of the domain has sign-up
}

// mayWrite reports to the guard whether Tenantry may write to tenants in a domain. If the domain is unknown, mayWrite first reads the
// domains again.
func (c *cloud) mayWrite(domainID string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), guardTime)
	defer cancel()
	if c.learn(ctx, domainID) != nil {
		return false
	}
	known, _ := c.known(domainID)
	return known
}

// maySignUp reports to the guard whether Tenantry may write to its own users in a domain. If no merchant of the domain is known to have
// sign-up, maySignUp first reads the domains again.
func (c *cloud) maySignUp(domainID string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), guardTime)
	defer cancel()
	if _, signUp := c.known(domainID); !signUp && c.relearn(ctx) != nil {
		return false
	}
	_, signUp := c.known(domainID)
	return signUp
}

// guardTime is the maximum time in which the guard reads the domains of the merchants.
const guardTime = 10 * time.Second

// The method `known` reports whether Tenantry may write in the domain, and whether a merchant of the domain has sign-up.
func (c *cloud) known(domainID string) (known, signUp bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	signUp, known = c.domains[domainID]
	return known, signUp
}

// The method `learn` reads the domains in which Tenantry may write. If the domain with the id domainID is not known yet, `learn`
// reads the domains again, because a merchant may have been added.
func (c *cloud) learn(ctx context.Context, domainID string) error {
	c.mu.Lock()
	_, known := c.domains[domainID]
	enough := c.read && (domainID == "" || known)
	c.mu.Unlock()
	if enough {
		return nil
	}
	return c.relearn(ctx)
}

// The method `relearn` reads the domains again. A known domain stays known, and a domain with sign-up stays a domain with sign-up, because a
// run may still have to undo its writes there.
func (c *cloud) relearn(ctx context.Context) error {
	names := map[string]bool{c.clouds.domain: false}
	err := merchants.Each(ctx, c.clouds.merchants, "", func(m merchants.Merchant) {
		if m.Cloud == c.name {
			name := cmp.Or(m.Domain, c.clouds.domain)
			names[name] = names[name] || m.SignUp
		}
	})
	if err != nil {
		return &upstream.Error{Service: keystone.Service, Class: upstream.Transient, Op: "listing the merchants' domains", Err: err}
	}
	for name, signUp := range names {
		domain, err := c.Domain(ctx, name)
		if errors.Is(err, keystone.ErrNotFound) || errors.Is(err, keystone.ErrAmbiguous) {
			continue // the merchant's domain does not exist, or its name is ambiguous, so nothing is written there
		}
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.domains[domain.ID] = c.domains[domain.ID] || signUp
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = true
	return nil
}

// EnsureProject implements [keystone.Identity].
func (c *cloud) EnsureProject(ctx context.Context, n keystone.NewProject) (keystone.Project, bool, error) {
	if err := c.learn(ctx, n.DomainID); err != nil {
		return keystone.Project{}, false, err
	}
	return c.Identity.EnsureProject(ctx, n)
}

// RemoveProject implements [keystone.Identity].
func (c *cloud) RemoveProject(ctx context.Context, p keystone.Project, runTag string) (keystone.Project, error) {
	if err := c.learn(ctx, p.DomainID); err != nil {
		return keystone.Project{}, err
	}
	return c.Identity.RemoveProject(ctx, p, runTag)
}

// DisableProject implements [keystone.Identity].
func (c *cloud) DisableProject(ctx context.Context, p keystone.Project, mark string) (keystone.Project, error) {
	if err := c.learn(ctx, p.DomainID); err != nil {
		return keystone.Project{}, err
	}
	return c.Identity.DisableProject(ctx, p, mark)
}

// EnableProject implements [keystone.Identity].
func (c *cloud) EnableProject(ctx context.Context, p keystone.Project, marks ...string) (keystone.Project, bool, error) {
	if err := c.learn(ctx, p.DomainID); err != nil {
		return keystone.Project{}, false, err
	}
	return c.Identity.EnableProject(ctx, p, marks...)
}

// ChangeProject implements [keystone.Identity].
func (c *cloud) ChangeProject(ctx context.Context, p keystone.Project, change keystone.ProjectChange) (keystone.Project, bool, error) {
	if err := c.learn(ctx, p.DomainID); err != nil {
		return keystone.Project{}, false, err
	}
	return c.Identity.ChangeProject(ctx, p, change)
}

// EnsureAssignment implements [keystone.Identity].
func (c *cloud) EnsureAssignment(ctx context.Context, a keystone.Assignment) error {
	if err := c.learn(ctx, ""); err != nil {
		return err
	}
	return c.Identity.EnsureAssignment(ctx, a)
}

// RemoveAssignment implements [keystone.Identity].
func (c *cloud) RemoveAssignment(ctx context.Context, a keystone.Assignment) (bool, error) {
	if err := c.learn(ctx, ""); err != nil {
		return false, err
	}
	return c.Identity.RemoveAssignment(ctx, a)
}

// EnsureUser implements [keystone.Users].
func (c *cloud) EnsureUser(ctx context.Context, n keystone.NewUser) (u keystone.User, made, passwordSet bool, err error) {
	if err := c.learnSignUp(ctx, n.DomainID); err != nil {
		return keystone.User{}, false, false, err
	}
	return c.Identity.EnsureUser(ctx, n)
}

// RemoveUser implements [keystone.Users].
func (c *cloud) RemoveUser(ctx context.Context, domainID, name, runID string) (keystone.User, string, error) {
	if err := c.learnSignUp(ctx, domainID); err != nil {
		return keystone.User{}, "", err
	}
	return c.Identity.RemoveUser(ctx, domainID, name, runID)
}

// SetPassword implements [keystone.Users].
func (c *cloud) SetPassword(ctx context.Context, userID, password string) error {
	user, err := c.User(ctx, userID)
	if err == nil {
		err = c.learnSignUp(ctx, user.DomainID)
	}
	if err != nil {
		return err
	}
	return c.Identity.SetPassword(ctx, userID, password)
}

// learnSignUp reads the domains before a write to a user. If the read fails, the write fails with a transient error. Without learnSignUp, the
// guard would read the domains, and a failed read would be a permanent refusal.
func (c *cloud) learnSignUp(ctx context.Context, domainID string) error {
	if _, signUp := c.known(domainID); signUp {
		return nil
	}
	return c.relearn(ctx)
}

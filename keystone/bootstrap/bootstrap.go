package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// State is the state of an object at the end of Apply.
type State string

const (
	// Exists means that the object existed before.
	Exists State = "exists"
	// Created means that Apply has created the object.
	Created State = "created"
	// Differs means that the object exists but is not as Tenantry needs it, or that Apply must not create it.
	Differs State = "differs"
	missing State = "missing" // the object does not exist, and Apply has not created it yet
)

// Object is one object of the set-up. Its texts are from Keystone or from the caller, and are not escaped.
type Object struct {
	Kind    string   `json:"kind"`
	Name    string   `json:"name"`
	State   State    `json:"state"`
	Differs []string `json:"differs,omitempty"` // what differs
	Fix     []string `json:"fix,omitempty"`     // command lines that would change it

	several bool // the catalog has several objects in place of this one
}

func (o *Object) differ(what, fix string) {
	o.State, o.Differs, o.Fix = Differs, append(o.Differs, what), append(o.Fix, fix)
}

// ErrRequired means that an object is missing, and that Apply does not create such an object. Nothing was created.
var ErrRequired = errors.New("does not exist in Keystone")

// Bootstrap creates the objects of a Setup. A Bootstrap is for one call of Apply.
type Bootstrap struct {
	setup  Setup
	config conn.Config // with the administrator's credential
	cloud  *v3.Cloud
	guard  *guard
	pause  func(context.Context) error // waits for a random time, so that concurrent Bootstraps do not collide again

	roles                  map[string]string // ids by the name in lower case
	domain, userDomain     string            // ids
	project, user, service string            // ids; empty if the object does not exist
	ownUser                bool              // the user was created by this Bootstrap, or has the password that the caller knows
	refused                bool              // see PasswordRefused
}

// New returns a Bootstrap, but sends no request. The configuration must be for Identity v3.
func New(cfg conn.Config, s Setup) (*Bootstrap, error) {
	if err := s.CheckNames(); err != nil {
		return nil, err
	}
	cfg.OperatorRole = s.OperatorRole
	b := &Bootstrap{setup: s, config: cfg, roles: map[string]string{}, pause: pause}
	var err error
	b.cloud, err = v3.NewGuardedBy(cfg, func(endpoint *url.URL, next http.RoundTripper) http.RoundTripper {
		b.guard = newGuard(endpoint, next)
		return b.guard
	})
	return b, err
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(rand.N(time.Second)): //nolint:gosec // not a secret
		return nil
	}
}

// DomainID returns the id of the customers' domain. It is empty before Apply has found or created the domain.
func (b *Bootstrap) DomainID() string { return b.domain }

// UserDomainID returns the id of the service user's domain. It is empty before Apply has found or created the domain.
func (b *Bootstrap) UserDomainID() string { return b.userDomain }

// PasswordRefused reports whether the service user exists and has another password than the one that Apply was given.
func (b *Bootstrap) PasswordRefused() bool { return b.refused }

// The type `item` is an object of the set-up, with the functions that find and create it.
type item struct {
	kind, name string
	line       string // command line that creates the object, unless it exists
	required   string // if not empty, the object is never created; says what to do if it is missing
	find       func(ctx context.Context, o *Object) error
	create     func(ctx context.Context, o *Object) error
}

// The method `items` returns the items in the order in which they are created.
func (b *Bootstrap) items() []item {
	s := b.setup
	var all []item
	for _, name := range s.roles() {
		i := item{kind: "role", name: name, line: s.lineOfRole(name), find: b.findRole, create: b.createRole}
		if s.isRequired(name) {
			i.required = "this Keystone does not have the rights of --persona " + string(s.Persona)
		}
		all = append(all, i)
	}
	for _, name := range slices.Compact([]string{s.Domain, s.UserDomain}) {
		i := item{kind: "domain", name: name, line: s.lineOfDomain(name), find: b.findDomain, create: b.createDomain}
		if s.isRequiredDomain(name) {
			i.required = "name a domain that exists"
		}
		all = append(all, i)
	}
	if s.Persona == Admin {
		all = append(all, item{kind: "project", name: s.Project, line: s.lineOfProject(), find: b.findProject, create: b.createProject})
	}
	all = append(all, item{kind: "user", name: s.User, line: s.lineOfUser(), find: b.findUser})
	for _, role := range s.Persona.roles() {
		all = append(all, b.grant(role))
	}
	all = append(all,
		item{
			kind: "region", name: s.Region, line: s.lineOfRegion(), find: b.findRegion,
			required: "name a region that exists, with --region",
		},
		item{kind: "service", name: s.Type, line: s.lineOfService(), find: b.findService, create: b.createService},
		b.endpoint("public", s.PublicURL), b.endpoint("internal", s.InternalURL))
	return all
}

// Password returns the password of the service user. Apply calls this function before the user is created, or when the user exists. If the
// user exists and nobody knows the password, the result is empty.
type Password func(exists bool) (string, error)

// Apply first reads all objects, and then creates the objects that are missing. It may be repeated, also after an interruption. Several
// processes may call Apply at the same time. If Apply fails, it returns the objects that it has seen, with their states.
func (b *Bootstrap) Apply(ctx context.Context, password Password) ([]Object, error) {
	if _, err := b.cloud.Login(ctx); err != nil { // its errors are for the person who has set the credential
		return nil, err
	}
	var all []Object
	var lacking []error
	items := b.items()
	for _, i := range items {
		o := Object{Kind: i.kind, Name: i.name, State: Exists}
		if err := i.find(ctx, &o); err != nil {
			return nil, err
		}
		if o.State == missing && i.required != "" {
			lacking = append(lacking, fmt.Errorf("%s %q %w: %s", i.kind, i.name, ErrRequired, i.required))
		}
		all = append(all, o)
	}
	if len(lacking) > 0 {
		return nil, errors.Join(lacking...)
	}
	known := ""
	for n, i := range items {
		var err error
		switch {
		case i.kind == "user":
			known, err = b.ensureUser(ctx, &all[n], password)
		case all[n].State == missing:
			err = b.ensure(ctx, i, &all[n])
		}
		if err != nil {
			return slices.DeleteFunc(all, func(o Object) bool { return o.State == missing }), err
		}
	}
	if known != "" {
		o, err := b.logIn(ctx, known)
		if err != nil {
			return all, err
		}
		all = append(all, o)
	}
	return all, nil
}

// The method `ensure` creates a missing object. If somebody else creates it at the same time, `ensure` finds it.
func (b *Bootstrap) ensure(ctx context.Context, i item, o *Object) error {
	o.State = Created
	err := i.create(ctx, o)
	if errors.Is(err, keystone.ErrConflict) {
		o.State = Exists
		if again := i.find(ctx, o); again != nil || o.State != missing {
			return again
		}
	}
	if err != nil {
		o.State = missing
	}
	return err
}

// entity is a role, a domain, a project or a user, in the JSON format of Keystone.
type entity struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	DomainID string `json:"domain_id"`
	Enabled  *bool  `json:"enabled"`
}

func (e entity) disabled() bool { return e.Enabled != nil && !*e.Enabled }

// The method `list` lists the entities with a name. The filters are repeated here, because Keystone ignores unknown filters.
func (b *Bootstrap) list(ctx context.Context, kind, domainID, name string) ([]entity, error) {
	query := url.Values{"name": {name}}
	if domainID != "" {
		query.Set("domain_id", domainID)
	}
	found, err := conn.List[entity](ctx, b.cloud.Conn, conn.Listing{
		Op: fmt.Sprintf("finding %q among the %s", name, kind), Path: kind, Query: query,
	})
	return slices.DeleteFunc(found, func(e entity) bool {
		return !strings.EqualFold(e.Name, name) || e.Name != name && kind != "roles" || domainID != "" && e.DomainID != domainID ||
			kind == "roles" && e.DomainID != "" || !keystone.ValidID(e.ID)
	}), err
}

// The method `one` returns the id of the entity with a name. If there is none, `one` sets the state `missing`.
func (b *Bootstrap) one(ctx context.Context, o *Object, kind, domainID, enable string) (string, error) {
	found, err := b.list(ctx, kind, domainID, o.Name)
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		o.State = missing
		return "", nil
	}
	e, err := conn.Single(fmt.Sprintf("finding %s %q", o.Kind, o.Name), found, func(e entity) string { return e.Name })
	if err == nil && e.disabled() {
		o.differ("it is disabled", enable)
	}
	return e.ID, err
}

func (b *Bootstrap) findRole(ctx context.Context, o *Object) error {
	id, err := b.one(ctx, o, "roles", "", "")
	if b.roles[strings.ToLower(o.Name)] = id; err != nil || id == "" || !slices.Contains(b.setup.UserRoles, o.Name) {
		return err
	}
	_, err = b.cloud.Roles(ctx, []string{o.Name})
	if e, ok := errors.AsType[*upstream.Error](err); ok && errors.Is(err, keystone.ErrRefusedRole) {
		o.differ("users must not get it: "+e.Message, openstack("implied role list", nil))
		return nil
	}
	return err
}

func (b *Bootstrap) findDomain(ctx context.Context, o *Object) error {
	d, err := b.cloud.Domain(ctx, o.Name)
	if errors.Is(err, keystone.ErrNotFound) {
		o.State = missing
		return nil
	}
	if err != nil {
		return err
	}
	if o.Name == b.setup.Domain {
		b.domain = d.ID
	}
	if o.Name == b.setup.UserDomain {
		b.userDomain = d.ID
	}
	if d.Disabled {
		o.differ("it is disabled", openstack("domain set", [][]string{{"--enable"}}, d.ID))
	}
	return nil
}

func (b *Bootstrap) findProject(ctx context.Context, o *Object) (err error) {
	if b.userDomain == "" {
		o.State = missing
		return nil
	}
	b.project, err = b.one(ctx, o, "projects", b.userDomain,
		openstack("project set", [][]string{{"--enable"}, {"--domain", b.setup.UserDomain}}, o.Name))
	return err
}

func (b *Bootstrap) findUser(ctx context.Context, o *Object) (err error) {
	if b.userDomain == "" {
		o.State = missing
		return nil
	}
	b.user, err = b.one(ctx, o, "users", b.userDomain, openstack("user set", [][]string{{"--enable"}, {"--domain", b.setup.UserDomain}}, o.Name))
	return err
}

func (b *Bootstrap) findRegion(ctx context.Context, o *Object) error {
	found, err := conn.List[entity](ctx, b.cloud.Conn, conn.Listing{Op: "listing the regions", Path: "regions"})
	if err == nil && !slices.ContainsFunc(found, func(e entity) bool { return e.ID == o.Name }) {
		o.State = missing
	}
	return err
}

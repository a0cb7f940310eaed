// Package resources proves that a project is empty: the services of its cloud have no resources of the project.
//
// A [Prover] logs in with one credential, and asks every service in the catalog of this credential, in each region, for the
// resources of one project:
//
//	compute        servers, including servers that wait for their deletion (soft_deleted)
//	placement      allocations, including allocations of servers in a cell whose database is down; Nova's lists omit these servers
//	volumev3, block-storage
//	               volumes, snapshots, backups, groups
//	network        ports, networks, subnets, routers, floating IPs, security groups (without the group "default", which every project
//	               has), and all other resources that have a quota, such as subnet pools
//	image          images of every visibility, including community images and hidden images
//	object-store   containers, objects and bytes of the account
//
// A Prover does not ask for resources that use no capacity, such as key pairs and server groups. A Prover does not ask services and
// endpoints that are disabled in Keystone, because the catalog does not contain them.
//
// A Prover asks Keystone (type identity) only for the project. Billing (type billing) and Tenantry (types tenantry and
// subscription-orchestration) are exempt, and so are the service types that an operator ignores. An endpoint of type volume or volumev2 is
// exempt if volumev3 or block-storage has the same address in the same region: the endpoint is then an older interface of this service. If
// the catalog has any other type that a Prover cannot ask, the project is not proven empty.
//
// # Not proven
//
// An empty list proves nothing if the service omits resources. Therefore a project is not proven empty in the following cases:
//
//   - A request is answered with a status other than 200, is answered too late, or is not answered. A 404 for a list does not mean
//     that the list is empty.
//   - The answer does not have the form that the service documents, is cut off, or exceeds a limit on its size or on the number of
//     pages.
//   - The list contains a resource of another project: the service does not honour the filter.
//   - A service in the catalog has no public endpoint in a region.
//   - A region has compute, but not placement.
//   - The Keystone of the credential does not know the project. Such a Keystone belongs to another cloud.
//   - The project is enabled, or was disabled less than [TokenCacheTime] ago.
//   - The credential's token is not scoped to a project. Keystone omits endpoints from the catalog of such a token.
//   - No answer shows that the credential sees the resources of other projects. If the credential does not see these resources, most
//     services do not refuse a request about another project. They answer with an empty list.
//
// Each service reacts differently to a credential that sees only its own project. A Prover notices such a credential as follows:
//
//   - Nova refuses all_tenants=1 with 403.
//   - Cinder ignores all_tenants=1 and project_id, and lists the credential's own resources. Cinder answers 403 to a request for the quota
//     of another project. The quota counts volumes, snapshots and backups. If the quota counts more resources than a list contains, the
//     list proves nothing.
//   - Neutron returns an empty list. Neutron answers 403 to a request for the details of another project's quota. The Prover
//     compares the counts of the quota with the lists, as for Cinder.
//   - Glance lists the project's images that are public. The rule context_is_admin decides whether Glance lists all images, but no
//     answer of Glance shows the result of this rule. The Prover therefore also asks for the list of tasks. This list has the rule
//     tasks_api_access, which by default demands the role admin too.
//   - If the credential lacks the role reseller_admin_role, Swift answers 403 to a request for another project's account. The Prover
//     derives the name of the account from the last part of the catalog's URL: it replaces the id of the credential's project by the id of
//     the project that the proof is about. The Prover does not ask for accounts with another prefix.
//   - Placement answers 403 to a request for the allocations of another project.
//
// A policy that an operator has changed can make these proofs wrong. The credential should have the role admin, and
// reseller_admin_role in Swift.
//
// # Limits
//
// While an answer is read, its size, its number of values and its time are limited: see [upstream.Limits]. The number of pages, the
// number of endpoints and the time of a proof are limited, too. If a limit is exceeded, the project is not proven empty. The Prover
// follows no redirect, and no address in a link to the next page, because the token could reach another host.
//
// The package does not use gophercloud's clients of the services. These clients treat an answer without the expected list as an
// empty list. They send the token to any host that a link to the next page names, and read answers of any size.
package resources

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// TokenCacheTime is the maximum time for which services accept a cached token after the token's project was disabled. During this
// time, a user with a token can still create resources. The default of keystonemiddleware is 5 min.
const TokenCacheTime = 10 * time.Minute

// Service identifies the services of a cloud in errors. The class of a [Proof]'s error follows from the classes of its Unproven. This table
// lists the class of each answer:
//
//	403, 400 and most other 4xx                    Blocked      the credential lacks a role, or the service refuses the question
//	401                                            Unavailable  the service refuses a token that Keystone has just issued
//	404, 405, 410, 2xx except 200, 3xx             Unavailable  the address in the catalog is not the service's address
//	408, 425, 429                                  Transient    Retry-After is kept
//	502, 503, 504                                  Unavailable  Retry-After is kept
//	any other status                               Transient
//	refused, no such host, no TLS, no connection   Unavailable
//	reset, time-out, cut off                       Transient
//	not the documented form                        Unavailable  a proxy answers in place of the service
//	too long, too many values or pages             Blocked
//	resources of another project                   Blocked      the service ignores the filter
//	a quota that counts more than a list           Blocked
//	a service type that cannot be asked            Blocked
//	a fault of the catalog                         Blocked
//	the project is enabled, or unknown             Blocked
//	the project was disabled too recently          Transient    RetryAfter is the remaining time
var Service = upstream.Service{ID: "resources", Name: "The cloud"}

// Config configures a [Prover]. Only Cloud is required.
type Config struct {
	// Cloud has Keystone's address, the credential and the TLS settings. Cloud.MayWriteDomain is not needed, because the Prover
	// sends no writes.
	Cloud conn.Config
	// Ignore lists the service types that are not asked and need not be proven (TENANTRY_EMPTINESS_IGNORE).
	Ignore []string
	// Transport sends the requests to the services other than Keystone; nil means conn.NewTransport(Cloud.TLS). The requests to
	// Keystone go through Cloud.Base and Cloud.Enter.
	Transport http.RoundTripper
	// RequestTimeout limits the time of one request with its answer; zero means 30 s.
	RequestTimeout time.Duration
	// Timeout limits the time of one proof; zero means 5 min.
	Timeout time.Duration
	// Now returns the time; nil means time.Now.
	Now func() time.Time
}

// Prover proves that projects are empty. A Prover is safe for concurrent use, and sends only logins and reads.
type Prover struct {
	cfg    Config
	cloud  keystone.Cloud
	client *http.Client
}

// New returns a Prover, but sends no request. New reports all faults of the configuration in one error.
func New(cfg Config) (*Prover, error) {
	cloud, err := clouds.Open(cfg.Cloud)
	if err != nil {
		return nil, err
	}
	if cfg.Transport == nil {
		cfg.Transport = conn.NewTransport(cfg.Cloud.TLS)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.RequestTimeout, cfg.Timeout = cmp.Or(cfg.RequestTimeout, 30*time.Second), cmp.Or(cfg.Timeout, 5*time.Minute)
	cfg.Ignore = slices.Clone(cfg.Ignore)
	return &Prover{cfg: cfg, cloud: cloud, client: &http.Client{
		Transport:     cfg.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Empty asks all services for the resources of a project that was disabled at the given time. The fault of one service is not an
// error: the Proof names the service, and the State of the Proof is not [Empty]. If the project was disabled less than
// [TokenCacheTime] ago, Empty sends no request, and the Proof says when to ask again.
//
// Empty returns an error and the zero Proof in these cases: the login to Keystone fails, ctx ends, the id is not valid, or the time is
// zero. The error is an [*upstream.Error]. Empty may be repeated. Each call logs in again.
//
// The Proof is valid for the time of the call. If the project is enabled afterwards, the Proof is void.
func (p *Prover) Empty(ctx context.Context, projectID string, disabledAt time.Time) (Proof, error) {
	invalid := &upstream.Error{Service: Service, Class: upstream.Permanent, Op: opOf("")}
	if !keystone.ValidID(projectID) {
		invalid.Err = fmt.Errorf("%q is not the id of a project", upstream.Clean(projectID))
		return Proof{}, invalid
	}
	invalid.Op = opOf(projectID)
	if disabledAt.IsZero() {
		invalid.Err = errors.New("the time at which the project was disabled is missing")
		return Proof{}, invalid
	}
	proof := Proof{ProjectID: projectID, At: p.cfg.Now()}
	if wait := disabledAt.Add(TokenCacheTime).Sub(proof.At); wait > 0 {
		proof.Unproven = []Unproven{tooRecent(disabledAt, wait)}
		return proof, nil
	}
	return p.ask(ctx, proof, false)
}

// Look asks all services for the resources of a project that may be enabled. Users of an enabled project can create resources at
// any time, so the Proof is valid for the time of the call alone. In all other respects, Look is like [Prover.Empty].
func (p *Prover) Look(ctx context.Context, projectID string) (Proof, error) {
	if !keystone.ValidID(projectID) {
		return Proof{}, &upstream.Error{
			Service: Service, Class: upstream.Permanent, Op: opOf(""), Err: fmt.Errorf("%q is not the id of a project", upstream.Clean(projectID)),
		}
	}
	return p.ask(ctx, Proof{ProjectID: projectID, At: p.cfg.Now()}, true)
}

// The method `ask` asks all services, and stops at the time limit of a proof.
func (p *Prover) ask(ctx context.Context, proof Proof, mayBeEnabled bool) (Proof, error) {
	limited, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	err := p.prove(limited, &proof, mayBeEnabled)
	if ended := ctx.Err(); ended != nil {
		err = &upstream.Error{Service: Service, Class: upstream.Transient, Op: opOf(proof.ProjectID), Err: ended}
	}
	if err != nil {
		return Proof{}, err
	}
	return proof, nil
}

// The method `prove` asks the cloud, and adds the answers to the Proof.
func (p *Prover) prove(ctx context.Context, proof *Proof, mayBeEnabled bool) error {
	access, err := p.cloud.Access(ctx)
	if err != nil {
		return err
	}
	p.identity(ctx, access, proof, mayBeEnabled)
	a := asker{
		client: p.client, timeout: p.cfg.RequestTimeout, now: p.cfg.Now,
		token: access.Token, own: access.ProjectID, project: proof.ProjectID,
	}
	for _, e := range endpoints(access.Catalog, access.ProjectID, p.cfg.Ignore) {
		a.ask(ctx, e, proof)
	}
	return nil
}

// The method `identity` asks Keystone for the project.
func (p *Prover) identity(ctx context.Context, access keystone.Access, proof *Proof, mayBeEnabled bool) {
	q := &inquiry{Service: ServiceAsked{Type: "identity", Exempt: "asked only for the project itself"}}
	if access.ProjectID == "" {
		q.fault("", blocked(fixScope, "the credential is not scoped to a project, so its catalog can lack endpoints"))
	}
	project, err := p.cloud.Project(ctx, proof.ProjectID)
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		q.fault("", blocked(fixCloud, "this cloud does not have the project"))
	case err != nil:
		q.fault("", ofKeystone(err))
	case project.Enabled && !mayBeEnabled:
		q.fault("", blocked(fixEnabled, "the project is enabled, so users can create resources in it"))
	}
	q.addTo(proof)
}

func opOf(projectID string) string {
	if projectID == "" {
		return "proving that a project is empty"
	}
	return fmt.Sprintf("proving that project %s is empty", projectID)
}

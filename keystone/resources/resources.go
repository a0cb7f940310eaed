// Package resources proves that a project is empty: that it has no resources left in the services of its cloud.
//
// A [Prover] logs in with one credential, and asks every service in the catalog of this credential, in each region, for the
// resources of one project:
//
//	compute        servers, also those that wait for their deletion (soft_deleted)
//	placement      allocations, also those of servers in a cell whose database is down: Nova's lists omit such servers
//	volumev3, block-storage
//	               volumes, snapshots, backups, groups
//	network        ports, networks, subnets, routers, floating IPs, security groups (without the group "default", which every project
//	               has), and whatever else has a quota and is used, such as subnet pools
//	image          images of every visibility, also community images and hidden images
//	object-store   containers, objects and bytes of the account
//
// Resources that use no capacity, such as key pairs and server groups, are not asked for. Services and endpoints that are disabled in
// Keystone are not in the catalog, and are not asked.
//
// Keystone (type identity) is only asked for the project. Billing (type billing) and Tenantry (type tenantry) are exempt, and so are
// the service types that an operator ignores. The types volume and volumev2 are exempt if volumev3 or block-storage has the same
// address in the same region, because they are then older interfaces of the same service. Every other service type that a Prover
// cannot ask leaves the project unproven.
//
// # Not proven
//
// An empty list proves nothing if the service omits resources. Therefore a project is not proven empty in the following cases:
//
//   - A request is answered with a status other than 200, too late, or not at all. A list that is 404 is no empty list.
//   - The answer does not have the form that the service documents, is cut off, or exceeds a limit on its size or on the number of
//     pages.
//   - The list contains a resource of another project: the service does not honour the filter.
//   - A service in the catalog has no public endpoint in a region.
//   - A region has compute, but not placement.
//   - The Keystone of the credential does not know the project. Such a Keystone belongs to another cloud.
//   - The project is enabled, or was disabled less than [TokenCacheTime] ago.
//   - The credential's token is not scoped to a project. Keystone omits endpoints from the catalog of such a token.
//   - The credential was not shown to see the resources of other projects. Most services do not refuse a filter for another
//     project, but answer with an empty list.
//
// Each service reacts differently to a credential that sees only its own project. A Prover notices such a credential as follows:
//
//   - Nova refuses all_tenants=1 with 403.
//   - Cinder ignores all_tenants=1 and project_id, and lists the credential's own resources. It refuses to show the quota of
//     another project with 403. The quota also counts volumes, snapshots and backups. If the quota counts more than a list has,
//     the list is not proven.
//   - Neutron returns an empty list. It refuses to show the details of another project's quota with 403. The Prover compares the
//     counts of the quota with the lists, as for Cinder.
//   - Glance lists the project's images that are public. No answer of Glance depends on the same rule (context_is_admin) and shows
//     its result. Therefore the Prover asks for the list of tasks. Its rule tasks_api_access demands the role admin by default, too.
//   - Swift refuses to show another project's account with 403, unless the credential has the role reseller_admin_role. The account
//     is the last part of the catalog's URL, with the id of the credential's project replaced. Accounts with a prefix other
//     than the catalog's are not asked.
//   - Placement refuses to show the allocations of another project with 403.
//
// A policy that an operator has changed can make these proofs wrong. The credential should have the role admin, and
// reseller_admin_role in Swift.
//
// # Limits
//
// Size, number of values and time of an answer are limited while the answer is read: see [upstream.Limits]. The number of pages, of
// endpoints and the time of a whole proof are limited, too. If a limit is exceeded, the project is not proven empty. Redirects, and
// the addresses in links to next pages, are not followed, because they could send the token to another host.
//
// The package does not use gophercloud's clients of the services. They take an answer without the expected list for an empty list,
// send the token to any host that a link to the next page names, and read answers of any size.
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
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// TokenCacheTime is the time for which the services may accept a token after its project was disabled, because they cache tokens. The
// default of keystonemiddleware is 5 min. Until then, a user with a token can still create resources.
const TokenCacheTime = 10 * time.Minute

// Service stands for the services of a cloud in the errors of this package. The class of a [Proof]'s error follows from the classes
// of its Unproven. This table lists the class of each answer:
//
//	403, 400 and most other 4xx                    Blocked      the credential lacks a role, or the service refuses the question
//	401                                            Unavailable  the service refuses a token that Keystone has just issued
//	404, 405, 410, 2xx except 200, 3xx             Unavailable  the address in the catalog is not that of the service
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
//	the project was disabled too recently          Transient    RetryAfter is the rest of the time
var Service = upstream.Service{ID: "resources", Name: "The cloud"}

// Config configures a [Prover].
type Config struct {
	// Cloud has Keystone's address, the credential and the TLS settings. The Prover sends no write: MayWriteDomain is not needed.
	Cloud v3.Config
	// Ignore lists the service types that are not asked and need not be proven (TENANTRY_EMPTINESS_IGNORE).
	Ignore []string
	// Transport sends the requests to the services other than Keystone; nil means v3.NewTransport(Cloud.TLS). The requests to
	// Keystone go through Cloud.Base and Cloud.Enter.
	Transport http.RoundTripper
	// RequestTimeout limits the time of one request with its answer; zero means 30 s.
	RequestTimeout time.Duration
	// Timeout limits the time of one proof; zero means 5 min.
	Timeout time.Duration
	// Now returns the time; nil means time.Now.
	Now func() time.Time
}

// Prover proves that projects are empty. It is safe for concurrent use. It sends no request but logins and reads.
type Prover struct {
	cfg    Config
	cloud  *v3.Cloud
	client *http.Client
}

// New returns a Prover, but sends no request. New reports all faults of the configuration in one error.
func New(cfg Config) (*Prover, error) {
	cloud, err := v3.New(cfg.Cloud)
	if err != nil {
		return nil, err
	}
	if cfg.Transport == nil {
		cfg.Transport = v3.NewTransport(cfg.Cloud.TLS)
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
// error: the Proof names the service, and its State is then not [Empty]. If the project was disabled less than [TokenCacheTime] ago,
// Empty sends no request, and the Proof says when to ask again.
//
// Empty returns an error, and the zero Proof, if it cannot log in to Keystone, if ctx ends, if the id is not valid, or if the time is
// zero. The error is an [*upstream.Error]. Empty may be repeated. Each call logs in again.
//
// The Proof is about the time of the call. If the project is enabled afterwards, the Proof says nothing any more.
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

// Look asks all services for the resources of a project that may be enabled. Users can create resources in it at any time, so the Proof
// is about the time of the call alone. Otherwise, Look is like [Prover.Empty].
func (p *Prover) Look(ctx context.Context, projectID string) (Proof, error) {
	if !keystone.ValidID(projectID) {
		return Proof{}, &upstream.Error{
			Service: Service, Class: upstream.Permanent, Op: opOf(""), Err: fmt.Errorf("%q is not the id of a project", upstream.Clean(projectID)),
		}
	}
	return p.ask(ctx, Proof{ProjectID: projectID, At: p.cfg.Now()}, true)
}

// The method `ask` asks all services, within the time limit of a proof.
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
func (p *Prover) identity(ctx context.Context, access v3.Access, proof *Proof, mayBeEnabled bool) {
	q := &inquiry{Service: ServiceAsked{Type: "identity", Exempt: "only asked for the project"}}
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

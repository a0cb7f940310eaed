package audit

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `upstreams` serves the Keystone, the BillingStack and the runs of a house. A test can let a call fail, or execute code before
// a call.
type upstreams struct {
	*house

	mu   sync.Mutex              // necessary, because an audit reads several lists concurrently
	at   func(call string) error // called before each call; if it returns an error, the call fails
	half bool                    // a list returns half of its objects before it fails
	cut  bool                    // Keystone cuts its lists of projects
	mine bool                    // the credential is for one domain, and Keystone answers as version 22 does
}

func (u *upstreams) before(call string) error {
	if u.at == nil {
		return nil
	}
	return u.at(call)
}

// The function `list` calls the function `take` for each object. If the test lets the call fail, `list` returns an error. If u.half is set,
// such a call first takes half of the objects.
func list[T any](u *upstreams, call string, all []T, take func(T)) error {
	err := u.before(call)
	if err != nil && !u.half {
		return err
	}
	if err != nil {
		all = all[:len(all)/2]
	}
	for _, one := range all {
		take(one)
	}
	return err
}

func forbidden() error {
	return &upstream.Error{Service: keystone.Service, Class: upstream.Blocked, Op: "reading", Err: keystone.ErrForbidden}
}

func notFound() error {
	return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: "reading", Err: keystone.ErrNotFound}
}

func (u *upstreams) Reach(context.Context) (keystone.Reach, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mine {
		return keystone.Reach{DomainID: domain}, u.before("Reach")
	}
	return keystone.Reach{System: true}, u.before("Reach")
}

func (u *upstreams) Domain(context.Context, string) (keystone.Domain, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return keystone.Domain{ID: domain}, u.before("Domain")
}

func (u *upstreams) EachProject(_ context.Context, domainID, prefix string, take func(keystone.Project)) (bool, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var all []keystone.Project
	for _, p := range u.cloud("default").projects {
		if p.DomainID == domainID && strings.HasPrefix(p.Name, prefix) {
			all = append(all, p.Project)
		}
	}
	if err := u.before("EachProject " + domainID); err != nil {
		return false, err
	}
	return !u.cut, list(u, "EachProject", all, take)
}

func (u *upstreams) EachAssignment(_ context.Context, f keystone.AssignmentFilter, take func(keystone.Granted)) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := slices.Clone(u.cloud("default").inherited)
	if f.ProjectID != "" {
		all = nil
	}
	for _, p := range u.cloud("default").projects {
		for _, g := range p.grants {
			if (f.ProjectID == "" || p.ID == f.ProjectID) && (f.UserID == "" || g.user == f.UserID) {
				all = append(all, keystone.Granted{RoleID: g.role, UserID: g.user, GroupID: g.group, ProjectID: p.ID})
			}
		}
	}
	return list(u, "EachAssignment", all, take)
}

func (u *upstreams) EachUser(_ context.Context, _ string, take func(keystone.User)) (bool, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var all []keystone.User
	for id, state := range u.cloud("default").users {
		if state != userGone {
			all = append(all, keystone.User{ID: id, Name: "name of " + id, DomainID: domain, Enabled: state == userEnabled})
		}
	}
	return true, list(u, "EachUser", all, take)
}

func (u *upstreams) AllRoles(context.Context) (all []keystone.Role, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, name := range u.cloud("default").roles {
		all = append(all, keystone.Role{ID: id, Name: name})
	}
	if u.mine {
		return nil, forbidden()
	}
	return all, u.before("AllRoles")
}

func (u *upstreams) Implied(context.Context) (map[string][]string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mine {
		return nil, forbidden()
	}
	return map[string][]string{"r-boss": {"r-admin"}, "r-admin": {"r-member"}}, u.before("Implied")
}

// Project implements [keystone.Inventory]. It also returns projects in other domains.
func (u *upstreams) Project(_ context.Context, id string) (keystone.Project, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.before("Project"); err != nil {
		return keystone.Project{}, err
	}
	if p := u.cloud("default").projects[id]; p != nil {
		return p.Project, nil
	}
	if u.mine {
		return keystone.Project{}, forbidden()
	}
	if p := u.cloud("default").elsewhere[id]; p != nil {
		return *p, nil
	}
	return keystone.Project{}, notFound()
}

func (u *upstreams) User(_ context.Context, id string) (keystone.User, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.before("User"); err != nil {
		return keystone.User{}, err
	}
	state := u.cloud("default").users[id]
	switch {
	case state != userGone && state != userUnknown:
	case u.mine:
		return keystone.User{}, forbidden()
	default:
		return keystone.User{}, notFound()
	}
	return keystone.User{ID: id, Name: "name of " + id, DomainID: domain, Enabled: state == userEnabled}, nil
}

// The type `bill` is the BillingStack of a house.
type bill struct{ *upstreams }

func (b bill) Merchant(_ context.Context, id string) (billing.Merchant, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return billing.Merchant{ID: id}, b.before("Merchant")
}

func absent() error {
	return &upstream.Error{Service: billing.Service, Class: upstream.Permanent, Op: "reading", Err: billing.ErrNotFound}
}

func (b bill) Customer(_ context.Context, merchant, id string) (billing.Customer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.before("Customer"); err != nil {
		return billing.Customer{}, err
	}
	if c := b.world.customers[id]; c != nil && c.merchant == merchant {
		return billing.Customer{ID: id, MerchantID: merchant}, nil
	}
	return billing.Customer{}, absent()
}

func (s *foundSubscription) shown(id string) billing.Subscription {
	return billing.Subscription{ID: id, PlanID: s.plan, CustomerID: s.customer, ResourceID: s.resource}
}

func (b bill) Subscription(_ context.Context, merchant, id string) (billing.Subscription, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.before("Subscription"); err != nil {
		return billing.Subscription{}, err
	}
	if s := b.world.subscriptions[id]; s != nil && s.merchant == merchant {
		return s.shown(id), nil
	}
	return billing.Subscription{}, absent()
}

func (b bill) SubscriptionsOf(_ context.Context, merchant, customer string) (all []billing.Subscription, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, s := range b.world.subscriptions {
		if s.merchant == merchant && s.customer == customer {
			all = append(all, s.shown(id))
		}
	}
	return all, b.before("SubscriptionsOf")
}

func (b bill) Plan(_ context.Context, merchant, id string) (billing.Plan, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.before("Plan"); err != nil {
		return billing.Plan{}, err
	}
	if !b.merchant(merchant).plans[id] {
		return billing.Plan{}, absent()
	}
	return billing.Plan{ID: id}, nil
}

func (b bill) EachCustomer(_ context.Context, merchant string, take func(billing.Customer)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []billing.Customer
	for id, c := range b.world.customers {
		if c.merchant == merchant {
			all = append(all, billing.Customer{ID: id, MerchantID: merchant})
		}
	}
	return list(b.upstreams, "EachCustomer", all, take)
}

func (b bill) EachSubscription(_ context.Context, merchant string, take func(billing.Subscription)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []billing.Subscription
	for id, s := range b.world.subscriptions {
		if s.merchant == merchant {
			all = append(all, s.shown(id))
		}
	}
	return list(b.upstreams, "EachSubscription", all, take)
}

func (b bill) EachPlanID(_ context.Context, merchant string, take func(string)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for id := range b.merchant(merchant).plans {
		all = append(all, id)
	}
	return list(b.upstreams, "EachPlanID", all, take)
}

// The type `shelf` is a store in memory, with the upstreams of one house. Package store has its own tests for its stores.
type shelf struct {
	Store

	*upstreams
	waiting  []Audit
	outcomes []Outcome
	findings map[string]Finding
	plans    []Plan
	beats    error
}

func (s *shelf) Create(_ context.Context, a Audit) error {
	if slices.ContainsFunc(s.waiting, func(other Audit) bool { return other.ID == a.ID }) {
		return ErrExists
	}
	s.waiting = append(s.waiting, a)
	return nil
}

func (s *shelf) Audits(context.Context, string, int) ([]Audit, error) {
	if len(s.waiting) == 0 {
		return nil, nil
	}
	return s.waiting[len(s.waiting)-1:], nil
}

func (s *shelf) Take(context.Context, string, time.Time, time.Time) (Audit, error) {
	for i := range s.waiting {
		if s.waiting[i].State == Pending {
			s.waiting[i].State = Running
			return s.waiting[i], nil
		}
	}
	return Audit{}, ErrNotFound
}

func (s *shelf) Beat(context.Context, string, string, time.Time, Progress) error { return s.beats }

func (s *shelf) Finish(_ context.Context, _ string, o Outcome) error {
	s.outcomes = append(s.outcomes, o)
	for _, f := range o.Seen {
		if s.findings[f.ID].Status != Accepted {
			f.Status = Known
		} else {
			f.Status, f.Acceptance = Accepted, s.findings[f.ID].Acceptance
		}
		s.findings[f.ID] = f
	}
	for _, id := range o.Resolved {
		delete(s.findings, id)
	}
	return nil
}

func (s *shelf) Findings(_ context.Context, f Filter) (page []Finding, err error) {
	for _, known := range s.findings {
		scope := Scope{f.MerchantID, f.CustomerID, f.Cloud, f.ProjectID}
		is := (len(f.Codes) == 0 || slices.Contains(f.Codes, known.Code)) && (len(f.Statuses) == 0 || slices.Contains(f.Statuses, known.Status))
		if known.ID > f.After && scope.contains(&known) && is {
			page = append(page, known)
		}
	}
	slices.SortFunc(page, func(a, b Finding) int { return strings.Compare(a.ID, b.ID) })
	return page[:min(len(page), f.Limit)], nil
}

func (s *shelf) CreatePlan(_ context.Context, p Plan) error {
	s.plans = append(s.plans, p)
	return nil
}

func (s *shelf) EachRun(_ context.Context, f RunFilter, take func(*saga.Run) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.before("EachRun"); err != nil {
		return err
	}
	for _, r := range slices.Clone(s.all) {
		made := f.Object == nil || slices.ContainsFunc(s.made[r.ID], func(e saga.Expected) bool { return e.Kind == f.Object.Kind && e.ID == f.Object.ID })
		if !made || slices.Contains(f.Except, r.Workflow) || f.ID != "" && f.ID != r.ID || f.Subject != "" && f.Subject != r.Subject || f.MerchantID != "" && f.MerchantID != r.Merchant {
			continue
		}
		if err := take(r); err != nil {
			return err
		}
	}
	return nil
}

func (s *shelf) EachUnmatched(_ context.Context, merchant string, take func(Unmatched) error) error {
	if err := s.before("EachUnmatched"); err != nil {
		return err
	}
	for _, u := range s.used {
		if u.MerchantID != merchant {
			continue
		}
		if err := take(u.Unmatched); err != nil {
			return err
		}
	}
	return nil
}

func (s *shelf) UnmatchedAmount(_ context.Context, u Unmatched) (string, error) {
	i := slices.IndexFunc(s.used, func(known foundUsage) bool { return known.Unmatched == u })
	return s.used[i].amount, s.before("UnmatchedAmount")
}

func (s *shelf) WaitingUsage(_ context.Context, merchant string, before time.Time) (w WaitingUsage, err error) {
	if s.unbilled.Since.Before(before) && merchant == "m1" {
		w = s.unbilled
	}
	return w, s.before("WaitingUsage")
}

// The type `shops` is a store with the merchants m1 and m2.
type shops struct{ merchants.Store }

func (shops) List(_ context.Context, f merchants.Filter) ([]merchants.Merchant, error) {
	if f.After != "" {
		return nil, nil
	}
	return []merchants.Merchant{{ID: "m1", Cloud: "default"}, {ID: "m2", Cloud: "default"}}, nil
}

func (shops) Merchant(_ context.Context, id string) (merchants.Merchant, error) {
	if id != "m1" && id != "m2" {
		return merchants.Merchant{}, merchants.ErrNotFound
	}
	return merchants.Merchant{ID: id, Cloud: "default"}, nil
}

var errAway = errors.New("away")

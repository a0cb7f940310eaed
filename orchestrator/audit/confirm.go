package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The method `confirm` reads the objects of all candidates again, each with a separate request, and returns the differences that
// still exist. If a list lacks an object, but the request for this object finds it, the object is not reported as absent. If an
// object has changed during the audit, its new state is compared.
//
// The argument `stored` contains the findings of older audits. A stored finding is resolved only after its objects are read again.
// Therefore `confirm` also reads the objects of these findings.
func (r *reading) confirm(ctx context.Context, compare func() []candidate, stored []Finding) ([]candidate, error) {
	first := compare()
	all := slices.Clone(stored)
	for i := range first {
		all = append(all, first[i].Finding)
	}
	subjects, strangers := r.bounded(r.concerned(all))
	if len(subjects)+len(strangers) == 0 {
		return first, ctx.Err() // nothing is read again, so nothing changes
	}
	done, total := 0, len(subjects)+len(strangers)
	for _, subject := range subjects {
		r.step("reading the differing objects again", done, total)
		if err := r.refresh(ctx, subject); err != nil {
			return nil, err
		}
		done++
	}
	for i := range strangers {
		r.step("reading the differing objects again", done, total)
		if err := r.refreshStranger(ctx, strangers[i]); err != nil {
			return nil, err
		}
		done++
	}
	if err := r.readTagsOfScope(ctx); err != nil {
		return nil, err
	}
	again, read := map[string]bool{}, map[Object]bool{}
	for i := range first {
		again[first[i].ID] = true
	}
	for _, s := range strangers {
		read[s.Object] = true
	}
	return slices.DeleteFunc(compare(), func(c candidate) bool {
		_, concerned := slices.BinarySearch(subjects, c.subject)
		return !again[c.ID] && !concerned && !slices.ContainsFunc(c.Objects, func(o Object) bool { return read[o] })
	}), ctx.Err()
}

// maxAgain is the maximum number of subjects that are read again. It is also the maximum number of other objects that are read
// again. Each subject and each object takes several requests.
const maxAgain = 2_000

// The method `bounded` leaves out the subjects and objects beyond the maximum. Nothing is reported about them.
func (r *reading) bounded(subjects []string, strangers []stranger) ([]string, []stranger) {
	if len(subjects) <= maxAgain && len(strangers) <= maxAgain {
		return subjects, strangers
	}
	r.note(Gap{Code: GapTooManyFindings, Detail: fmt.Sprintf("the audit found differences in %d customers and %d other objects: it read at most %[3]d customers and at most %[3]d other objects again",
		len(subjects), len(strangers), maxAgain)})
	for _, subject := range subjects[min(len(subjects), maxAgain):] {
		r.live[subject] = "a limit of the audit"
	}
	for _, s := range strangers[min(len(strangers), maxAgain):] {
		r.unread[object(s.Kind, s.ID, "")] = true
	}
	return subjects[:min(len(subjects), maxAgain)], strangers[:min(len(strangers), maxAgain)]
}

// The type `stranger` is an object that is not in the ledger.
type stranger struct {
	Object
	cloud, merchant string
}

// The method `concerned` returns the subjects of the findings, and the objects without a subject.
func (r *reading) concerned(all []Finding) (subjects []string, strangers []stranger) {
	for i := range all {
		f := &all[i]
		if f.Code == SuspectAbsence || f.Code.ofUsage() { // no upstream is asked about usage
			continue
		}
		about := []Object{object(kindProject, f.ProjectID, ""), object(kindCustomer, f.CustomerID, "")}
		for _, o := range about {
			if subject := r.subjectOf(f.Cloud, o); subject != "" {
				subjects = append(subjects, subject)
			}
		}
		for _, o := range f.Objects {
			if subject := r.subjectOf(f.Cloud, o); subject != "" {
				subjects = append(subjects, subject)
			} else if o.Kind == kindProject || o.Kind == kindSubscription || o.Kind == kindCustomer {
				strangers = append(strangers, stranger{o, f.Cloud, f.MerchantID})
			}
		}
	}
	slices.Sort(subjects)
	slices.SortFunc(strangers, func(a, b stranger) int {
		return slices.Compare([]string{a.Kind, a.ID, a.Name, a.cloud, a.merchant}, []string{b.Kind, b.ID, b.Name, b.cloud, b.merchant})
	})
	return slices.Compact(subjects), slices.Compact(strangers)
}

// subjectOf returns the subject of the runs about an object. If no run is about the object, the result is empty.
func (r *reading) subjectOf(cloud string, o Object) string {
	if subject := r.pending[left{o.Kind, cloudOf(o.Kind, cloud), o.ID}]; subject != "" {
		return subject
	}
	switch o.Kind {
	case kindCustomer:
		if c := r.ledger.customers[o.ID]; c != nil {
			return c.subject
		}
	case kindSubscription:
		if s := r.ledger.subscriptions[o.ID]; s != nil {
			return s.subject
		}
		if s := r.world.subscriptions[o.ID]; s != nil && r.ledger.customers[s.customer] != nil {
			return r.ledger.customers[s.customer].subject
		}
	case kindProject:
		if t := r.tenants[ref{cloud, o.ID}]; t != nil {
			return t.subject
		}
	}
	return ""
}

// The constant `patience` is the maximum number of times that refresh reads a subject. If a run about the subject is stored while
// refresh reads the subject, refresh reads the subject again.
const patience = 3

// The method `refresh` reads the runs and the objects of a subject again. If a run is changing the objects, or if an upstream does not
// answer, the subject counts as busy, and nothing is reported about it.
func (r *reading) refresh(ctx context.Context, subject string) error {
	for range patience {
		before, err := r.readSubject(ctx, subject)
		if err != nil || r.busy(subject) {
			return err
		}
		if err := r.readObjects(ctx, subject); err != nil {
			r.live[subject] = "an upstream that did not answer"
			r.note(Gap{Code: GapKeystoneUnavailable, Detail: "reading objects again: " + err.Error()})
			return ctx.Err()
		}
		after, err := r.readSubject(ctx, subject)
		if err != nil || r.busy(subject) || slices.Equal(before, after) {
			return err
		}
	}
	r.live[subject] = "a run that was stored while the audit was reading"
	return nil
}

// readSubject reads the runs about a subject again, and returns the versions of the runs.
func (r *reading) readSubject(ctx context.Context, subject string) (versions []int64, err error) {
	var runs []*saga.Run
	err = r.Store.EachRun(ctx, RunFilter{Subject: subject}, func(run *saga.Run) error {
		runs, versions = append(runs, run), append(versions, run.Version)
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.forget(subject)
	inSequence(runs)
	for _, run := range runs {
		r.addRun(run, map[string]bool{})
	}
	return versions, nil
}

// readObjects reads the objects of a subject again.
func (r *reading) readObjects(ctx context.Context, subject string) error {
	err := r.readTenants(ctx, subject)
	for _, id := range ofSubject(r.ledger.customers, subject, strings.Compare) {
		merchant := r.ledger.customers[id].merchant
		if err == nil {
			err = r.readCustomer(ctx, merchant, id)
		}
		if err == nil && !r.scope.All() {
			err = r.readOthers(ctx, merchant, id)
		}
	}
	for _, id := range ofSubject(r.ledger.subscriptions, subject, strings.Compare) {
		if err == nil {
			err = r.readSubscription(ctx, r.ledger.subscriptions[id].merchant, id)
		}
	}
	return err
}

// ofSubject returns the sorted keys of a subject's objects. Because the keys are sorted, the calls for these objects are always made in the
// same sequence.
func ofSubject[K comparable, V interface{ isOf(subject string) bool }](all map[K]V, subject string, compare func(a, b K) int) (keys []K) {
	for key, object := range all {
		if object.isOf(subject) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compare)
	return keys
}

// readTenants reads the tenants of a subject again, and all projects that have the name of one of these tenants.
func (r *reading) readTenants(ctx context.Context, subject string) error {
	for _, at := range ofSubject(r.tenants, subject, ref.compare) {
		t := r.tenants[at]
		if (!r.scope.All() || r.endedOnly) && !t.gone {
			if err := r.readNamed(ctx, t.cloud, t.domain, t.name); err != nil {
				return err
			}
		}
		same := append(slices.Clone(r.cloud(at.cloud).named[t.name]), at.id)
		slices.Sort(same)
		for _, id := range slices.Compact(same) {
			if err := r.readProject(ctx, ref{at.cloud, id}); err != nil {
				return err
			}
		}
		for _, role := range t.roles {
			if role.gone || t.gone {
				continue
			}
			if err := r.readUserAgain(ctx, at.cloud, role.user); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reading) readUserAgain(ctx context.Context, cloud, user string) error {
	inventory, err := r.Inventory(cloud)
	if err != nil {
		return err
	}
	err = r.readUser(ctx, r.cloud(cloud), inventory, user)
	if errors.Is(err, keystone.ErrForbidden) {
		return nil // nothing is reported about the user
	}
	return err
}

// readProject reads one project and its role assignments again.
func (r *reading) readProject(ctx context.Context, at ref) error {
	inventory, err := r.Inventory(at.cloud)
	if err != nil {
		return err
	}
	c := r.cloud(at.cloud)
	p, err := inventory.Project(ctx, at.id)
	if errors.Is(err, keystone.ErrForbidden) && r.reach[at.cloud].DomainID != "" {
		p, err = r.listed(ctx, inventory, at)
	}
	unread, absent := object(kindProject, at.id, ""), errors.Is(err, keystone.ErrNotFound)
	if err != nil && !absent {
		r.unread[unread] = true
		return err
	}
	delete(r.unread, unread)
	c.dropProject(at.id)
	delete(c.elsewhere, at.id)
	switch {
	case absent:
		c.elsewhere[at.id] = nil
		return nil
	case r.tenants[at] == nil && (!c.domains[p.DomainID] || !keystone.IsTenantName(p.Name)):
		c.elsewhere[at.id] = &p
		return nil
	}
	c.addProject(p)
	if !c.assignmentsRead {
		return nil
	}
	var users []string
	err = inventory.EachAssignment(ctx, keystone.AssignmentFilter{ProjectID: at.id}, func(g keystone.Granted) {
		c.addGrant(g)
		if g.UserID != "" {
			users = append(users, g.UserID)
		}
	})
	for _, user := range users {
		if err == nil {
			err = r.readUserAgain(ctx, at.cloud, user)
		}
	}
	return err
}

// The method `listed` looks up a project by its names instead of its id. If the token is for a domain, Keystone answers 403 to a
// request for the id of a project that does not exist. So only a list by name shows that the project is absent.
func (r *reading) listed(ctx context.Context, inventory keystone.Inventory, at ref) (found keystone.Project, err error) {
	absent := &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: "listing project " + at.id, Err: keystone.ErrNotFound}
	names := map[string]bool{}
	domain := r.reach[at.cloud].DomainID
	if t := r.tenants[at]; t != nil && t.domain == domain {
		names[t.name] = true
	}
	if p := r.cloud(at.cloud).projects[at.id]; p != nil && p.DomainID == domain {
		names[p.Name] = true
	}
	if len(names) == 0 { // the project's name is not known
		absent.Class, absent.Err = upstream.Blocked, keystone.ErrForbidden
		return found, absent
	}
	for name := range names {
		whole, err := inventory.EachProject(ctx, domain, name, func(p keystone.Project) {
			if p.ID == at.id {
				found = p
			}
		})
		if err == nil && !whole {
			absent.Class, absent.Err = upstream.Unavailable, nil
			absent.Message = "the list was cut"
			return found, absent
		}
		if err != nil || found.ID != "" {
			return found, err
		}
	}
	return found, absent
}

func (r *reading) readCustomer(ctx context.Context, merchant, id string) error {
	_, err := r.Billing.Customer(ctx, merchant, id)
	switch {
	case err == nil:
		r.world.customers[id] = &foundCustomer{merchant}
	case !errors.Is(err, billing.ErrNotFound):
		return err
	case r.world.customers[id] != nil && r.world.customers[id].merchant == merchant:
		delete(r.world.customers, id)
	}
	return nil
}

func (r *reading) readSubscription(ctx context.Context, merchant, id string) error {
	s, err := r.Billing.Subscription(ctx, merchant, id)
	switch {
	case errors.Is(err, billing.ErrNotFound):
		if known := r.world.subscriptions[id]; known != nil && known.merchant == merchant {
			delete(r.world.subscriptions, id)
		}
		return nil
	case err != nil:
		return err
	}
	r.takeSubscription(merchant, s)
	r.lookForResource(ctx, id, r.world.subscriptions[id])
	_, err = r.Billing.Plan(ctx, merchant, s.PlanID)
	switch {
	case err == nil:
		r.merchant(merchant).plans[s.PlanID] = true
	case errors.Is(err, billing.ErrNotFound), errors.Is(err, billing.ErrInvalid):
		delete(r.merchant(merchant).plans, s.PlanID)
	default:
		return err
	}
	return nil
}

// refreshStranger reads a stranger again. The runs that have made the stranger may have been stored after the ledger was read. Therefore
// refreshStranger also reads the subjects of these runs. If the stranger cannot be read, refreshStranger adds it to r.unread, and nothing
// is reported about it.
func (r *reading) refreshStranger(ctx context.Context, s stranger) error {
	err := r.readStranger(ctx, s)
	if err != nil && ctx.Err() == nil {
		r.gapOf(s.cloud, err)
		r.unread[object(s.Kind, s.ID, "")] = true
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	filters := []RunFilter{{Object: &saga.ObjectRef{Kind: s.Kind, ID: s.ID}}}
	if p := r.cloud(s.cloud).projects[s.ID]; p != nil && s.Kind == kindProject {
		for _, run := range keystone.RunsOfTags(p.Tags) {
			filters = append(filters, RunFilter{ID: run})
		}
	}
	var subjects []string
	for _, f := range filters {
		err := r.Store.EachRun(ctx, f, func(run *saga.Run) error {
			subjects = append(subjects, run.Subject)
			return nil
		})
		if err != nil {
			return err
		}
	}
	slices.Sort(subjects)
	for _, subject := range slices.Compact(subjects) {
		if err := r.refresh(ctx, subject); err != nil {
			return err
		}
	}
	return nil
}

// readStranger reads a stranger, and the objects that belong to the stranger.
func (r *reading) readStranger(ctx context.Context, s stranger) error {
	switch s.Kind {
	case kindCustomer:
		return r.readCustomer(ctx, s.merchant, s.ID)
	case kindSubscription:
		if err := r.readSubscription(ctx, s.merchant, s.ID); err != nil {
			return err
		}
		return r.readNamed(ctx, s.cloud, r.merchant(s.merchant).domain, keystone.SubscriptionTenant(s.ID))
	}
	if !keystone.ValidID(s.ID) {
		return nil
	}
	err := r.readProject(ctx, ref{s.cloud, s.ID})
	if p := r.cloud(s.cloud).projects[s.ID]; p != nil && err == nil {
		err = r.readOwner(ctx, p)
	}
	return err
}

// maxOwners is the maximum number of merchants that are searched for the owner of a project without a merchant tag.
const maxOwners = 50

// possibleOwners returns the merchants that may have the customer or subscription in a project's name. These are the merchants in the
// project's tags. If the tags name no known merchant, these are the merchants with tenants in the project's domain.
func (r *reading) possibleOwners(p *foundProject) (ids []string) {
	for _, id := range keystone.MerchantsOfTags(p.Tags) {
		if r.merchants[id] != nil {
			ids = append(ids, id)
		}
	}
	if len(ids) > 0 {
		return ids
	}
	for id, m := range r.merchants {
		if m.domain == p.DomainID {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids[:min(len(ids), maxOwners)]
}

// readOwner reads again the customer or subscription whose id is in the project's name.
func (r *reading) readOwner(ctx context.Context, p *foundProject) error {
	customerID, subscriptionID := keystone.TenantOf(p.Name)
	for _, merchant := range r.possibleOwners(p) {
		var err error
		if subscriptionID != "" {
			err = r.readSubscription(ctx, merchant, subscriptionID)
		} else {
			err = r.readCustomer(ctx, merchant, customerID)
		}
		if err != nil && !errors.Is(err, billing.ErrInvalid) {
			return err
		}
	}
	return nil
}

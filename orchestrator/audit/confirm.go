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

// confirm reads the objects of all candidates again, one by one, and returns what still differs about them. What a list lacks is thereby
// reported only if it is absent alone, too; and what changed while the audit was reading is compared as it is afterwards.
//
// The argument stored are the findings of older audits. What is no longer seen of them is read alone, too, before they are resolved.
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
		r.step("reading again what differs", done, total)
		if err := r.refresh(ctx, subject); err != nil {
			return nil, err
		}
		done++
	}
	for i := range strangers {
		r.step("reading again what differs", done, total)
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

// maxAgain is the maximum number of subjects, and of other objects, that are read again. Each takes some requests.
const maxAgain = 2_000

// bounded leaves out the subjects and objects beyond the maximum. Nothing is said about them.
func (r *reading) bounded(subjects []string, strangers []stranger) ([]string, []stranger) {
	if len(subjects) <= maxAgain && len(strangers) <= maxAgain {
		return subjects, strangers
	}
	r.note(Gap{Code: GapTooManyFindings, Detail: fmt.Sprintf("something differs about %d customers and %d other objects: %d of each were read again",
		len(subjects), len(strangers), maxAgain)})
	for _, subject := range subjects[min(len(subjects), maxAgain):] {
		r.live[subject] = "a limit of the audit"
	}
	for _, s := range strangers[min(len(strangers), maxAgain):] {
		r.unread[object(s.Kind, s.ID, "")] = true
	}
	return subjects[:min(len(subjects), maxAgain)], strangers[:min(len(strangers), maxAgain)]
}

// stranger is an object that no run is known to have made.
type stranger struct {
	Object
	cloud, merchant string
}

// concerned returns the subjects of the findings, and the objects without a subject.
func (r *reading) concerned(all []Finding) (subjects []string, strangers []stranger) {
	for i := range all {
		f := &all[i]
		if f.Code == SuspectAbsence {
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

// subjectOf returns the subject of the runs about an object; empty if no run is about it.
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

// patience is how often a subject is read again, because a run about it was stored while it was read.
const patience = 3

// refresh reads all that is known about a subject again. If a run changes its objects meanwhile, or if an upstream does not answer, the
// subject counts as busy: nothing is said about it.
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

// readSubject reads the runs about a subject again, and returns their versions.
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

// ofSubject returns the keys of a subject's objects, sorted, so that the calls about them have the same sequence each time.
func ofSubject[K comparable, V interface{ isOf(subject string) bool }](all map[K]V, subject string, compare func(a, b K) int) (keys []K) {
	for key, object := range all {
		if object.isOf(subject) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compare)
	return keys
}

// readTenants reads the tenants of a subject again, with all projects that have their names.
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
		return nil // nothing is said about the user
	}
	return err
}

// readProject reads one project with its role assignments again.
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

// listed looks for a project in the lists of its names. With the token of a domain, Keystone answers 403 to the id of a project that does
// not exist, so that only a list shows that a project is absent.
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
	if len(names) == 0 { // in which list it would be is not known
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

// refreshStranger reads an object again that no run is known to have made, and all that is known about the runs that have made it: they
// may have been stored after the ledger was read. An object that cannot be read is unread: nothing is said about it.
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

// readStranger reads an object that no run has made, with what belongs to it.
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

// maxOwners is the maximum number of merchants at which the owner of a project without a merchant's tag is looked for.
const maxOwners = 50

// possibleOwners returns the merchants that may have the customer or subscription of a project's name: those of its tags or, without a
// known tag, those with tenants in the same domain.
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

// readOwner reads the customer or subscription of a project's name again.
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

package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// GapInProgress is the code of a gap: a run is changing the objects in the scope.
const GapInProgress = "in-progress"

// An audit of one customer or project fails with errNothingKnown if no run is about the customer or project, and Keystone does not have
// it.
var errNothingKnown = errors.New("no run of this installation is about the customer or project, and Keystone does not have the project")

// readOne reads the objects of one customer or one project, each with a request of its own. These objects are not compared with the
// objects of other customers. For example, a resource_id that two customers share is not reported.
func (r *reading) readOne(ctx context.Context) error {
	r.step("reading the objects", 0, 0)
	at := ref{r.scope.Cloud, r.scope.ProjectID}
	object := saga.ObjectRef{Kind: kindProject, ID: at.id}
	if r.scope.CustomerID != "" {
		object = saga.ObjectRef{Kind: kindCustomer, ID: r.scope.CustomerID}
	}
	subjects, of, err := r.runsAbout(ctx, object)
	if err != nil {
		return err
	}
	if r.scope.MerchantID != "" && !slices.Contains(of, r.scope.MerchantID) {
		of = append(of, r.scope.MerchantID)
	}
	var known []string
	for _, id := range of {
		m, err := r.Merchants.Merchant(ctx, id)
		if errors.Is(err, merchants.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		r.prepare(ctx, m)
		known = append(known, m.ID)
	}
	for _, subject := range subjects {
		if err := r.refresh(ctx, subject); err != nil {
			return err
		}
		if r.busy(subject) {
			r.note(Gap{Code: GapInProgress, Detail: r.busyWith(subject)})
		}
	}
	for _, m := range known {
		if err := r.readUnmatched(ctx, m); err != nil {
			return err
		}
	}
	if len(subjects) > 0 {
		return ctx.Err()
	}
	return r.readUnknown(ctx, at)
}

// readUnknown reads the project in the scope. Call readUnknown if no run is about the customer or project in the scope.
func (r *reading) readUnknown(ctx context.Context, at ref) error {
	if at.id == "" {
		return errNothingKnown
	}
	if _, err := r.Inventory(at.cloud); err != nil {
		return fmt.Errorf("cloud %q: %w", at.cloud, err)
	}
	r.readCloudAlone(ctx, at.cloud)
	if err := r.refreshStranger(ctx, stranger{object(kindProject, at.id, ""), at.cloud, ""}); err != nil {
		return err
	}
	if r.cloud(at.cloud).projects[at.id] == nil && r.missing() == "" {
		return errNothingKnown
	}
	return ctx.Err()
}

// runsAbout returns the subjects and the merchants of the runs that have made, adopted or removed an object.
func (r *reading) runsAbout(ctx context.Context, object saga.ObjectRef) (subjects, of []string, err error) {
	err = r.Store.EachRun(ctx, RunFilter{MerchantID: r.scope.MerchantID, Object: &object}, func(run *saga.Run) error {
		subjects, of = append(subjects, run.Subject), append(of, run.Merchant)
		return nil
	})
	slices.Sort(subjects)
	slices.Sort(of)
	return slices.Compact(subjects), slices.Compact(of), err
}

// The method `prepare` marks the lists of a merchant and its cloud as completely read, although only single objects are read. So the
// comparison assesses these objects.
func (r *reading) prepare(ctx context.Context, m merchants.Merchant) {
	here := r.merchant(m.ID)
	here.cloud = m.Cloud
	switch _, err := r.Billing.Merchant(ctx, m.ID); {
	case errors.Is(err, billing.ErrNotFound):
		r.note(Gap{Code: GapMerchantUnknown, MerchantID: m.ID, Detail: "BillingStack does not have the merchant"})
	case err != nil:
		r.failed(err)
		r.note(Gap{Code: GapBillingUnavailable, MerchantID: m.ID, Detail: err.Error()})
	default:
		here.customersRead, here.subscriptionsRead, here.plansRead = true, true, true
	}
	if _, err := r.Inventory(m.Cloud); err != nil {
		r.failed(err)
		r.note(Gap{Code: GapCloudUnknown, Cloud: m.Cloud, MerchantID: m.ID, Detail: err.Error()})
		return
	}
	domain, err := r.FindDomain(ctx, m.Cloud, cmp.Or(m.Domain, r.Domain))
	if err != nil {
		r.gapOf(m.Cloud, err)
		return
	}
	here.domain = domain.ID
	r.cloud(m.Cloud).domains[domain.ID] = true
	r.readCloudAlone(ctx, m.Cloud)
}

// readCloudAlone reads the roles of a cloud. It marks the other lists of the cloud as completely read, although only single objects are
// read. So the comparison assesses these objects.
func (r *reading) readCloudAlone(ctx context.Context, name string) {
	c := r.cloud(name)
	if c.projectsRead {
		return
	}
	inventory, err := r.Inventory(name)
	if err != nil {
		r.failed(err)
		return
	}
	if _, err := r.reachOf(ctx, name, inventory); err != nil {
		r.gapOf(name, err)
		return
	}
	c.projectsRead, c.assignmentsRead, c.usersRead = true, true, true
	r.readRoles(ctx, name, c, inventory)
}

// readOthers reads the customer's subscriptions that are not in the ledger.
func (r *reading) readOthers(ctx context.Context, merchant, customer string) error {
	all, err := r.Billing.SubscriptionsOf(ctx, merchant, customer)
	for _, s := range all {
		if r.ledger.subscriptions[s.ID] == nil && err == nil {
			err = r.readSubscription(ctx, merchant, s.ID)
		}
	}
	return err
}

// readNamed reads the projects that have the name of a tenant, and adds the projects that are not known yet.
func (r *reading) readNamed(ctx context.Context, cloud, domainID, name string) error {
	inventory, err := r.Inventory(cloud)
	if err != nil || domainID == "" {
		return err
	}
	c := r.cloud(cloud)
	_, err = inventory.EachProject(ctx, domainID, name, func(p keystone.Project) {
		if p.Name == name && c.projects[p.ID] == nil {
			c.addProject(p)
		}
	})
	return err
}

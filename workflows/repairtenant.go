package workflows

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// repairTenant returns the steps that change or create a tenant.
func (d Deps) repairTenant() []saga.Step[Repair] {
	return []saga.Step[Repair]{
		{
			Name: "tag-project", After: []string{"check"}, Effect: saga.Changes,
			Each:   inActions(audit.TagProject),
			Find:   d.findTagged,
			Do:     d.tagProject,
			NoUndo: "the project was created with these tags",
		},
		{
			Name: "enable-project", After: []string{"check"}, Effect: saga.Changes,
			Each:   inActions(audit.EnableProject),
			Find:   d.findEnabledAgain,
			Do:     d.enableProject,
			NoUndo: "the project should be enabled",
		},
		{
			Name: "create-tenant", After: []string{"check"},
			Each:  inActions(audit.CreateTenant),
			Find:  d.findTenantAgain,
			Claim: func(o *Repair, _ string) string { return o.tenant().claim() },
			Do:    d.createTenantAgain,
			Undo:  func(ctx context.Context, o *Repair) error { return d.removeTenant(ctx, o.tenant()) },
		},
		{
			Name: "disable-project", After: []string{"create-tenant"}, Effect: saga.Changes,
			Each:  inRepairs(Repair.disabling),
			Find:  d.findDisabledAgain,
			Claim: func(o *Repair, _ string) string { return ClaimDisabled(o.tenant().claim()) },
			Do:    d.disableProject,
			Undo:  func(ctx context.Context, o *Repair) error { return d.enableIfDisabledBy(ctx, *o, o.RunID) },
		},
	}
}

// findTagged returns Made if the project has all tags that the repair adds, and none of the tags that the repair removes.
func (d Deps) findTagged(ctx context.Context, o *Repair) (saga.Found, error) {
	p, err := d.namedProject(ctx, o.held(), o.value("tenant"))
	if err != nil {
		return saga.Absent, ignoreGone(err)
	}
	add, remove := o.tags()
	if slices.ContainsFunc(add, func(tag string) bool { return !p.HasTag(tag) }) || slices.ContainsFunc(remove, p.HasTag) {
		return saga.Absent, nil
	}
	o.recordTenant(ctx)
	return saga.Made, nil
}

// The method `tags` returns the tags that the repair adds and removes.
func (o Repair) tags() (add, remove []string) {
	of := func(name string) []string {
		return slices.DeleteFunc(strings.Split(o.value(name), ","), func(tag string) bool { return tag == "" })
	}
	return of("add"), of("remove")
}

func (d Deps) tagProject(ctx context.Context, o *Repair) error {
	add, remove := o.tags()
	return d.change(ctx, *o, keystone.ProjectChange{Add: add, Remove: remove})
}

// The method `change` changes the tenant, and adds the tenant to the run's objects.
func (d Deps) change(ctx context.Context, o Repair, c keystone.ProjectChange) error {
	id, err := d.Identity(o.Entry.Cloud)
	if err != nil {
		return err
	}
	if _, _, err = id.ChangeProject(ctx, o.project(), c); err != nil {
		return o.tenantGone(err)
	}
	o.recordTenant(ctx)
	return nil
}

// tenantGone replaces ErrNotFound with a permanent error that names the tenant.
func (o Repair) tenantGone(err error) error {
	if !errors.Is(err, keystone.ErrNotFound) {
		return err
	}
	return StepError{upstream.Permanent, CodeTenantGone, o.text() + " no longer exists", saga.FixByOperator}
}

// recordTenant adds the tenant to the run's objects.
func (o Repair) recordTenant(ctx context.Context) {
	saga.CallOf(ctx).Made(saga.Object{Kind: "project", Cloud: o.Entry.Cloud, ID: o.tenantID(), Name: o.value("tenant"), Origin: saga.Adopted})
}

// findEnabledAgain returns Made if the project is enabled. The first step has checked that the project was disabled.
func (d Deps) findEnabledAgain(ctx context.Context, o *Repair) (saga.Found, error) {
	p, err := d.namedProject(ctx, o.held(), o.value("tenant"))
	if err != nil || !p.Enabled || slices.ContainsFunc(o.Marks, p.HasTag) {
		return saga.Absent, ignoreGone(err)
	}
	o.recordTenant(ctx)
	return saga.Made, nil
}

// enableProject enables the project, and removes the marks of the runs that have disabled it. It does not matter who has disabled the
// project.
func (d Deps) enableProject(ctx context.Context, o *Repair) error {
	return d.change(ctx, *o, keystone.ProjectChange{Enabled: new(true), Remove: o.Marks})
}

// findDisabledAgain returns Made if this run has disabled the project, and Usable if somebody else has disabled it.
func (d Deps) findDisabledAgain(ctx context.Context, o *Repair) (saga.Found, error) {
	if o.tenantID() == "" {
		return saga.Absent, nil
	}
	id, err := d.Identity(o.Entry.Cloud)
	if err != nil {
		return saga.Absent, err
	}
	p, err := id.Project(ctx, o.tenantID())
	if err != nil || p.Enabled {
		return saga.Absent, ignoreGone(err)
	}
	o.recordTenant(ctx)
	if p.HasTag(keystone.DisabledTag(o.RunID)) {
		return saga.Made, nil
	}
	return saga.Usable, nil
}

// disableProject disables the project and adds the mark of the run, even if the project is disabled already.
func (d Deps) disableProject(ctx context.Context, o *Repair) error {
	return d.change(ctx, *o, keystone.ProjectChange{Enabled: new(false), Add: []string{keystone.DisabledTag(o.RunID)}})
}

// enableIfDisabledBy undoes the disabling of a tenant. If the tenant has the mark of the run runID, enableIfDisabledBy removes the mark
// and enables the tenant. If the tenant was already disabled before the repair, the tenant stays disabled.
func (d Deps) enableIfDisabledBy(ctx context.Context, o Repair, runID string) error {
	if o.tenantID() == "" { // the tenant was not created
		return nil
	}
	id, err := d.Identity(o.Entry.Cloud)
	if err != nil {
		return err
	}
	mark := keystone.DisabledTag(runID)
	p, err := id.Project(ctx, o.tenantID())
	if err != nil || !p.HasTag(mark) {
		return ignoreGone(err)
	}
	c := keystone.ProjectChange{Remove: []string{mark}}
	if !keystone.HasTenantTags(p.Tags) { // one of Tenantry's tags is missing: the guard would refuse to write the other tags
		c.Remove = nil
	}
	if !o.WasDisabled {
		c.Enabled = new(true)
	}
	_, _, err = id.ChangeProject(ctx, o.project(), c)
	return ignoreGone(err)
}

// findTenantAgain returns Made if this run has created the tenant. findTenantAgain never adopts another project with this name: it
// returns Foreign instead.
func (d Deps) findTenantAgain(ctx context.Context, o *Repair) (saga.Found, error) {
	found, id, err := d.findTenant(ctx, o.tenant())
	switch found {
	case saga.Made:
		o.TenantID = id
	case saga.Usable, saga.Foreign:
		return saga.Foreign, o.nameTaken()
	case saga.Absent:
	}
	return found, err
}

func (o Repair) nameTaken() error {
	return StepError{upstream.Permanent, CodeInUse, "another project has the name " + o.value("tenant") + ": run an audit again, and create a new plan", saga.FixByOperator}
}

func (d Deps) createTenantAgain(ctx context.Context, o *Repair) error {
	of := "customer " + o.Entry.CustomerID
	if o.Entry.SubscriptionID != "" {
		of = "subscription " + o.Entry.SubscriptionID
	}
	id, err := d.Identity(o.Entry.Cloud)
	if err != nil {
		return err
	}
	t := o.tenant()
	p, own, err := id.EnsureProject(ctx, d.newProject(t, of))
	switch {
	case err != nil:
		return err
	case !own:
		return o.nameTaken()
	}
	saga.CallOf(ctx).Made(tenantObject(t, p, saga.Own))
	o.TenantID = p.ID
	return nil
}

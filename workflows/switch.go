package workflows

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Switch is the data of a run that disables or enables the tenant of a subscription. A Switch is stored as JSON, so fields may be
// added, but never removed or renamed.
type Switch struct {
	Held
	RunID      string `json:"run_id"`
	ByOperator bool   `json:"by_operator,omitempty"` // an operator has asked for the run

	// DisabledBy contains the run ids that [keystone.Project.DisabledBy] returns for the tenant. The first step sets this field.
	DisabledBy []string `json:"disabled_by,omitempty"`
}

// The method `project` returns the tenant as a parameter for calls of [keystone.Identity].
func (o Switch) project() keystone.Project {
	return keystone.Project{ID: o.TenantID, Name: o.tenantName(), DomainID: o.DomainID}
}

// The method `marks` returns the [keystone.DisabledTag] of each run in DisabledBy.
func (o Switch) marks() (tags []string) {
	for _, run := range o.DisabledBy {
		tags = append(tags, keystone.DisabledTag(run))
	}
	return tags
}

// SwitchResult is the part of a Switch that the API returns with a run.
type SwitchResult struct {
	SubscriptionID       string            `json:"subscription_id"`
	CustomerID           string            `json:"customer_id"`
	SubscriptionTenantID string            `json:"subscription_tenant_id"`
	State                SubscriptionState `json:"state"` // the subscription's state after the run has succeeded
}

// The type `switching` describes one of the two workflows that disable or enable a tenant: `suspend` or `resume`.
type switching struct {
	workflow string
	// The function `refused` returns the reason why a subscription in this state cannot be switched. If the subscription can be
	// switched, the result is nil.
	refused func(now Standing, byOperator bool) *AdmissionError
}

// The method `request` returns the [saga.Request] that starts a run for the order.
func (w switching) request(o Switch, runID string) saga.Request {
	o.RunID, o.DisabledBy = runID, nil
	return o.about(w.workflow, runID, o)
}

// The method `about` returns the [saga.Request] that starts a run about the subscription.
func (h Held) about(workflow, runID string, input any) saga.Request {
	return saga.Request{
		ID: runID, Workflow: workflow, Merchant: h.MerchantID, Cloud: h.Cloud, Subject: h.subject(), User: h.UserID,
		Doubles: workflow + " " + h.SubscriptionID, OnFailure: saga.FailureCompensates, Input: input,
	}
}

// admitSwitch checks that the subscription can be switched now, and returns the request for the run. If the parameter `byOperator` is
// true, an operator sent the request, and not the merchant's portal. admitSwitch also reads the tenant, so that the caller learns at
// once why the tenant cannot be switched.
func (d Deps) admitSwitch(ctx context.Context, w switching, m merchants.Merchant, subscriptionID string, byOperator bool) (saga.Request, error) {
	o, err := d.switchable(ctx, w, Switch{Held: Held{MerchantID: m.ID, SubscriptionID: subscriptionID}, ByOperator: byOperator})
	if err != nil {
		return saga.Request{}, err
	}
	return w.request(o, d.NewID()), nil
}

// retrySwitch admits the order of a compensated run again.
func (d Deps) retrySwitch(ctx context.Context, w switching, old Switch, runID string) (saga.Request, error) {
	o, err := d.switchable(ctx, w, old)
	if err != nil {
		return saga.Request{}, retryRefused(err)
	}
	return w.request(o, runID), nil
}

// The method `switchable` reads the standing of the subscription, and the runs that have disabled its tenant. The result is the order
// with these values. If the subscription or its tenant cannot be switched now, `switchable` returns an *AdmissionError.
func (d Deps) switchable(ctx context.Context, w switching, o Switch) (Switch, error) {
	now, err := d.Standing(ctx, o.MerchantID, o.SubscriptionID)
	if err != nil {
		return o, err
	}
	if refused := now.over(); refused != nil {
		return o, refused
	}
	if refused := w.refused(now, o.ByOperator); refused != nil {
		return o, refused
	}
	o.Held = now.Held
	p, err := d.project(ctx, o.Held)
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return o, refuse(CodeTenantGone, saga.FixByOperator, o.tenant()+" no longer exists")
	case err != nil:
		return o, err
	case !o.TenantOwn:
		return o, refuse(CodeTenantNotOurs, saga.FixByOperator, o.tenant()+" existed before the subscription: only the tenant's owner may disable the tenant")
	}
	if err := d.ours(o.Held, p); err != nil {
		return o, err
	}
	o.DisabledBy = p.DisabledBy()
	if !p.Enabled && len(o.DisabledBy) == 0 {
		return o, refuse(CodeTenantDisabled, saga.FixByOperator, o.tenant()+" is disabled, but not by Tenantry: enable it")
	}
	return o, nil
}

// The method `project` reads the subscription's tenant. If Keystone answers 404, `project` also looks the tenant up by its name,
// because a proxy or a lagging replica of Keystone's database may answer 404 for an existing project. If the look-up by name does not
// find the tenant either, the tenant counts as absent.
func (d Deps) project(ctx context.Context, h Held) (keystone.Project, error) {
	return d.namedProject(ctx, h, h.tenantName())
}

func (d Deps) namedProject(ctx context.Context, h Held, name string) (keystone.Project, error) {
	id, err := d.Identity(h.Cloud)
	if err != nil {
		return keystone.Project{}, unconfigured(err)
	}
	p, err := id.Project(ctx, h.TenantID)
	if !errors.Is(err, keystone.ErrNotFound) {
		return p, err
	}
	switch listed, listErr := id.FindProject(ctx, h.DomainID, name); {
	case errors.Is(listErr, keystone.ErrNotFound):
		return p, err
	case listErr != nil:
		return p, listErr
	case listed.ID == h.TenantID:
		return p, contradiction(keystone.Service, "Keystone lists project "+h.TenantID+", but answers that it does not exist")
	}
	return p, err
}

// The method `absent` is called after Keystone has answered that the tenant does not exist. If the tenant exists nevertheless,
// `absent` returns a contradiction.
func (d Deps) absent(ctx context.Context, h Held, name string) error {
	_, err := d.namedProject(ctx, h, name)
	if err == nil {
		return contradiction(keystone.Service, "Keystone shows project "+h.TenantID+", but answers that it does not exist")
	}
	return ignoreGone(err)
}

// The function `contradiction` returns the error for two answers of an upstream that contradict each other. The error is transient,
// so the call is tried again.
func contradiction(by upstream.Service, detail string) error {
	return &upstream.Error{Service: by, Class: upstream.Transient, MaybeDone: true, Op: "comparing two answers", Message: detail}
}

// The method `ours` returns an *AdmissionError if the tenant has lost its name or the installation's tag. Tenantry no longer changes such a
// tenant.
func (d Deps) ours(h Held, p keystone.Project) error {
	if p.Name != h.tenantName() || !p.HasTag(keystone.InstallationTag(d.Installation)) {
		return refuse(CodeTenantNotOurs, saga.FixByOperator, h.tenant()+" has lost its name or the tag "+keystone.InstallationTag(d.Installation))
	}
	return nil
}

// checkSwitch is the first step of the run. The step reads the subscription and its tenant again, because both may have changed
// since the order was accepted. The step stores the runs that have disabled the tenant.
func (d Deps) checkSwitch(ctx context.Context, w switching, o *Switch) error {
	now, err := d.switchable(ctx, w, *o)
	if err == nil {
		err = o.replaced(now.Held)
	}
	if err != nil {
		return permanently(err)
	}
	record(ctx, "subscription", o.SubscriptionID, "", saga.Adopted)
	o.DisabledBy = now.DisabledBy
	return nil
}

// The function `permanently` turns an *AdmissionError without a cause into a permanent error of a step. It returns all other errors
// unchanged.
func permanently(err error) error {
	if refused, ok := errors.AsType[*AdmissionError](err); ok && refused.Err == nil {
		return refused.asStep()
	}
	return err
}

// expectSwitched returns the expected tenant after a successful run.
func (o Switch) expectSwitched(step, enabled string) []saga.Expected {
	return []saga.Expected{{
		Object: saga.Object{Step: step, Kind: "project", Cloud: o.Cloud, ID: o.TenantID, Name: o.tenantName(), Origin: saga.Adopted},
		Fields: map[string]string{"domain_id": o.DomainID, "enabled": enabled},
	}}
}

func (o Switch) result(state SubscriptionState) any {
	return SwitchResult{o.SubscriptionID, o.CustomerID, o.TenantID, state}
}

// recordTenant adds the tenant to the run's objects.
func (o Switch) recordTenant(ctx context.Context) {
	saga.CallOf(ctx).Made(saga.Object{Kind: "project", Cloud: o.Cloud, ID: o.TenantID, Name: o.tenantName(), Origin: saga.Adopted})
}

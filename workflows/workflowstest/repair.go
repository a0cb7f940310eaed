package workflowstest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// repairTrials returns a trial for each action of a repair. Each trial first does the damage that its run repairs.
func repairTrials() []Trial {
	subscribed, suspended, closed := subscribeTrial(), suspendTrial(), closeTrial()
	all := []Trial{
		{
			Variant: "create-tenant",
			Follows: &subscribed,
			Damage: func(_ context.Context, g Ground, by ByHand) ([]saga.ObjectRef, error) {
				_, err := by.Keystone(http.MethodDelete, "/v3/projects/"+held(g).TenantID, "")
				return tenantOf(g), err
			},
			Request: repairs(audit.SubscriptionWithoutTenant, audit.CreateTenant, func(g Ground, h workflows.Held) map[string]string {
				return map[string]string{
					"tenant": tenantName(h), "domain_id": h.DomainID, "old_project_id": h.TenantID, "enabled": "true", "old_resource_id": h.TenantID,
					"subscription_id": h.SubscriptionID, "assign_001": h.UserID + "/" + h.Roles[0].ID + "/" + h.Roles[0].Name,
				}
			}),
			Do:      map[string]string{"create-tenant": Keystone, "assign-role/member": Keystone, "set-resource": Billing},
			Undo:    map[string]string{"create-tenant": Keystone, "assign-role/member": Keystone, "set-resource": Billing},
			Refused: "set-resource",
			Ends:    map[string]Ends{"do set-resource, 404": {Once: succeeded, Always: compensated}},
			Places: []Place{
				{Step: "check"},
				{Step: "create-tenant", Call: "POST projects bs-subscription"},
				{Step: "assign-role/member", Call: "PUT roles/member on bs-subscription"},
				{Step: "set-resource", Call: "PATCH subscriptions"},
				{Step: "create-tenant", Undo: true, Call: "DELETE projects bs-subscription"},
				{Step: "set-resource", Undo: true, Call: "PATCH subscriptions"},
			},
		},
		{
			Variant: "enable-project",
			Follows: &subscribed,
			Damage:  switchedBy("false"),
			Request: repairs(audit.TenantDisabled, audit.EnableProject, ownValues),
			Do:      map[string]string{"enable-project": Keystone}, Refused: "enable-project",
			Places: []Place{{Step: "enable-project", Call: "PATCH projects bs-subscription"}},
		},
		{
			Variant: "disable-project",
			Follows: &suspended,
			Damage:  switchedBy("true"),
			Request: repairs(audit.TenantEnabled, audit.DisableProject, ownValues),
			Do:      map[string]string{"disable-project": Keystone}, Refused: "disable-project",
			Places: []Place{{Step: "disable-project", Call: "PATCH projects bs-subscription"}},
		},
		{
			Variant: "tag-project",
			Follows: &subscribed,
			Damage: func(_ context.Context, g Ground, by ByHand) ([]saga.ObjectRef, error) {
				return tenantOf(g), retag(g, by, true, func(tags []string) []string {
					return slices.DeleteFunc(tags, func(tag string) bool { return tag == "tenantry" })
				})
			},
			Request: repairs(audit.TagMissing, audit.TagProject, func(g Ground, h workflows.Held) map[string]string {
				return with(ownValues(g, h), map[string]string{"add": "tenantry", "remove": ""})
			}),
			Do:     map[string]string{"tag-project": Keystone},
			Places: []Place{{Step: "tag-project", Call: "PATCH projects bs-subscription"}},
		},
		{
			Variant: "assign-role",
			Follows: &subscribed,
			Damage:  assignedBy(http.MethodDelete, 0),
			Request: repairs(audit.RoleMissing, audit.AssignRole, roleValues(0)),
			Do:      map[string]string{"assign-role/member": Keystone}, Refused: "assign-role/member",
			Undo:   map[string]string{"assign-role/member": Keystone},
			Places: []Place{{Step: "assign-role/member", Call: "PUT roles/member on bs-subscription"}},
		},
		{
			Variant: "revoke-role",
			Follows: &subscribed,
			Damage:  assignedBy(http.MethodPut, 1),
			Request: repairs(audit.RoleExtraUser, audit.RevokeRole, roleValues(1)),
			Do:      map[string]string{"revoke-role/bs-admin": Keystone}, Refused: "revoke-role/bs-admin",
			Ends:   map[string]Ends{"do revoke-role/bs-admin, 404": {Once: succeeded, Always: compensated}},
			Places: []Place{{Step: "revoke-role/bs-admin", Call: "DELETE roles/bs-admin on bs-subscription"}},
		},
		{
			Variant: "set-resource",
			Follows: &subscribed,
			Damage: func(ctx context.Context, g Ground, by ByHand) ([]saga.ObjectRef, error) {
				h := held(g)
				_, err := by.Billing.SetResource(ctx, h.MerchantID, h.SubscriptionID, lostResource)
				return []saga.ObjectRef{{Kind: subscription, ID: h.SubscriptionID}}, err
			},
			Request: repairs(audit.ResourcePlaceholder, audit.SetResource, func(_ Ground, h workflows.Held) map[string]string {
				return map[string]string{"subscription_id": h.SubscriptionID, "resource_id": h.TenantID, "old_resource_id": lostResource}
			}),
			Do:      map[string]string{"set-resource": Billing},
			Ends:    map[string]Ends{"do set-resource, 404": {Once: succeeded, Always: compensated}},
			Refused: "set-resource",
			Places:  []Place{{Step: "set-resource", Call: "PATCH subscriptions"}},
		},
		{
			Variant: "remove-tenant, which first disables",
			Follows: &subscribed,
			Damage:  subscriptionDeleted(false),
			Request: repairs(audit.TenantWithoutSubscription, audit.RemoveTenant, ownValues),
			Do:      map[string]string{"disable-project": Keystone}, Refused: "disable-project",
			Places: []Place{{Step: "disable-project", Call: "PATCH projects bs-subscription"}},
		},
		{
			Variant: "remove-tenant, after that",
			Follows: &subscribed,
			Damage:  subscriptionDeleted(true),
			Request: func(g Ground) saga.Request {
				q := repairs(audit.TenantWithoutSubscription, audit.RemoveTenant, ownValues)(g)
				return removal(q.Input.(workflows.Repair), g)
			},
			Do: map[string]string{"delete-tenant": Keystone}, Pivots: []string{"delete-tenant"},
			Places: []Place{
				{Step: "prove-empty"},
				{Step: "delete-tenant", Call: "DELETE projects bs-subscription"},
			},
		},
		{
			Variant: "remove-subscription",
			Follows: &closed,
			Damage: func(ctx context.Context, g Ground, by ByHand) ([]saga.ObjectRef, error) {
				refs, err := customerBack(ctx, g, by)
				if err != nil {
					return nil, err
				}
				h := held(g)
				_, err = by.Billing.EnsureSubscription(ctx, h.MerchantID, billing.Subscription{
					ID: h.SubscriptionID, CustomerID: h.CustomerID, PlanID: g.PlanID, ResourceID: lostResource, ResourceType: "tenant",
				})
				return append(refs, saga.ObjectRef{Kind: subscription, ID: h.SubscriptionID}), err
			},
			Request: repairs(audit.ObjectsLeft, audit.RemoveSubscription, func(_ Ground, h workflows.Held) map[string]string {
				return map[string]string{"subscription_id": h.SubscriptionID, "resource_id": lostResource}
			}),
			Do: map[string]string{"delete-subscription": Billing}, Pivots: []string{"delete-subscription"},
			Ends:   map[string]Ends{"do delete-subscription, 404": {Once: succeeded, Always: waitsForOperator}},
			Places: []Place{{Step: "delete-subscription", Call: "DELETE subscriptions"}},
		},
		{
			Variant: "remove-customer",
			Follows: &closed,
			Damage:  customerBack,
			Request: repairs(audit.ObjectsLeft, audit.RemoveCustomer, func(_ Ground, h workflows.Held) map[string]string {
				return map[string]string{"customer_id": h.CustomerID}
			}),
			Do: map[string]string{"delete-customer": Billing}, Pivots: []string{"delete-customer"},
			Ends: map[string]Ends{
				"do delete-customer, 404": {Once: succeeded, Always: waitsForOperator},
				"do delete-customer, 409": {Once: succeeded, Always: waitsForOperator}, // the client repeats the DELETE
			},
			Places: []Place{{Step: "delete-customer", Call: "DELETE customers"}},
		},
	}
	for i := range all {
		all[i].Define = func(d workflows.Deps) (*saga.Definition, error) { return saga.Define(workflows.RepairWorkflow(d)) }
	}
	return all
}

// The function `removal` returns the request of a run that removes a tenant. According to the request, the run g.First disabled the
// tenant about an hour ago.
func removal(o workflows.Repair, g Ground) saga.Request {
	end := saga.End{Now: g.Before.EndedAt.Add(hourAgo), RunID: g.First.ID}
	f := workflows.RepairWorkflow(workflows.Deps{}).Then(o, end)[0]
	return saga.Request{
		ID: g.RunID, Workflow: f.Workflow, Merchant: f.Merchant, Cloud: f.Cloud, Subject: f.Subject, User: f.User, Doubles: f.Doubles,
		OnFailure: saga.FailureCompensates, Input: f.Input,
	}
}

// lostResource is a resource_id that names no project.
const lostResource = "pending:lost"

// The function `repairs` returns the value of the field Request for the trial of a repair with the given action. The function `values`
// returns the values of the plan's entry.
func repairs(code audit.Code, action audit.RepairAction, values func(Ground, workflows.Held) map[string]string) func(Ground) saga.Request {
	return func(g Ground) saga.Request {
		h := held(g)
		e := audit.PlanEntry{
			FindingID: "finding", Code: code, Severity: audit.High, Cloud: h.Cloud, MerchantID: h.MerchantID, CustomerID: h.CustomerID,
			SubscriptionID: h.SubscriptionID, ProjectID: h.TenantID, RunID: g.Before.ID, Action: action, Values: values(g, h),
		}
		if action == audit.AssignRole || action == audit.RevokeRole {
			e.UserID = h.UserID
		}
		return workflows.RepairRequest("plan", e, g.Before.Subject, g.RunID)
	}
}

func tenantName(h workflows.Held) string { return keystone.SubscriptionTenant(h.SubscriptionID) }

func tenantValues(h workflows.Held) map[string]string {
	return map[string]string{"project_id": h.TenantID, "tenant": tenantName(h), "domain_id": h.DomainID}
}

func ownValues(g Ground, h workflows.Held) map[string]string {
	return with(tenantValues(h), map[string]string{"made_by": g.First.ID})
}

// roleValues returns the values of a repair that assigns the role g.Roles[n] to the subscriber, or revokes it.
func roleValues(n int) func(Ground, workflows.Held) map[string]string {
	return func(g Ground, h workflows.Held) map[string]string {
		return with(tenantValues(h), map[string]string{"user_id": h.UserID, "role_id": g.Roles[n].ID, "role": g.Roles[n].Name})
	}
}

// The function `with` returns a map with the entries of both maps.
func with(values, more map[string]string) map[string]string {
	all := maps.Clone(values)
	maps.Copy(all, more)
	return all
}

func tenantOf(g Ground) []saga.ObjectRef {
	return []saga.ObjectRef{{Kind: project, ID: held(g).TenantID}}
}

// switchedBy returns a damage that enables or disables the subscription's tenant.
func switchedBy(enabled string) func(context.Context, Ground, ByHand) ([]saga.ObjectRef, error) {
	return func(_ context.Context, g Ground, by ByHand) ([]saga.ObjectRef, error) {
		_, err := by.Keystone(http.MethodPatch, "/v3/projects/"+held(g).TenantID, fmt.Sprintf(`{"project": {"enabled": %s}}`, enabled))
		return tenantOf(g), err
	}
}

// The function `retag` changes the tags of the subscription's tenant, and enables or disables the tenant. If Tenantry uses Identity v2.0,
// the tags are in the description.
func retag(g Ground, by ByHand, enabled bool, change func(tags []string) []string) error {
	path := "/v3/projects/" + held(g).TenantID
	answer, err := by.Keystone(http.MethodGet, path, "")
	if err != nil {
		return err
	}
	var known struct {
		Project struct {
			Tags        []string `json:"tags"`
			Description string   `json:"description"`
		} `json:"project"`
	}
	if err := json.Unmarshal(answer, &known); err != nil {
		return err
	}
	fields := map[string]any{"enabled": enabled}
	if text, tags := keystone.TagsOfDescription(known.Project.Description); len(tags) > 0 {
		fields["description"] = keystone.Describe(text, change(tags))
	} else {
		fields["tags"] = change(known.Project.Tags)
	}
	body, err := json.Marshal(map[string]any{"project": fields})
	if err == nil {
		_, err = by.Keystone(http.MethodPatch, path, string(body))
	}
	return err
}

// assignedBy returns a damage that assigns the role g.Roles[n] to the subscriber, or revokes it.
func assignedBy(method string, n int) func(context.Context, Ground, ByHand) ([]saga.ObjectRef, error) {
	return func(_ context.Context, g Ground, by ByHand) ([]saga.ObjectRef, error) {
		h := held(g)
		ids := []string{h.TenantID, h.UserID, g.Roles[n].ID}
		path := fmt.Sprintf("/v3/projects/%s/users/%s/roles/%s", ids[0], ids[1], ids[2])
		_, err := by.Keystone(method, path, "")
		return []saga.ObjectRef{{Kind: roleAssignment, ID: strings.Join(ids, "/")}}, err
	}
}

// subscriptionDeleted returns a damage that deletes the subscription in BillingStack. If the parameter `disabled` is true, the damage
// also disables the tenant.
func subscriptionDeleted(disabled bool) func(context.Context, Ground, ByHand) ([]saga.ObjectRef, error) {
	return func(ctx context.Context, g Ground, by ByHand) ([]saga.ObjectRef, error) {
		h := held(g)
		refs := append(tenantOf(g), saga.ObjectRef{Kind: subscription, ID: h.SubscriptionID})
		_, err := by.Billing.RemoveSubscription(ctx, h.MerchantID, h.SubscriptionID)
		if err == nil && disabled {
			err = retag(g, by, false, func(tags []string) []string { return append(tags, keystone.DisabledTag(g.First.ID)) })
		}
		return refs, err
	}
}

// customerBack is a damage that creates a customer again after a run has removed the customer.
func customerBack(ctx context.Context, g Ground, by ByHand) ([]saga.ObjectRef, error) {
	h := held(g)
	_, err := by.Billing.EnsureCustomer(ctx, billing.Customer{ID: h.CustomerID, MerchantID: h.MerchantID, Name: "back", Currency: "eur", Language: "eng"})
	return []saga.ObjectRef{{Kind: customer, ID: h.CustomerID}}, err
}

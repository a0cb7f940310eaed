package workflows

import (
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// expectRepair returns the objects of the repair as a successful run leaves them.
func (d Deps) expectRepair(o Repair) []saga.Expected {
	e := o.Entry
	project := func(step string, fields map[string]string) []saga.Expected {
		fields["domain_id"] = o.value("domain_id")
		return []saga.Expected{{
			Object: saga.Object{Step: step, Kind: "project", Cloud: e.Cloud, ID: o.tenantID(), Name: o.value("tenant"), Origin: saga.Adopted},
			Fields: fields,
		}}
	}
	resource := saga.Expected{
		Object: saga.Object{Step: "set-resource", Kind: "subscription", ID: e.SubscriptionID, Origin: saga.Adopted},
		Fields: map[string]string{"resource_id": o.resource()},
	}
	switch e.Action {
	case audit.TagProject:
		return project("tag-project", map[string]string{})
	case audit.EnableProject:
		return project("enable-project", map[string]string{"enabled": "true"})
	case audit.DisableProject:
		return project("disable-project", map[string]string{"enabled": "false"})
	case audit.RemoveTenant:
		if o.removing() {
			return o.expectRemoved("delete-tenant")
		}
		return nil // the tenant is disabled for ten minutes only
	case audit.SetResource:
		return []saga.Expected{resource}
	case audit.AssignRole, audit.RevokeRole:
		return o.expectRoles()
	case audit.CreateTenant:
		all := []saga.Expected{
			d.expected(o.tenant(), "create-tenant", o.TenantID, true),
			{Gone: true, Object: saga.Object{Step: "create-tenant", Kind: "project", Cloud: e.Cloud, ID: o.value("old_project_id")}},
		}
		all[0].Fields["enabled"] = o.value("enabled")
		if e.SubscriptionID != "" && o.TenantID != "" {
			all = append(all, resource)
		}
		return append(all, o.expectRoles()...)
	case audit.RemoveSubscription:
		return []saga.Expected{{Gone: true, Object: saga.Object{Step: "delete-subscription", Kind: "subscription", ID: e.SubscriptionID}}}
	case audit.RemoveCustomer:
		if o.Kept == "" {
			return []saga.Expected{{Gone: true, Object: saga.Object{Step: "delete-customer", Kind: "customer", ID: e.CustomerID}}}
		}
	}
	return nil
}

// expectRemoved returns the tenant as an object that must no longer exist. If the finding says that the tenant's subscription or
// customer is missing, the result also contains the missing object.
func (o Repair) expectRemoved(step string) []saga.Expected {
	all := []saga.Expected{{Gone: true, Object: saga.Object{
		Step: step, Kind: "project", Cloud: o.Entry.Cloud, ID: o.tenantID(), Name: o.value("tenant"),
	}}}
	if o.Entry.Code == audit.TenantWithoutSubscription {
		all = append(all, saga.Expected{Gone: true, On: o.tenantID(), Object: saga.Object{Step: step, Kind: "subscription", ID: o.Entry.SubscriptionID}})
	}
	if o.Entry.Code == audit.TenantWithoutCustomer {
		all = append(all, saga.Expected{Gone: true, On: o.tenantID(), Object: saga.Object{Step: step, Kind: "customer", ID: o.Entry.CustomerID}})
	}
	return all
}

// expectRoles returns the roles that the run assigns or revokes.
func (o Repair) expectRoles() (all []saga.Expected) {
	if o.tenantID() == "" {
		return nil
	}
	step, gone, origin := "assign-role", false, saga.Own
	if o.does(audit.RevokeRole) {
		step, gone, origin = "revoke-role", true, saga.Adopted
	}
	for _, r := range o.roles() {
		a := keystone.Assignment{ProjectID: o.tenantID(), UserID: r.user, RoleID: r.role.ID}
		all = append(all, saga.Expected{Gone: gone, On: o.tenantID(), Object: saga.Object{
			Step: step + "/" + o.item(r), Kind: "role-assignment", Cloud: o.Entry.Cloud, ID: assignmentID(a), Name: r.role.Name, Origin: origin,
		}})
	}
	return all
}

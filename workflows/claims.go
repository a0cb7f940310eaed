package workflows

import "github.com/tenantry/tenantry/orchestrator/saga"

// The functions below return the keys of the effects that runs claim. A re-check of one run does not remove an effect that
// another run claims. All workflows use the same key for the same effect.

// ClaimCustomer returns the claim on a customer.
func ClaimCustomer(id string) string { return "customer " + id }

// ClaimSubscription returns the claim on a subscription.
func ClaimSubscription(id string) string { return "subscription " + id }

// ClaimTenant returns the claim on a project. The claim contains the project's name, because the id is not known before the
// project exists.
func ClaimTenant(cloud, domain, name string) string {
	return "project " + cloud + "/" + domain + "/" + name
}

// ClaimRole returns the claim on a user's role on a project. The argument tenantClaim is the claim on this project.
func ClaimRole(roleID, userID, tenantClaim string) string {
	return "role " + roleID + " of user " + userID + " on " + tenantClaim
}

// ClaimUser returns the claim on a user. The claim contains the user's name, because the id is not known before the user exists.
func ClaimUser(cloud, domain, name string) string { return "user " + cloud + "/" + domain + "/" + name }

// ClaimDisabled returns the claim on the disabled state of a tenant. The parameter tenantClaim is the claim on the tenant.
func ClaimDisabled(tenantClaim string) string { return "disabled " + tenantClaim }

// ClaimResource returns the claim on the resource of a subscription. Claims on different resources of the same subscription are
// opposites: see [saga.Setting].
func ClaimResource(subscriptionID, resourceID string) string {
	return saga.Setting("resource of subscription "+subscriptionID, resourceID)
}

// ClaimPlan returns the claim on the plan of a subscription. Claims on different plans of the same subscription are opposites: see
// [saga.Setting].
func ClaimPlan(subscriptionID, planID string) string {
	return saga.Setting("plan of subscription "+subscriptionID, planID)
}

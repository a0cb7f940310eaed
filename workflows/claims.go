package workflows

// What runs claim. A re-check of one run leaves what another run claims, whatever their workflows: the same effect has the
// same claim everywhere.

// ClaimCustomer names a customer.
func ClaimCustomer(id string) string { return "customer " + id }

// ClaimSubscription names a subscription.
func ClaimSubscription(id string) string { return "subscription " + id }

// ClaimTenant names a project: its id is not known before it exists.
func ClaimTenant(cloud, domain, name string) string {
	return "project " + cloud + "/" + domain + "/" + name
}

// ClaimRole names a user's role on a project, which is named by its own claim.
func ClaimRole(roleID, userID, tenantClaim string) string {
	return "role " + roleID + " of user " + userID + " on " + tenantClaim
}

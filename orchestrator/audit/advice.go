package audit

// resourceAdvice returns the advice for a subscription whose resource_id is wrong. The advice contains no command, because
// BillingStack has no command that sets the resource_id.
func resourceAdvice(subscriptionID, projectID string) string {
	return "set the resource_id of subscription " + subscriptionID + " in BillingStack to " + projectID
}

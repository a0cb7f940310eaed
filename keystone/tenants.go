package keystone

import (
	"regexp"
	"slices"
)

// The names and tags of the projects that Tenantry creates. They are spelled only here.
const (
	customerPrefix     = "bs-customer-"
	subscriptionPrefix = "bs-subscription-"

	serviceTag         = "tenantry"
	runTagPrefix       = "tenantry-run-"
	merchantTagPrefix  = "tenantry-merchant-"
	installationPrefix = "tenantry-installation-"
)

// CustomerTenant is the name of the tenant of a BillingStack customer.
func CustomerTenant(customerID string) string { return customerPrefix + customerID }

// SubscriptionTenant is the name of the tenant of a BillingStack subscription.
func SubscriptionTenant(subscriptionID string) string { return subscriptionPrefix + subscriptionID }

var tenantName = regexp.MustCompile(`^(` + customerPrefix + `|` + subscriptionPrefix + `)[^\s/]+$`)

// IsTenantName reports whether a project with this name may be Tenantry's.
func IsTenantName(name string) bool { return tenantName.MatchString(name) }

// RunTag is the tag of the projects that a run has created.
func RunTag(runID string) string { return runTagPrefix + runID }

// MerchantTag is the tag of a merchant's tenants.
func MerchantTag(merchantID string) string { return merchantTagPrefix + merchantID }

// InstallationTag is the tag of the tenants that an installation has created. An installation is all replicas of one database.
func InstallationTag(installationID string) string { return installationPrefix + installationID }

// TenantTags returns the tags of a project that a run of a merchant creates.
func TenantTags(runID, merchantID, installationID string) []string {
	tags := []string{serviceTag, RunTag(runID), MerchantTag(merchantID)}
	if installationID != "" { // empty for an order that was accepted before there were installation ids
		tags = append(tags, InstallationTag(installationID))
	}
	return slices.Clip(tags)
}

// anID matches ids: Keystone's own are 32 hex digits, those of users from LDAP 64, and the default domain's is "default".
var anID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,254}$`)

// ValidID reports whether the id may be put into the path of a URL.
func ValidID(id string) bool { return anID.MatchString(id) }

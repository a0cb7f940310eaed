package keystone

import (
	"regexp"
	"slices"
)

// The names and tags of the projects that Tenantry makes, spelled here alone.
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

// IsTenantName reports whether a project of this name may be Tenantry's.
func IsTenantName(name string) bool { return tenantName.MatchString(name) }

// RunTag is the tag of the projects that a run has made.
func RunTag(runID string) string { return runTagPrefix + runID }

// MerchantTag is the tag of a merchant's tenants.
func MerchantTag(merchantID string) string { return merchantTagPrefix + merchantID }

// InstallationTag is the tag of the tenants that one installation of Tenantry, all replicas of one database, has made.
func InstallationTag(installationID string) string { return installationPrefix + installationID }

// TenantTags are the tags of a project that a run of a merchant makes.
func TenantTags(runID, merchantID, installationID string) []string {
	tags := []string{serviceTag, RunTag(runID), MerchantTag(merchantID)}
	if installationID != "" { // an order that was accepted before there was one
		tags = append(tags, InstallationTag(installationID))
	}
	return slices.Clip(tags)
}

// anID is what ids look like: Keystone's own are 32 hex digits, those of users from LDAP 64, and the default domain's is "default".
var anID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,254}$`)

// ValidID reports whether the id may enter a URL's path.
func ValidID(id string) bool { return anID.MatchString(id) }

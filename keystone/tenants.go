package keystone

import (
	"regexp"
	"slices"
	"strings"
)

// These constants are parts of the names and tags of the projects that Tenantry creates.
const (
	customerPrefix     = "bs-customer-"
	subscriptionPrefix = "bs-subscription-"

	serviceTag         = "tenantry"
	runTagPrefix       = "tenantry-run-"
	merchantTagPrefix  = "tenantry-merchant-"
	installationPrefix = "tenantry-installation-"
	disabledTagPrefix  = "tenantry-disabled-"
)

// CustomerTenant returns the name of the tenant of a BillingStack customer.
func CustomerTenant(customerID string) string { return customerPrefix + customerID }

// SubscriptionTenant returns the name of the tenant of a BillingStack subscription.
func SubscriptionTenant(subscriptionID string) string { return subscriptionPrefix + subscriptionID }

var tenantName = regexp.MustCompile(`^(` + customerPrefix + `|` + subscriptionPrefix + `)[^\s/]+$`)

// TenantOf returns the id of the customer or of the subscription in a tenant's name. The other result is empty. If the name is not a
// tenant's name, both results are empty.
func TenantOf(name string) (customerID, subscriptionID string) {
	if !IsTenantName(name) {
		return "", ""
	}
	if id, found := strings.CutPrefix(name, customerPrefix); found {
		return id, ""
	}
	return "", strings.TrimPrefix(name, subscriptionPrefix)
}

// TenantPrefix is the beginning of all tenants' names.
const TenantPrefix = "bs-"

// IsTenantName reports whether the name has the format of a customer tenant's or subscription tenant's name.
func IsTenantName(name string) bool { return tenantName.MatchString(name) }

// RunTag returns the tag of the projects that a run creates.
func RunTag(runID string) string { return runTagPrefix + runID }

// MerchantTag returns the tag of a merchant's tenants.
func MerchantTag(merchantID string) string { return merchantTagPrefix + merchantID }

// InstallationTag returns the tag of the tenants that an installation creates.
func InstallationTag(installationID string) string { return installationPrefix + installationID }

// TenantTags returns the tags of a project that a run of a merchant creates.
func TenantTags(runID, merchantID, installationID string) []string {
	tags := []string{serviceTag, RunTag(runID), MerchantTag(merchantID)}
	if installationID != "" { // old releases of Tenantry stored orders without an installation id
		tags = append(tags, InstallationTag(installationID))
	}
	return slices.Clip(tags)
}

// RunsOfTags returns the ids of the runs in the tags. A run creates a tenant with one such tag, but another client may have added or
// removed tags.
func RunsOfTags(tags []string) []string { return idsOf(tags, runTagPrefix) }

// MerchantsOfTags returns the ids of the merchants in the tags.
func MerchantsOfTags(tags []string) []string { return idsOf(tags, merchantTagPrefix) }

// InstallationsOfTags returns the ids of the installations in the tags.
func InstallationsOfTags(tags []string) []string { return idsOf(tags, installationPrefix) }

// idsOf finds the tags that begin with the prefix, and returns the ids in these tags.
func idsOf(tags []string, prefix string) (ids []string) {
	for _, tag := range tags {
		if id, found := strings.CutPrefix(tag, prefix); found && id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// HasTenantTags reports whether the tags contain the service's tag, the tag of a run and the tag of a merchant. All projects that
// Tenantry creates have these tags. The result does not depend on installation tags, which old releases of Tenantry did not set.
func HasTenantTags(tags []string) bool {
	has := func(prefix string) bool {
		return slices.ContainsFunc(tags, func(tag string) bool { return len(tag) > len(prefix) && strings.HasPrefix(tag, prefix) })
	}
	return slices.Contains(tags, serviceTag) && has(runTagPrefix) && has(merchantTagPrefix)
}

// DisabledTag returns the mark of the projects that a run disables: see [Identity.DisableProject].
func DisabledTag(runID string) string { return disabledTagPrefix + runID }

// DisabledBy returns the sorted ids of the runs whose mark the project has. A mark does not mean that the project is disabled: if
// an administrator enables the project, the project keeps its marks.
func (p Project) DisabledBy() []string {
	var runs []string
	for _, tag := range p.Tags {
		if run, ok := strings.CutPrefix(tag, disabledTagPrefix); ok && run != "" {
			runs = append(runs, run)
		}
	}
	slices.Sort(runs)
	return runs
}

// tagsInDescription separates the description of a project from its tags in Identity v2.0, which has no tags. A tag contains neither "/"
// nor ",", so the last separator is the one that [Describe] has added.
const tagsInDescription = " / tags: "

// Describe returns the description of a tenant in Identity v2.0. It contains the text and the tags.
func Describe(text string, tags []string) string {
	return text + tagsInDescription + strings.Join(tags, ",")
}

// TagsOfDescription returns the text and the tags in a description: see [Describe]. A description without tags has only a text.
func TagsOfDescription(description string) (text string, tags []string) {
	at := strings.LastIndex(description, tagsInDescription)
	if at < 0 {
		return description, []string{}
	}
	text, list := description[:at], description[at+len(tagsInDescription):]
	if list == "" {
		return text, []string{}
	}
	return text, strings.Split(list, ",")
}

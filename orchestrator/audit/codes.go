package audit

// The codes of findings.
const (
	TenantWithoutCustomer     Code = "tenant-without-customer"
	TenantWithoutSubscription Code = "tenant-without-subscription"
	CustomerWithoutTenant     Code = "customer-without-tenant"
	SubscriptionWithoutTenant Code = "subscription-without-tenant"
	TenantDuplicate           Code = "tenant-duplicate"
	TenantRenamed             Code = "tenant-renamed"
	TenantDisabled            Code = "tenant-disabled"
	TenantEnabled             Code = "tenant-enabled"

	ResourcePlaceholder         Code = "resource-placeholder"
	ResourceNoProject           Code = "resource-no-project"
	ResourceOfOtherMerchant     Code = "resource-of-other-merchant"
	ResourceOfOtherSubscription Code = "resource-of-other-subscription"
	ResourceInForeignDomain     Code = "resource-in-foreign-domain"
	ResourceForeignProject      Code = "resource-foreign-project"
	ResourceShared              Code = "resource-shared"

	RoleMissing        Code = "role-missing"
	RoleExtraUser      Code = "role-extra-user"
	RoleExtraGroup     Code = "role-extra-group"
	RoleExtraInherited Code = "role-extra-inherited"
	RoleOfDeletedUser  Code = "role-of-deleted-user"
	RoleOfDisabledUser Code = "role-of-disabled-user"
	RoleAdmin          Code = "role-admin"
	SubscriberGone     Code = "subscriber-gone"

	TagMissing       Code = "tag-missing"
	TagOtherMerchant Code = "tag-other-merchant"
	TagUnknownRun    Code = "tag-unknown-run"

	PlanGone          Code = "plan-gone"
	PlanDiffers       Code = "plan-differs"
	CustomerMoved     Code = "customer-moved"
	SubscriptionMoved Code = "subscription-moved"

	ObjectsGone Code = "objects-gone"
	ObjectsLeft Code = "objects-left"
	RunWaits    Code = "run-waits"

	UsageUnmatched Code = "usage-unmatched"
	UsageAfterEnd  Code = "usage-after-end"
	UsageUnpriced  Code = "usage-unpriced"
	UsageDiffers   Code = "usage-differs"
	UsageWaiting   Code = "usage-waiting"

	SuspectAbsence Code = "suspect-absence"
)

// The type `part` is a list that an audit reads. If a list was not read completely, the findings that depend on the list are not
// assessed.
type part string

// The parts of a cloud, of a merchant, and of this installation.
const (
	partProjects      part = "projects"
	partAssignments   part = "role-assignments"
	partUsers         part = "users"
	partRoles         part = "roles"
	partImplied       part = "implied-roles"
	partCustomers     part = "customers"
	partSubscriptions part = "subscriptions"
	partPlans         part = "plans"
	partMerchants     part = "all-merchants" // the customers and subscriptions of all merchants
	partRuns          part = "all-runs"
	partUsage         part = "usage" // the unmatched usage, and the usage that waits to be billed
)

// The type `rule` contains the properties that all findings with the same code share. The package explain has the texts of the codes: who is
// affected, and the advice for a finding that has no advice of its own.
type rule struct {
	severity Severity
	needs    []part // the finding is opened or resolved only if all these lists were read completely
}

// needsOf returns the lists that a finding depends on. A finding with the code ObjectsLeft depends only on the list of its object's kind.
func needsOf(f *Finding) []part {
	if f.Code != ObjectsLeft {
		return rules[f.Code].needs
	}
	switch f.Objects[len(f.Objects)-1].Kind {
	case kindCustomer:
		return []part{partCustomers}
	case kindSubscription:
		return []part{partSubscriptions}
	case kindProject:
		return []part{partProjects}
	}
	return rules[f.Code].needs[:2]
}

var rules = map[Code]rule{
	TenantWithoutCustomer:     {Medium, []part{partProjects, partMerchants}},
	TenantWithoutSubscription: {High, []part{partProjects, partMerchants}},
	CustomerWithoutTenant:     {High, []part{partProjects, partCustomers}},
	SubscriptionWithoutTenant: {High, []part{partProjects, partSubscriptions}},
	TenantDuplicate:           {Medium, []part{partProjects, partSubscriptions, partRuns}},
	TenantRenamed:             {Medium, []part{partProjects}},
	TenantDisabled:            {High, []part{partProjects}},
	TenantEnabled:             {High, []part{partProjects}},

	ResourcePlaceholder:         {High, []part{partSubscriptions}},
	ResourceNoProject:           {High, []part{partSubscriptions, partProjects}},
	ResourceOfOtherMerchant:     {Critical, []part{partSubscriptions, partProjects}},
	ResourceOfOtherSubscription: {Critical, []part{partSubscriptions, partProjects}},
	ResourceInForeignDomain:     {Critical, []part{partSubscriptions, partProjects}},
	ResourceForeignProject:      {High, []part{partSubscriptions, partProjects}},
	ResourceShared:              {Critical, []part{partSubscriptions, partProjects, partMerchants}},

	RoleMissing:        {High, []part{partAssignments, partProjects, partUsers}},
	RoleExtraUser:      {Medium, []part{partAssignments, partProjects}},
	RoleExtraGroup:     {Medium, []part{partAssignments, partProjects}},
	RoleExtraInherited: {Medium, []part{partAssignments, partProjects}},
	RoleOfDeletedUser:  {Low, []part{partAssignments, partProjects, partUsers}},
	RoleOfDisabledUser: {Low, []part{partAssignments, partProjects, partUsers}},
	RoleAdmin:          {Critical, []part{partAssignments, partProjects, partRoles, partImplied}},
	SubscriberGone:     {High, []part{partProjects, partUsers}},

	TagMissing:       {Medium, []part{partProjects}},
	TagOtherMerchant: {High, []part{partProjects}},
	TagUnknownRun:    {Medium, []part{partProjects, partRuns}},

	PlanGone:          {High, []part{partSubscriptions, partPlans}},
	PlanDiffers:       {High, []part{partSubscriptions, partPlans}},
	CustomerMoved:     {Critical, []part{partMerchants}},
	SubscriptionMoved: {Critical, []part{partMerchants}},

	ObjectsGone: {High, []part{partMerchants, partProjects}},
	ObjectsLeft: {Medium, []part{partProjects, partAssignments, partCustomers, partSubscriptions}},
	RunWaits:    {Medium, nil},

	// The severity and the advice of unmatched usage depend on its reason. The severities in usageRules replace the severities here.
	UsageUnmatched: {High, []part{partUsage}},
	UsageAfterEnd:  {High, []part{partUsage}},
	UsageUnpriced:  {Medium, []part{partUsage}},
	UsageDiffers:   {High, []part{partUsage}},
	UsageWaiting:   {High, []part{partUsage}},

	SuspectAbsence: {High, nil},
}

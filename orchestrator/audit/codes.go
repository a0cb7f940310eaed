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

// The type `rule` contains the properties that all findings with the same code share.
type rule struct {
	severity Severity
	needs    []part // if one of these lists was not read completely, the finding is neither opened nor resolved
	affected string
	advice   string // used if the finding has no advice of its own
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

// Codes returns all codes.
func Codes() []Code {
	all := make([]Code, 0, len(rules))
	for code := range rules {
		all = append(all, code)
	}
	return all
}

var rules = map[Code]rule{
	TenantWithoutCustomer: {
		Medium,
		[]part{partProjects, partMerchants},
		"nobody pays for the resources in the tenant",
		"find out whether another installation of Tenantry or another BillingStack uses the tenant; if nobody needs it: disable it, check that it is empty, and delete it",
	},
	TenantWithoutSubscription: {
		High,
		[]part{partProjects, partMerchants},
		"the usage of the tenant is billed to nobody",
		"find out whether another installation of Tenantry or another BillingStack uses the tenant; if nobody needs it: disable it, check that it is empty, and delete it",
	},
	CustomerWithoutTenant: {
		High, []part{partProjects, partCustomers}, "the users of the customer cannot work in the customer's tenant", "create the tenant again",
	},
	SubscriptionWithoutTenant: {
		High, []part{partProjects, partSubscriptions}, "the subscriber cannot use the subscription, although it is paid for", "create the tenant again",
	},
	TenantDuplicate: {
		Medium,
		[]part{partProjects, partSubscriptions, partRuns},
		"usage of the second project is billed to nobody",
		"find out who made the project; if nobody needs it, delete it",
	},
	TenantRenamed:  {Medium, []part{partProjects}, "runs about the tenant do not find it by its name", ""},
	TenantDisabled: {High, []part{partProjects}, "the users of the tenant cannot work in it", "enable the project"},
	TenantEnabled: {
		High, []part{partProjects}, "the users of the tenant can work in it, although its subscription is suspended or has ended", "disable the project",
	},

	ResourcePlaceholder: {High, []part{partSubscriptions}, "the usage of the tenant is billed to nobody", "set the resource of the subscription"},
	ResourceNoProject: {
		High, []part{partSubscriptions, partProjects}, "the usage of the tenant is billed to nobody", "set the resource of the subscription",
	},
	ResourceOfOtherMerchant: {
		Critical, []part{partSubscriptions, partProjects}, "the customer pays for the usage of another merchant's customer", "set the resource of the subscription",
	},
	ResourceOfOtherSubscription: {
		Critical, []part{partSubscriptions, partProjects}, "the subscription pays for the usage of another subscription", "set the resource of the subscription",
	},
	ResourceInForeignDomain: {
		Critical, []part{partSubscriptions, partProjects}, "the customer pays for the usage of a project in another domain", "set the resource of the subscription",
	},
	ResourceForeignProject: {
		High, []part{partSubscriptions, partProjects}, "the customer pays for the usage of a project that is not the subscription's tenant", "set the resource of the subscription",
	},
	ResourceShared: {
		Critical, []part{partSubscriptions, partProjects, partMerchants}, "the usage of one tenant is billed to two subscriptions", "set the resource of the subscription whose resource is wrong",
	},

	RoleMissing:   {High, []part{partAssignments, partProjects, partUsers}, "the user lacks a right in the tenant", "assign the role"},
	RoleExtraUser: {Medium, []part{partAssignments, partProjects}, "the user has a right in the tenant, but no run has given it", "if the user needs the role, accept the finding; otherwise revoke the role"},
	RoleExtraGroup: {
		Medium, []part{partAssignments, partProjects}, "the users of the group have a right in the tenant, but no run has given it", "",
	},
	RoleExtraInherited: {
		Medium, []part{partAssignments, partProjects}, "somebody has a right in all tenants of the domain, but no run has given it", "",
	},
	RoleOfDeletedUser: {
		Low, []part{partAssignments, partProjects, partUsers}, "nobody at present; a new user with the same id would have the right", "revoke the role",
	},
	RoleOfDisabledUser: {
		Low, []part{partAssignments, partProjects, partUsers}, "the user cannot log in, and keeps the right", "enable the user, or end the subscription, or revoke the roles",
	},
	RoleAdmin: {
		Critical, []part{partAssignments, partProjects, partRoles, partImplied}, "most services treat an admin of one project as the admin of the whole cloud", "revoke the role",
	},
	SubscriberGone: {
		High,
		[]part{partProjects, partUsers},
		"the subscriber cannot use the customer's tenants; perhaps nobody can",
		"let another user subscribe for the customer, or end the subscriptions",
	},

	TagMissing:       {Medium, []part{partProjects}, "if tags are missing, Tenantry neither changes nor removes the tenant", "add the tags"},
	TagOtherMerchant: {High, []part{partProjects}, "runs of the other merchant treat the tenant as their own", "set the tags"},
	TagUnknownRun:    {Medium, []part{partProjects, partRuns}, "the run that has made the tenant is not known", "set the tags"},

	PlanGone:    {High, []part{partSubscriptions, partPlans}, "the subscription cannot be billed", ""},
	PlanDiffers: {High, []part{partSubscriptions, partPlans}, "the customer pays for a plan that nobody has ordered with Tenantry", ""},
	CustomerMoved: {
		Critical, []part{partMerchants}, "the customer pays another merchant", "move the customer back in BillingStack",
	},
	SubscriptionMoved: {
		Critical, []part{partMerchants}, "another customer pays for the subscription", "move the subscription back in BillingStack",
	},

	ObjectsGone: {High, []part{partMerchants, partProjects}, "a subscription that was ordered no longer exists", "find out who has removed the objects; let the user subscribe again"},
	ObjectsLeft: {Medium, []part{partProjects, partAssignments, partCustomers, partSubscriptions}, "nobody pays for the objects that are left", "remove the objects that are left"},
	RunWaits:    {Medium, nil, "the order of a customer is not completed", ""},

	// The rules of the reasons replace the severities, and the advice depends on the reason: see usageRules.
	UsageUnmatched: {High, []part{partUsage}, "the usage is billed to nobody", ""},
	UsageAfterEnd:  {High, []part{partUsage}, "the usage is billed to nobody", ""},
	UsageUnpriced:  {Medium, []part{partUsage}, "nobody pays for the usage unless it gets a price in BillingStack", ""},
	UsageDiffers:   {High, []part{partUsage}, "the customer pays for another amount", ""},
	UsageWaiting:   {High, []part{partUsage}, "the usage is billed to nobody until it no longer waits", ""},

	SuspectAbsence: {
		High, nil, "perhaps nobody: an upstream may show less than it has",
		"compare the upstream's address and credential with their earlier values; then audit again",
	},
}

package explain

import (
	"cmp"
	"strings"
)

// Finding returns the entry of a finding's code, and reports whether the table has it. A newer release may have stored another code. The
// fields Means and Do have phrases, not sentences, because an audit stores these phrases together with its own. The field Do is empty if an
// audit always has advice of its own.
func Finding(code string) (Entry, bool) {
	e, known := findings[code]
	return e, known
}

// Needless is the beginning of the advice about a role that nobody has ordered. A command follows.
const Needless = "if the role is needed, accept the finding; otherwise: "

// strange is the advice about a tenant that BillingStack does not know.
const strange = "find out whether another installation of Tenantry or another BillingStack uses the tenant; if nobody needs it: disable it," +
	" check that it is empty, and delete it"

// The reasons why Tenantry does not repair a finding by itself.
const (
	judgeOwner  = "Tenantry cannot know who needs the object."
	judgeGroup  = "The role assignment affects users or tenants that belong to no run, so Tenantry does not revoke it."
	judgeAmount = "Tenantry never changes usage that it has posted."
	judgePlan   = "Tenantry cannot know which plan the customer wants to pay for."
)

// The table of the codes of findings.
var findings = map[string]Entry{
	"tenant-without-customer": {
		What: "The customer of the tenant does not exist in BillingStack.", Why: judgeOwner, Means: "nobody pays for the resources in the tenant",
		FixBy: by(Operator), Do: do(strange),
	},
	"tenant-without-subscription": {
		What: "The subscription of the tenant does not exist in BillingStack.",
		Why:  judgeOwner, Means: "the usage of the tenant is billed to nobody",
		FixBy: by(Operator), Do: do(strange),
	},
	"customer-without-tenant": {
		What: "The customer's tenant does not exist in Keystone.", Means: "the users of the customer cannot work in the customer's tenant",
		FixBy: by(Operator), Do: do("create the tenant again"),
	},
	"subscription-without-tenant": {
		What:  "The subscription's tenant does not exist in Keystone.",
		Means: "the subscriber cannot use the subscription, although it is paid for",
		FixBy: by(Operator), Do: do("create the tenant again"),
	},
	"tenant-duplicate": {
		What: "A second project has the name of a tenant.", Why: judgeOwner, Means: "usage of the second project is billed to nobody",
		FixBy: by(Operator), Do: do("find out who made the project; if nobody needs it, delete it"),
	},
	"tenant-renamed": {
		What: "The tenant no longer has the name that Tenantry gave it.", Why: "Somebody may use the new name, so a person must decide.",
		Means: "runs about the tenant do not find it by its name", FixBy: by(Operator),
	},
	"tenant-disabled": {
		What: "The tenant is disabled, but not by Tenantry.", Means: "the users of the tenant cannot work in it",
		FixBy: by(Operator), Do: do("enable the project"),
	},
	"tenant-enabled": {
		What:  "The tenant of a suspended or ended subscription is enabled.",
		Means: "the users of the tenant can work in it, although its subscription is suspended or has ended",
		FixBy: by(Operator), Do: do("disable the project"),
	},

	"resource-placeholder": {
		What: "The `resource_id` of the subscription is not the id of a project.", Means: "the usage of the tenant is billed to nobody",
		FixBy: by(Operator), Do: do("set the resource of the subscription"),
	},
	"resource-no-project": {
		What: "The `resource_id` of the subscription names no project.", Means: "the usage of the tenant is billed to nobody",
		FixBy: by(Operator), Do: do("set the resource of the subscription"),
	},
	"resource-of-other-merchant": {
		What:  "The `resource_id` of the subscription names a tenant of another merchant.",
		Means: "the customer pays for the usage of another merchant's customer",
		FixBy: by(Operator), Do: do("set the resource of the subscription"),
	},
	"resource-of-other-subscription": {
		What:  "The `resource_id` of the subscription names the tenant of another subscription.",
		Means: "the subscription pays for the usage of another subscription", FixBy: by(Operator), Do: do("set the resource of the subscription"),
	},
	"resource-in-foreign-domain": {
		What:  "The `resource_id` of the subscription names a project in a domain without tenants.",
		Means: "the customer pays for the usage of a project in another domain",
		FixBy: by(Operator), Do: do("set the resource of the subscription"),
	},
	"resource-foreign-project": {
		What:  "The `resource_id` of the subscription names a project that is not a subscription's tenant.",
		Means: "the customer pays for the usage of a project that is not the subscription's tenant", FixBy: by(Operator),
		Do: do("set the resource of the subscription"),
	},
	"resource-shared": {
		What: "Several subscriptions have the same `resource_id`.", Means: "the usage of one tenant is billed to two subscriptions",
		FixBy: by(Operator), Do: do("set the resource of the subscription whose resource is wrong"),
	},

	"role-missing": {
		What:  "A user lacks a role that a run has assigned.",
		Means: "the user lacks a right in the tenant",
		FixBy: by(Operator), Do: do("assign the role"),
	},
	"role-extra-user": {
		What:  "A user has a role on a tenant, but no run has assigned this role.",
		Means: "the user has a right in the tenant, but no run has given it",
		FixBy: by(Operator), Do: do("if the user needs the role, accept the finding; otherwise revoke the role"),
	},
	"role-extra-group": {
		What: "A group has a role on a tenant, but no run has assigned this role.", Why: judgeGroup,
		Means: "the users of the group have a right in the tenant, but no run has given it", FixBy: by(Operator),
	},
	"role-extra-inherited": {
		What: "A user or a group has a role on all projects of a domain with tenants.", Why: judgeGroup,
		Means: "somebody has a right in all tenants of the domain, but no run has given it", FixBy: by(Operator),
	},
	"role-of-deleted-user": {
		What: "A user who no longer exists has a role on a tenant.", Means: "nobody has the right at present, but a new user with the same id would have it",
		FixBy: by(Operator), Do: do("revoke the role"),
	},
	"role-of-disabled-user": {
		What:  "A disabled user has roles on tenants.",
		Why:   "Tenantry cannot know whether the user comes back.",
		Means: "the user cannot log in, and keeps the right",
		FixBy: by(Operator), Do: do("enable the user, or end the subscription, or revoke the roles"),
	},
	"role-admin": {
		What:  "Somebody has the role `admin`, or a role that implies it, on a tenant or on all projects of a domain with tenants.",
		Means: "most services treat an admin of one project as the admin of the whole cloud", FixBy: by(Operator), Do: do("revoke the role"),
	},
	"subscriber-gone": {
		What: "The user to whom Tenantry has assigned roles no longer exists.", Why: "Tenantry cannot know who takes the user's place.",
		Means: "the subscriber cannot use the customer's tenants; perhaps nobody can", FixBy: by(Operator),
		Do: do("let another user subscribe for the customer, or end the subscriptions"),
	},

	"tag-missing": {
		What: "The tenant lacks one of Tenantry's tags.", Means: "if tags are missing, Tenantry neither changes nor removes the tenant",
		FixBy: by(Operator), Do: do("add the tags"),
	},
	"tag-other-merchant": {
		What: "The tenant has the tag of another merchant.", Means: "runs of the other merchant treat the tenant as their own",
		FixBy: by(Operator), Do: do("set the tags"),
	},
	"tag-unknown-run": {
		What:  "The tenant has the tag of an unknown run, or of a run that has not created the tenant.",
		Means: "the run that has made the tenant is not known", FixBy: by(Operator), Do: do("set the tags"),
	},

	"plan-gone": {
		What: "The subscription's plan no longer exists in BillingStack.",
		Why:  judgePlan, Means: "the subscription cannot be billed",
		FixBy: by(Operator),
	},
	"plan-differs": {
		What: "The subscription does not have the plan that Tenantry set last.", Why: judgePlan,
		Means: "the customer pays for a plan that nobody has ordered with Tenantry", FixBy: by(Operator),
	},
	"customer-moved": {
		What: "BillingStack has the customer under another merchant.", Why: "Tenantry never moves a customer to another merchant.",
		Means: "the customer pays another merchant", FixBy: by(Operator), Do: do("move the customer back in BillingStack"),
	},
	"subscription-moved": {
		What: "BillingStack has the subscription under another customer.", Why: "Tenantry never moves a subscription to another customer.",
		Means: "another customer pays for the subscription", FixBy: by(Operator), Do: do("move the subscription back in BillingStack"),
	},

	"objects-gone": {
		What: "A run has made or used the customer or subscription, but BillingStack no longer has it.",
		Why:  "The tenant no longer exists either, so there is nothing to restore.", Means: "a subscription that was ordered no longer exists",
		FixBy: by(Operator), Do: do("find out who has removed the objects; let the user subscribe again"),
	},
	"objects-left": {
		What:  "The object still exists, although a run has removed it or undone its creation.",
		Means: "nobody pays for the objects that are left",
		FixBy: by(Operator), Do: do("remove the objects that are left"),
	},
	"run-waits": {
		What: "A run has waited for a person for more than a day.", Why: "Only a person can decide what the run does next.",
		Means: "the order of a customer is not completed", FixBy: by(Operator),
	},

	"usage-unmatched": {
		What: "Usage is not billed, for one of these reasons: it has no subscription, BillingStack does not have the plan of the" +
			" subscription, there is no product or more than one product for the usage, or the usage has the wrong unit.",
		Why:   "A person must decide whom to bill, or what the merchant sells.",
		Means: "the usage is billed to nobody", FixBy: by(Operator),
	},
	"usage-after-end": {
		What: "The subscription's tenant was used after the end of the subscription. The usage is not billed.", Why: judgeAmount,
		Means: "the usage is billed to nobody", FixBy: by(Operator),
	},
	"usage-unpriced": {
		What: "Usage was posted without a price, because its product has no fixed price.", Why: judgeAmount,
		Means: "nobody pays for the usage until it gets a price in BillingStack", FixBy: by(Operator),
	},
	"usage-waiting": {
		What: "Usage of the merchant has waited for more than a day to be billed, or to be posted to BillingStack. The detail says since when" +
			" usage has waited, how much usage waits, and why the last attempt to bill it failed.",
		Why:   "Tenantry tries again by itself, but has not succeeded for a day.",
		Means: "nobody pays for the usage while it waits", FixBy: by(Operator),
	},
	"usage-differs": {
		What: "BillingStack has other numbers than Tenantry for usage that Tenantry has posted.", Why: judgeAmount,
		Means: "the customer pays for another amount", FixBy: by(Operator),
	},

	"suspect-absence": {
		What: "Very many objects seem to be absent, possibly because the upstream does not show all its objects. The audit therefore does not" +
			" report these objects as absent.",
		Why:   "If the objects exist, a repair would do harm.",
		Means: "perhaps nobody is affected: the upstream may not show all its objects", FixBy: by(Operator),
		Do: do("compare the upstream's address and credential with their earlier values; then audit again"),
	},
}

// Found is a finding to explain.
type Found struct {
	Facts

	Code, Status     string // such as "role-missing" and "known"
	Detail, Affected string
	Action           string // the action of the repair; empty: a person must judge
	AcceptedBy       string // who has accepted the finding, or empty
	AcceptedWhy      string
	AcceptedUntil    string // a time, or empty
}

// OfFinding explains a finding. Only operators read findings.
func OfFinding(f Found, to Reader) Explanation {
	e, known := Finding(f.Code)
	if !known {
		e = Entry{What: "This release does not know the code " + Quote(f.Code) + ".", FixBy: by(Operator)}
	}
	x := Explanation{What: f.text(e.What), Means: Line(sentence(f.Affected)), FixBy: e.fixer()}
	excerpt := "The audit says: " + Quote(f.Detail) + "."
	judge := -1 // the index of the step with the audit's advice
	again := Step{Text: "Audit again: if the fault is repaired, the finding is resolved.", Command: f.scope("tenantry audit run")}
	switch {
	case f.Status == "resolved":
		x.What = sentences("The finding is resolved: the last audit that looked for it has not seen it. It was:", x.What)
		x.Why, x.FixBy = excerpt, Nobody
	case f.AcceptedBy != "":
		x.What = sentences(Line(f.AcceptedBy)+" has accepted the finding"+until(f.AcceptedUntil)+".", x.What)
		x.Why, x.FixBy = sentences("The reason given: "+Quote(f.AcceptedWhy)+".", excerpt), Nobody
		x.Next = []Step{{Text: "To open the finding again, withdraw the acceptance.", Command: "tenantry audit accept {finding} --withdraw"}}
	case f.Action != "":
		x.Why = sentences(excerpt, "Tenantry can repair it ("+Line(f.Action)+") after you have approved the repair.")
		x.Next = []Step{
			{Text: "Plan the repair.", Command: f.scope("tenantry audit plan --code {code} -o repair.yaml")},
			{Text: "Read the entry of this finding in the file, and set its field approve to true."},
			{Text: "See what the repair would do.", Command: "tenantry audit apply repair.yaml --dry-run"},
			{Text: "Repair.", Command: "tenantry audit apply repair.yaml"},
			again,
			{Text: "If the difference is wanted, accept it instead.", Command: "tenantry audit accept {finding} --why REASON"},
		}
	default:
		x.Why = sentences(excerpt, cmp.Or(e.Why, "Tenantry does not repair this finding: its objects are in use, or Tenantry did not"+
			" create them."))
		x.Next = []Step{
			{Text: "A person must judge: {advice}."},
			again,
			{Text: "If the difference is wanted, accept it.", Command: "tenantry audit accept {finding} --why REASON"},
		}
		judge = 0
		if f.Run != "" && f.Code == "run-waits" {
			x.Next, judge = []Step{{Text: "Read what the run needs.", Command: "tenantry explain {run}"}}, -1
		}
	}
	x.Next = f.steps(to, x.Next)
	if command, before := f.adviceCommand(); judge >= 0 && command != "" { // the command is no template
		x.Next[judge] = Step{Text: before, Command: command}
	}
	x.Who = x.FixBy.Who("")
	return x
}

// adviceCommand returns the command in the advice, and the sentence to show before the command. The result is empty unless the advice is a
// command, with or without Needless before it. An audit has quoted such a command for a shell. In other advice, a name from outside may
// look like a command.
func (f Found) adviceCommand() (command, before string) {
	command, needless := strings.CutPrefix(f.Advice, Needless)
	switch {
	case !strings.HasPrefix(command, "openstack "):
		return "", ""
	case needless:
		return command, "A person must judge: " + strings.TrimSuffix(Needless, ": ") + ", type this."
	}
	return command, "A person must judge. This is the usual repair."
}

// The method `scope` adds the flags that limit an audit or a plan to the merchant, the customer or the project of the finding.
func (f Found) scope(command string) string {
	command = strings.ReplaceAll(command, "{code}", ShellWord(f.Code))
	switch {
	case f.Merchant != "" && f.Customer != "":
		return command + " --merchant {merchant} --customer {customer}"
	case f.Merchant != "":
		return command + " --merchant {merchant}"
	case f.Cloud != "":
		return command + " --cloud {cloud}"
	}
	return command
}

// The function `until` says when an acceptance ends.
func until(at string) string {
	if at == "" {
		return ""
	}
	return " until " + at
}

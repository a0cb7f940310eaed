package explain

import "maps"

// Failure returns the entry of a failure's code, and reports whether the table has it. A newer release may have stored another code.
func Failure(code string) (Entry, bool) {
	e, known := failures[code]
	return e, known
}

// The table of the codes of failures. The field Do says how to repair the cause. The next step for the run itself depends on the state of
// the run: see [OfRun].
var failures = join(ofUpstream("keystone"), ofUpstream("billingstack"), map[string]Entry{
	// The run and its replica.
	"cancelled": {
		What: "The merchant or an operator cancelled the run.", FixBy: by(Nobody),
	},
	"compensated-by-operator": {
		What: "An operator compensated the run.", FixBy: by(Nobody),
	},
	"held": {
		What: "An operator holds the run.", FixBy: by(Operator),
		Do: do("Read the reason for the hold, and talk to the operator who holds the run."),
	},
	"deadline-exceeded": {
		What: "The run was not finished in time.",
		Why: "A step failed again and again, or an older run did not end, until a time limit was reached: TENANTRY_DEADLINE or" +
			" TENANTRY_GIVE_UP_AFTER.",
		// The fixer is the person who can fix the last failure. If nobody can fix the last failure, the fixer is an operator, because the failure
		// did not end by itself.
		FixBy: by(Operator, Administrator, Merchant, User),
		Do:    do("Repair the cause of the last error."),
	},
	"internal": {
		What: "The step failed in Tenantry itself, for example because Tenantry's database was down.",
		Why:  "The log of the service has the cause, with the id of the run.", FixBy: by(Nobody, Operator),
		Do: do("Search the log for the id of the run, and repair the cause."),
	},
	"lease-lost": {
		What: "The replica lost its lease on the run during the attempt. Another attempt follows.", FixBy: by(Nobody),
	},
	"not-storable": {
		What:  "The database refuses the result of the step that has just ended.",
		Why:   "This is a defect of Tenantry, or the database has a fault. The log of the service has the error of the database.",
		FixBy: by(Operator),
		Do:    do("Report the defect with the log."),
	},
	"step-panicked": {
		What: "The code of the step, or the code that computes the run's follow-ups, has a fault.",
		Why:  "This is a defect of Tenantry. The log of the service has the details.", FixBy: by(Operator),
		Do: do("Report the defect with the log."),
	},
	"taken-over-too-often": {
		What: "Several replicas in a row ended while they executed the same step.",
		Why:  "The step itself may end the replicas, or the replicas have lost their connection to the database.", FixBy: by(Operator),
		Do: do("Read the logs of these replicas, and find out why they ended."),
	},
	"step-unknown": {
		What: "This release has no code for a step of the run.", Why: "A newer release has accepted the run.", FixBy: by(Operator),
		Do: do("Run the newer release. The run then continues after a retry."),
	},
	"workflow-unknown": {
		What: "This release has no code for the workflow of the run.", Why: "A newer release has accepted the run.", FixBy: by(Operator),
		Do: do("Run the newer release. The run then continues after a retry."),
	},
	"refused": {
		What: "The state of the run did not allow the action. This code occurs only in events of the kind `action`.", FixBy: by(Nobody),
	},
	"role-not-pinned": {
		What: "The run has a step for a role that the order does not contain.", Why: "This is a defect of Tenantry.", FixBy: by(Operator),
		Do: do("Report the defect with the log."),
	},
	"subject-busy": {
		What: "An older run for the same customer must end first.", FixBy: by(Nobody),
	},
	"subject-rechecked": {
		What: "The re-check of another run for the same customer must end first. Or a call of the other run got no answer, and may" +
			" still take effect.",
		FixBy: by(Nobody),
	},
	"claimed-by-a-live-run": {
		What:  "A re-check of a compensated run waits. The re-check would remove an object that a run in progress may use or change.",
		FixBy: by(Nobody),
	},
	"verifying-undo": {
		What: "The answer to a call was lost, so the call may still take effect. After the late window, Tenantry verifies the undo," +
			" and ends the compensation.",
		FixBy: by(Nobody),
	},

	// The merchant and its settings.
	"cloud-changed": {
		What: "The run cannot be repeated, because the merchant's cloud has changed since the order.", FixBy: by(Operator),
		Do: do("Let the portal send the order again, with a new Idempotency-Key."),
	},
	"domain-changed": {
		What: "The run cannot be repeated, because the merchant's domain has changed since the order.", FixBy: by(Operator),
		Do: do("Let the portal send the order again, with a new Idempotency-Key."),
	},
	"configuration-fault": {
		What: "The cloud, the domain or a role of the merchant does not exist, or the service refuses the role.", FixBy: by(Operator),
		Do: []Step{
			{Text: "Look at the checks of the service. Then correct the setting, or create the missing object.", Command: "curl $TENANTRY_URL/readyz"},
		},
	},
	"merchant-disabled": {
		What: "The run cannot be repeated, because the merchant is disabled.", FixBy: by(Operator),
		Do: []Step{{Text: "If the merchant may place orders again, enable it.", Command: "tenantry merchant enable {merchant}"}},
	},
	"write-guarded": {
		What: "Tenantry does not write to this project or domain.",
		Why: "The domain was removed from the configuration, or the tenant has lost one of its tags `tenantry`, `tenantry-run-...` and" +
			" `tenantry-merchant-...`.",
		FixBy: by(Operator), Do: do("Add the domain to the configuration, or the tags to the tenant."),
	},

	// The order and its objects.
	"currency-gone": {
		What:  "The currency of the order no longer exists in BillingStack.",
		FixBy: by(Merchant), Do: do("Create the currency again, or order with another currency."),
	},
	"language-gone": {
		What:  "The language of the order no longer exists in BillingStack.",
		FixBy: by(Merchant), Do: do("Create the language again, or order with another language."),
	},
	"customer-gone": {
		What:  "The customer of the order no longer exists in BillingStack.",
		FixBy: by(Merchant), Do: do("Order with another customer, or as a new customer."),
	},
	"plan-gone": {
		What:  "The plan no longer exists in BillingStack.",
		FixBy: by(Merchant), Do: do("Create the plan again with the same id, or choose another plan."),
	},
	"object-gone": {
		What:  "The request names an object that no longer exists, such as a deleted plan. BillingStack therefore refuses the request.",
		FixBy: by(Merchant),
		Do:    do("Create the object again with the same id, or send a request without this object."),
	},
	"plan-unchanged": {
		What: "The subscription has the plan already.", FixBy: by(Nobody),
	},
	"text-refused": {
		What: "BillingStack cannot store a text of the order.", Why: "The error names the text.", FixBy: by(Merchant),
		Do: do("Send the request with another text."),
	},
	"foreign-subscriptions": {
		What: "The customer cannot be removed, because the customer has subscriptions that the run did not create.", FixBy: by(Operator),
		Do: do("Find out who has created these subscriptions in BillingStack. If nobody needs them, remove them there. If somebody needs" +
			" them, do not remove the customer."),
	},
	"usage-broken": {
		What: "This version of BillingStack cannot store usage, because it has a bug.", FixBy: by(Administrator),
		Do: do("Repair BillingStack. Its released versions have this bug."),
	},

	// The tenant.
	"conflict": {
		What:  "A project with the tenant's name exists and does not belong to the merchant.",
		Why:   "Somebody has created the project, or has removed the merchant's tag. Tenantry takes over no project without this tag.",
		FixBy: by(Operator),
		Do: []Step{
			{Text: "See who uses the project. The error names its id.", Command: "openstack role assignment list --names --project {project}"},
			{Text: "If the project does not belong to this customer, rename it.", Command: "openstack project set --name NEW_NAME {project}"},
			{
				Text:    "If the project belongs to this customer, tag it. The customer's user then gets roles on it.",
				Command: "openstack project set --tag tenantry-merchant-{merchant} {project}",
			},
			{
				Text: "To let future runs of the merchant adopt such projects, change the merchant's setting with this command. This run keeps" +
					" the old setting: compensate it, and then retry it.",
				Command: "tenantry merchant update {merchant} --adopt-unmarked",
			},
		},
	},
	"tenant-disabled": {
		What: "The tenant exists and is disabled.", FixBy: by(Operator),
		Do: []Step{{
			Text:    "Find out who has disabled the project, and why. Then enable it.",
			Command: "openstack project set --enable {project}",
		}},
	},
	"tenant-enabled": {
		What: "Somebody has enabled the tenant of the ended subscription.", FixBy: by(Operator),
		Do: []Step{
			{Text: "If the subscription should end, disable the project.", Command: "openstack project set --disable {project}"},
			{
				Text:    "If the subscription should not end, restore it.",
				Command: "tenantry subscriptions restore {subscription} --merchant {merchant} --why REASON",
			},
		},
	},
	"tenant-gone": {
		What: "The subscription's tenant no longer exists.", Why: "Somebody has deleted the project in Keystone.", FixBy: by(Operator),
		Do: []Step{
			{Text: "An audit reports the missing tenant, and a repair creates it again.", Command: "tenantry audit run --merchant {merchant}"},
		},
	},
	"tenant-not-empty": {
		What:  "The run must remove the tenant, but the tenant has resources. Tenantry tries the removal again a day later.",
		Why:   "The error names the resources.",
		FixBy: by(Operator),
		Do: []Step{
			{Text: "Let the customer or an administrator delete these resources."},
			{
				Text:    "If nobody needs the resources, force the removal.",
				Command: "tenantry subscriptions remove {subscription} --merchant {merchant} --force --why REASON",
			},
		},
	},
	"tenant-not-proven-empty": {
		What: "The run must remove the tenant, but could not ask a service for the tenant's resources. Tenantry tries the removal again" +
			" a day later.",
		Why: "The error names the service.", FixBy: by(Operator),
		Do: do("Give Tenantry's credential the permission that the error names, or repair the service.",
			"If the service has no resources of tenants, add the type of the service to TENANTRY_EMPTINESS_IGNORE."),
	},
	"tenant-not-ours": {
		What: "The tenant existed before the subscription, or has lost its name or Tenantry's tags. Tenantry neither changes nor" +
			" removes such a tenant.",
		FixBy: by(Operator),
		Do: []Step{
			{Text: "An audit reports a lost name or tag, and says how to restore it.", Command: "tenantry audit run --merchant {merchant}"},
		},
	},
	"tenant-not-settled": {
		What: "The tenant was disabled a few minutes ago, and other services may still accept tokens for it.", FixBy: by(Nobody),
		Do: do("Wait ten minutes."),
	},
	"tenant-replaced": {
		What:  "A repair has created the subscription's tenant again since the order was accepted.",
		FixBy: by(Merchant), Do: do("Send the request again."),
	},

	// The life of a subscription.
	"subscription-active":    {What: "The subscription is not suspended.", FixBy: by(Nobody)},
	"subscription-suspended": {What: "The subscription is suspended already.", FixBy: by(Nobody)},
	"subscription-ended":     {What: "The subscription's tenant is removed.", FixBy: by(Nobody)},
	"subscription-ending": {
		What:  "The subscription has been ended, and has not been restored.",
		FixBy: by(Merchant, Nobody), Do: do("Restore the subscription first."),
	},
	"subscription-not-ending": {
		What: "The subscription has not been ended, or another run has restored it or removed its tenant.", FixBy: by(Nobody, Merchant),
		Do: do("If the subscription was ended again since the request, send the request again."),
	},
	"subscription-not-ended": {
		What: "The subscription's tenant has not been removed, or another run removes the subscription.", FixBy: by(Nobody),
	},
	"subscription-not-ready": {
		What: "A run is still making the subscription.", FixBy: by(Merchant), Do: do("Wait until this run has ended, or cancel it."),
	},
	"subscription-not-found": {
		What: "Tenantry has made no such subscription, or BillingStack no longer has it.", FixBy: by(Merchant, Operator),
		Do: []Step{
			{
				Text:    "If the subscription has existed, find out who has removed it from BillingStack.",
				Command: "tenantry whois --subscription {subscription}",
			},
		},
	},
	"subscription-changed": {
		What: "In BillingStack, the subscription has another customer or resource than Tenantry has set. Tenantry does not remove the" +
			" subscription.",
		FixBy: by(Operator),
		Do:    do("Find out who has changed the subscription in BillingStack, and set its customer and its `resource_id` back."),
	},
	"suspended-by-operator": {
		What: "An operator has suspended the subscription, and only an operator can resume it.", FixBy: by(Operator),
		Do: []Step{{
			Text:    "If the reason for the suspension no longer applies, resume the subscription.",
			Command: "tenantry subscriptions resume {subscription} --merchant {merchant} --why REASON",
		}},
	},
	"ending-replaced": {
		What: "The subscription was restored and ended again. Another run removes its tenant.", FixBy: by(Nobody),
	},

	// Repairs.
	"finding-changed": {
		What:  "The finding no longer exists, or values have changed since the repair was planned.",
		Why:   "The error says which of the two has happened.",
		FixBy: by(Operator), Do: newPlan,
	},
	"finding-closed": {
		What: "The finding of an audit has been resolved or accepted since the repair was planned.", FixBy: by(Operator, Nobody),
		Do: do("If a person has accepted the finding, but you want to repair it, withdraw the acceptance, and make a new plan."),
	},
	"in-use": {
		What: "The repair would remove or replace an object that is in use.", Why: "The error says what uses the object.", FixBy: by(Operator),
		Do: do("Do not repair the finding while the object is in use."),
	},
	"not-repairable": {
		What:  "The repair cannot be made.",
		Why:   "The finding is about a run that does not exist or that belongs to another merchant, or this release does not know the repair.",
		FixBy: by(Operator),
		Do:    newPlan,
	},
	"plan-expired": {
		What: "The plan of the repair is too old, or another installation has created it.", FixBy: by(Operator), Do: newPlan,
	},
	"role-changed": {
		What: "The repair would assign a role that now has another name, or that users may not have. Or the user, the role or the" +
			" tenant no longer exists.",
		FixBy: by(Operator), Do: newPlan,
	},

	// Roles.
	"role-gone": {
		What: "A role that the run assigns no longer exists.", Why: "Somebody has deleted the role in Keystone.", FixBy: by(Operator),
		Do: []Step{
			{
				Text:    "Create the role again, with the name that is in the error. A retry of the compensated run looks the role up by its name.",
				Command: "openstack role create ROLE",
			},
		},
	},
	"role-missing": {
		What: "The user lacks a role that the run has assigned.", Why: "Somebody else may have revoked or deleted the role.", FixBy: by(Operator),
		Do: []Step{
			{
				Text:    "If the role with the id in the error exists, assign it again.",
				Command: "openstack role add --project {project} --user {user} ROLE_ID",
			},
			{
				Text:    "If the role was deleted, create a role with the same name, and compensate the run. When the run is compensated, retry it.",
				Command: "openstack role create ROLE",
			},
		},
	},
	"role-renewed": {
		What: "A role was removed and created again with the same name.", FixBy: by(Operator),
		Do: do("If the run is held, compensate it. A retry of the compensated run looks the role up by its name."),
	},
	"scope-refused": {
		What: "Keystone refuses to scope the user's token to the customer tenant.",
		Why:  "The user has no role on the tenant, or the tenant, the domain or the user is disabled.", FixBy: by(Operator),
		Do: []Step{{
			Text:    "Look at the user's roles on the tenant.",
			Command: "openstack role assignment list --names --project {project} --user {user}",
		}},
	},

	// The user.
	"login-refused": {
		What: "Keystone refuses the login of the user whom the run has created.", Why: "Somebody may have disabled the user or the domain.",
		FixBy: by(Administrator, Nobody),
		Do:    []Step{{Text: "Look whether the user and the domain are enabled.", Command: "openstack user show {user}"}},
	},
	"password-expired": {
		What: "Keystone says that the password has expired, although the run has just set it.",
		Why:  "With Keystone's rules for the age of passwords, the password of a new user expires at once.", FixBy: by(Administrator),
		Do: do("Change the section [security_compliance] of Keystone's configuration."),
	},
	"mfa-required": {
		What:  "Keystone requires another login method of the user whom the run has created.",
		Why:   "Keystone's rules for multi-factor logins hold for new users.",
		FixBy: by(Administrator), Do: do("Exempt new users from these rules."),
	},
	"password-refused": {
		What:  "The password breaks a rule of Keystone.",
		Why:   "The error has the rule.",
		FixBy: by(User), Do: do("Let the user choose another password."),
	},
	"password-missing": {
		What: "Tenantry needs the password again, because it never stores passwords.", FixBy: by(Merchant),
		Do: do("Repeat the call with the same key and the password. If the run is compensated, send a new call with a new key."),
	},
	"password-late": {
		What: "A call got no answer, and may still set an earlier password. Tenantry repeats the step with the new password after the" +
			" late window.",
		FixBy: by(Nobody),
	},
	"user-exists": {
		What:  "Another user has the name, or a name that differs only in upper and lower case.",
		FixBy: by(User), Do: do("Let the user choose another name, or log in."),
	},
	"user-gone": {
		What: "The user no longer exists in Keystone. A run for this user cannot be repeated.", FixBy: by(Merchant),
		Do: do("Let another user place the order."),
	},
	"user-disabled": {
		What: "The run cannot be repeated, because the user is disabled in Keystone.", FixBy: by(Operator),
		Do: []Step{{Text: "If the user may order, enable the user.", Command: "openstack user set --enable {user}"}},
	},
	"user-domain-foreign": {
		What: "The run cannot be repeated, because the user is not in the merchant's domain.", FixBy: by(Operator, Merchant),
		Do: do("Let a user of the merchant's domain place the order, or correct the merchant's domain."),
	},
	"user-id-unusable": {
		What:  "Keystone can assign no role to a user with this id.",
		Why:   "The id has more than 64 characters, or contains a slash or a control character.",
		FixBy: by(Operator), Do: do("Change the option user_id_attribute of Keystone's LDAP driver, or the user's entry."),
	},
	"user-not-of-customer": {
		What: "The run cannot be repeated, because the user has no role on the customer's tenant.", FixBy: by(Merchant),
		Do: do("Send the order with `add_user`, or let another user of this customer place the order."),
	},
})

// newPlan is the advice if a repair no longer fits.
var newPlan = []Step{
	{Text: "Audit again.", Command: "tenantry audit run"},
	{Text: "Make a new plan.", Command: "tenantry audit plan -o repair.yaml"},
}

// ofUpstream returns the entries of the codes that the client of an upstream makes: see upstream.Error.Code.
func ofUpstream(id string) map[string]Entry {
	name := serviceName(id)
	blocked := Entry{
		What: name + " refuses the request, and only a person can decide what to do.", Why: "The error says what is missing.",
		FixBy: by(Operator, Administrator), Do: do("Repair the cause that the error names."),
	}
	credential := Entry{
		What: name + " does not accept Tenantry's own credential.", FixBy: by(Operator),
		Do: do("Correct the credential in the settings of the service, and restart the replicas."),
	}
	if id == "keystone" {
		blocked.Why = "Keystone's policy refuses a request of the service user, even after a new login. The error names the missing permission."
		blocked.Do = []Step{
			{
				Text:    "Compare the roles of the service user with Keystone's policy. The name of this user is in OS_USERNAME of the service.",
				Command: "openstack role assignment list --names --user SERVICE_USER",
			},
			{Text: "Give the service user the permission, or change the policy. The undo of a step may need other permissions than the" +
				" step: check these, too."},
		}
		credential.Why = "The password was changed or has expired, the service user was disabled or deleted, or it has lost its role."
		credential.Do = []Step{
			{
				Text:    "Look whether the service user is enabled. Its name is in OS_USERNAME of the service.",
				Command: "openstack user show SERVICE_USER",
			},
			{Text: "Look whether the service user has its role.", Command: "openstack role assignment list --names --user SERVICE_USER"},
			{
				Text:    "If both are right, correct OS_PASSWORD of the service and restart the replicas, or set the user's password to the value of OS_PASSWORD.",
				Command: "openstack user set --password-prompt SERVICE_USER",
			},
		}
	}
	return map[string]Entry{
		id + "-blocked":            blocked,
		id + "-credential-refused": credential,
		id + "-busy": {
			What: name + " could not execute the request now.", FixBy: by(Nobody, Operator),
		},
		id + "-no-answer": {
			What:  name + " did not answer. The request may have taken effect. Tenantry looks for the effect before it repeats the request.",
			FixBy: by(Nobody, Operator),
		},
		id + "-refused": {
			What: name + " refused the request permanently.", Why: "The error has the answer.", FixBy: by(Operator, Administrator),
			Do: do("Repair the cause that the answer names."),
		},
		id + "-unavailable": {
			What: name + " is down.", FixBy: by(Administrator, Operator),
			Do: []Step{{
				Text:    "Start " + name + " again. The checks of the service say since when it is down.",
				Command: "curl $TENANTRY_URL/readyz",
			}},
		},
	}
}

// The function `join` returns a table with the entries of all tables.
func join(tables ...map[string]Entry) map[string]Entry {
	all := map[string]Entry{}
	for _, table := range tables {
		maps.Copy(all, table)
	}
	return all
}

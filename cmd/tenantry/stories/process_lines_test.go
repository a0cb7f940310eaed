package stories_test

import (
	"net/http"
	"slices"
	"strings"
)

// The type `line` is a line of subscriptions.rst, with the commands and calls that carry it out.
type line struct {
	title      string
	quote      string // the text of subscriptions.rst; empty if the line is not in it
	text       string
	commands   []command
	calls      []call   // the calls of Tenantry
	departures []string // differences from the quote, with the reason
	parts      []line   // lines that the same commands carry out
	like       []line   // the commands cause the calls of these lines, too
}

// The type `command` is a command, with the part of its answer that matters.
type command struct {
	only   string // the only Identity version with this command; empty for both
	text   string
	answer string
	sql    bool // the command is for PostgreSQL, not for a shell
	repeat bool // the command is repeated until it has this answer
}

// The type `call` is a call of Tenantry to Keystone or BillingStack, with each of the two Identity versions. With an empty request, there is no
// call.
type call struct{ v3, v2 request }

type request struct {
	head   string // the method and the path
	body   string // the part of the body that matters; empty if there is no body
	status int
	again  bool // Tenantry may repeat the request
}

func toBilling(head, body string, status int) call { return both(request{head, body, status, false}) }

func both(r request) call { return call{r, r} }

// allCalls returns the calls of the line, of its parts, and of similar lines.
func (l line) allCalls(second bool) (all []request) {
	for _, c := range l.calls {
		r := c.v3
		if second {
			r = c.v2
		}
		if r.head != "" {
			all = append(all, r)
		}
	}
	for _, part := range slices.Concat(l.parts, l.like) {
		all = append(all, part.allCalls(second)...)
	}
	return all
}

// identityVersion returns the name of the Identity version.
func identityVersion(second bool) string {
	if second {
		return "v2.0"
	}
	return "v3"
}

var prerequisites = []line{
	{
		title: "Prerequisite 1: the merchant and a plan",
		quote: ".. note:: BillingStack does not store merchant customer users. Merchant should manage authorization.\n\n" +
			"1. Merchant and Plan created in BillingStack",
		text: "The commands create the merchant, two products with prices, and a plan with both products.",
		commands: []command{
			{
				text:   `curl -sSi "$BILLING_URL/merchants" --json '{"name": "Cloud Shop", "currency": "eur", "language": "eng"}'`,
				answer: "202 Accepted\n\n" + `{"id": "MERCHANT_ID"}`,
			},
			{
				text: `curl -sSi "$BILLING_URL/merchants/$MERCHANT_ID/products" \
  --json '{"name": "vCPU hours", "pricing": [{"type": "fixed", "price": 0.05}]}'`,
				answer: "202 Accepted\n\n" + `{"id": "VCPU_PRODUCT_ID"}`,
			},
			{
				text: `curl -sSi "$BILLING_URL/merchants/$MERCHANT_ID/products" \
  --json '{"name": "disk GB hours", "pricing": [{"type": "fixed", "price": 0.0001}]}'`,
				answer: "202 Accepted\n\n" + `{"id": "DISK_PRODUCT_ID"}`,
			},
			{
				text:   `curl -sSi "$BILLING_URL/merchants/$MERCHANT_ID/plans" --json '{"name": "small"}'`,
				answer: "202 Accepted\n\n" + `{"id": "PLAN_ID"}`,
			},
			{
				text:   `curl -sSi -X PUT "$BILLING_URL/merchants/$MERCHANT_ID/plans/$PLAN_ID/items/$VCPU_PRODUCT_ID" --json '{}'`,
				answer: "200 OK",
			},
			{
				text:   `curl -sSi -X PUT "$BILLING_URL/merchants/$MERCHANT_ID/plans/$PLAN_ID/items/$DISK_PRODUCT_ID" --json '{}'`,
				answer: "200 OK",
			},
		},
	},
	{
		title: "Prerequisite 2: the role bs-admin", quote: "2. bs-admin Role create in Merchant Identity Manager (e.g keystone)",
		text: "Keystone's admin creates the role. `member` is the second role that Tenantry assigns. A Keystone with Identity v3 already has the " +
			"role `member`.",
		commands: []command{
			{
				only:   "v3",
				text:   `curl -sSi "$KEYSTONE_URL/roles" -H "X-Auth-Token: $ADMIN_TOKEN" --json '{"role": {"name": "bs-admin"}}'`,
				answer: "201 Created\n\n" + `{"role": {"id": "BS_ADMIN_ROLE_ID", "name": "bs-admin"}}`,
			},
			{
				only:   "v3",
				text:   `curl -sSi "$KEYSTONE_URL/roles?name=member" -H "X-Auth-Token: $ADMIN_TOKEN"`,
				answer: "200 OK\n\n" + `{"roles": [{"id": "MEMBER_ROLE_ID", "name": "member"}]}`,
			},
			{
				only:   "v2.0",
				text:   `curl -sSi "$KEYSTONE_URL/OS-KSADM/roles" -H "X-Auth-Token: $ADMIN_TOKEN" --json '{"role": {"name": "bs-admin"}}'`,
				answer: "200 OK\n\n" + `{"role": {"id": "BS_ADMIN_ROLE_ID", "name": "bs-admin"}}`,
			},
			{
				only:   "v2.0",
				text:   `curl -sSi "$KEYSTONE_URL/OS-KSADM/roles" -H "X-Auth-Token: $ADMIN_TOKEN" --json '{"role": {"name": "member"}}'`,
				answer: "200 OK\n\n" + `{"role": {"id": "MEMBER_ROLE_ID", "name": "member"}}`,
			},
		},
	},
}

var tenantryItself = line{
	title: "Not in the document: Tenantry",
	text: "An operator starts `tenantry serve`, and registers the merchant, whose portal may register users (`sign_up`). The answer has the API " +
		"key and secret of line 3.1. The operator also creates the key with which Ceilometer sends samples (line 4).",
	commands: []command{
		{
			text: `curl -sSi "$TENANTRY_URL/v1/merchants" -H "X-Auth-Token: $ADMIN_TOKEN" \
  --json '{"merchant_id": "'$MERCHANT_ID'", "sign_up": true}'`,
			answer: "201 Created\n\n" + `{"name": "Cloud Shop", "api_key": "API_KEY", "api_secret": "API_SECRET"}`,
		},
		{
			text:   `tenantry meter-key create -f json`,
			answer: `{"key": "METER_KEY", "secret": "METER_SECRET"}`,
		},
	},
}

var createUser = call{
	request{head: "POST /v3/users", body: `{"user": {"name": "USER_NAME", "domain_id": "default"}}`, status: http.StatusCreated},
	request{head: "POST /v2.0/users", body: `{"user": {"name": "USER_NAME"}}`, status: http.StatusOK},
}

var setPassword = call{v2: request{head: "PUT /v2.0/users/USER_ID", body: `{"user": {"password": "USER_PASSWORD"}}`, status: http.StatusOK}}

var logIn = call{
	request{
		head: "POST /v3/auth/tokens", status: http.StatusCreated, again: true,
		body: `{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "USER_NAME"}}}, "scope": "unscoped"}}`,
	},
	request{head: "POST /v2.0/tokens", status: http.StatusOK, again: true, body: `{"auth": {"passwordCredentials": {"username": "USER_NAME"}}}`},
}

var exchangeToken = call{
	request{
		head: "POST /v3/auth/tokens", status: http.StatusCreated,
		body: `{"auth": {"identity": {"methods": ["token"], "token": {"id": "USER_TOKEN"}}, "scope": {"project": {"id": "CUSTOMER_TENANT_ID"}}}}`,
	},
	request{head: "POST /v2.0/tokens", status: http.StatusOK, body: `{"auth": {"token": {"id": "USER_TOKEN"}, "tenantId": "CUSTOMER_TENANT_ID"}}`},
}

// assignRole returns the call that assigns a role to the user. The arguments are the names of the ids of the tenant and the role.
func assignRole(tenant, role string) call {
	return call{
		request{head: "PUT /v3/projects/" + tenant + "/users/USER_ID/roles/" + role, status: http.StatusNoContent},
		request{head: "PUT /v2.0/tenants/" + tenant + "/users/USER_ID/roles/OS-KSADM/" + role, status: http.StatusOK},
	}
}

// createTenant returns the call that creates a tenant. The arguments are its name and the name of its id.
func createTenant(name, id string) call {
	return call{
		request{head: "POST /v3/projects", body: `{"project": {"name": "` + name + `", "domain_id": "default"}}`, status: http.StatusCreated},
		request{head: "POST /v2.0/tenants", body: `{"tenant": {"id": "` + id + `", "name": "` + name + `"}}`, status: http.StatusOK},
	}
}

const memberNotAdmin = "The role is `member`, not OpenStack's role `admin`. Most OpenStack services treat a user with the role `admin` on one " +
	"project as an admin of the whole cloud. See [below](#literally)."

// theProcess returns the lines 1 to 3 of the process. If `literal` is true, Tenantry assigns the role admin.
func theProcess(literal bool) []line {
	return []line{
		{
			title: "1: register",
			quote: ".. note:: Try to outline a sample subscription creation process.\n\n" +
				"1. User registers in the merchant portal application using the merchant identity manager (e.g keystone)\n" +
				"POST /v2.0/users",
			text: "Here, USER_NAME is ann.",
			commands: []command{{
				text: `curl -sSi "$TENANTRY_URL/v1/merchants/$MERCHANT_ID/users" -u "$API_KEY:$API_SECRET" \
  -H "Idempotency-Key: register-$USER_NAME" --json '{"name": "'"$USER_NAME"'", "password": "'"$USER_PASSWORD"'"}'`,
				answer: "201 Created\n\n" + `{"state": "succeeded", "result": {"user_id": "USER_ID", "user_name": "USER_NAME"}}`,
			}},
			calls: []call{createUser, setPassword},
			departures: []string{
				"The portal sends the request to Tenantry, not to Keystone. Only a Keystone admin may create users, and a portal should not have an " +
					"admin's credential.",
				"With Identity v2.0, Tenantry also sets the password. Some Keystones let the first password of a user expire at once, and Identity v2.0 " +
					"does not show whether it has expired.",
			},
		},
		{
			title: "2: log in",
			quote: "2. User login in the merchant portal application using merchant identity manager (e.g keystone)\n" +
				"POST /v2.0/tokens\nAt this point user has an unscoped token",
			commands: []command{{
				text: `curl -sSi "$TENANTRY_URL/v1/merchants/$MERCHANT_ID/tokens" -u "$API_KEY:$API_SECRET" \
  --json '{"name": "'"$USER_NAME"'", "password": "'"$USER_PASSWORD"'"}'`,
				answer: "201 Created\nX-Subject-Token: USER_TOKEN\n\n" + `{"user_id": "USER_ID", "user_name": "USER_NAME"}`,
			}},
			calls: []call{logIn},
			departures: []string{
				"The portal sends the password to Tenantry, which limits the number of logins. The portal may also log the user in at Keystone " +
					"itself. If it does so with Identity v3, it must ask for an unscoped token, as Tenantry does.",
				"Tenantry may log the user in again, because Keystone revokes a token if the password was set in the same second.",
			},
		},
		{
			title: "3.1: list the plans",
			quote: "3. User decides to subscribe in one of the merchant plans\n" +
				"3.1 Using the merchan API key & secret portal gathers all the available plans from BillingStack\n" +
				"GET /merchants/<merchant_id>/plans",
			commands: []command{{
				text: `curl -sSi "$TENANTRY_URL/v1/merchants/$MERCHANT_ID/plans" -u "$API_KEY:$API_SECRET"`,
				answer: "200 OK\n\n" +
					`{"plans": [{"id": "PLAN_ID", "name": "small", "items": [
  {"product_id": "VCPU_PRODUCT_ID", "name": "vCPU hours", "pricing": [{"type": "fixed", "price": 0.05}]},
  {"product_id": "DISK_PRODUCT_ID", "name": "disk GB hours", "pricing": [{"type": "fixed", "price": 0.0001}]}]}]}`,
			}},
			calls: []call{toBilling("GET /v2/merchants/MERCHANT_ID/plans", "", http.StatusOK)},
			departures: []string{
				"The portal asks Tenantry, which checks key and secret. No release of BillingStack checks them.",
			},
		},
		subscribing(literal),
	}
}

// The function `subscribing` returns the lines that a portal carries out with one request: from the selection of a plan to line 3.2.4.
func subscribing(literal bool) line {
	openStackAdmin, departure := "MEMBER_ROLE_ID", []string{memberNotAdmin}
	if literal {
		openStackAdmin, departure = "ADMIN_ROLE_ID", nil
	}
	return line{
		title: "3.2: select a plan, and subscribe",
		quote: "3.2 User select the desired plan to subscribe in",
		text: "The portal sends one request. Tenantry then carries out all lines up to 3.2.4 as one run. If a line fails, Tenantry repeats it, or " +
			"undoes the whole run.",
		commands: []command{{
			text: `curl -sSi "$TENANTRY_URL/v1/merchants/$MERCHANT_ID/subscriptions" -u "$API_KEY:$API_SECRET" \
  -H "X-Subject-Token: $USER_TOKEN" -H "Idempotency-Key: subscribe-$USER_NAME" \
  --json '{"plan_id": "'$PLAN_ID'", "customer": {"name": "'"$USER_NAME"'", "currency": "eur", "language": "eng"}}'`,
			answer: "201 Created\nX-Subject-Token: CUSTOMER_TOKEN\n\n" + subscribedAnswer,
		}},
		departures: []string{
			"Tenantry sends requests at the same time if they do not depend on each other, for example line 3.2.1 and the requests for the customer " +
				"tenant. The portal therefore waits for a shorter time.",
		},
		parts: []line{
			{
				title: "3.1: create the customer",
				quote: "3.1 Since the current token is unscoped it's necessary to create customer in BillingStack\n" +
					"POST /merchant/<merchant_id>/customers",
				calls: []call{toBilling("POST /v2/merchants/MERCHANT_ID/customers",
					`{"id": "CUSTOMER_ID", "name": "USER_NAME", "currency": "eur", "language": "eng"}`, http.StatusAccepted)},
				departures: []string{
					"Tenantry chooses the id of the customer. If the answer is lost, Tenantry repeats the request, and BillingStack refuses a second " +
						"customer with this id.",
					"The path begins with `/merchants`. BillingStack has no path `/merchant`.",
				},
			},
			{
				title: "3.1: create the customer tenant",
				quote: "Using the customer_id obtained from BillingStack a new OpenStack tenant is created\n" +
					"this special tenant should be named as : bs-customer-<customer_id>\n" +
					"POST /v2.0/tenants",
				calls: []call{createTenant("bs-customer-CUSTOMER_ID", "CUSTOMER_TENANT_ID")},
				departures: []string{
					"With Identity v2.0, Tenantry chooses the id of the tenant. If the answer is lost, Tenantry repeats the request, and Keystone " +
						"refuses a second tenant with this id. Identity v3 ignores an id in the request, so Tenantry finds the tenant by its name.",
					"The tenant has tags, which name the run that has created the tenant, the merchant, and the installation of Tenantry. Tenantry removes " +
						"only tenants with its own tags. Identity v2.0 has no tags, so the tags are at the end of the tenant's description.",
				},
			},
			{
				title: "3.1: OpenStack's role on the customer tenant",
				quote: "PUT /v2.0/tenants/<tenant_id>/users/<user_id>/role/<openstack_admin_role_id>",
				calls: []call{assignRole("CUSTOMER_TENANT_ID", openStackAdmin)},
				departures: slices.Concat(departure, []string{
					"With Identity v2.0, the path ends with `/roles/OS-KSADM/` and the id of the role, because the extension OS-KSADM assigns roles. " +
						"Keystone has no path that ends with `/role/` and an id.",
				}),
			},
			{
				title:      "3.1: BillingStack's role on the customer tenant",
				quote:      "PUT /v2.0/tenants/<tenant_id>/users/<user_id>/role/<billingstack_admin_role_id>",
				calls:      []call{assignRole("CUSTOMER_TENANT_ID", "BS_ADMIN_ROLE_ID")},
				departures: []string{"The path has the same difference as in the line before."},
			},
			{
				title: "3.1: exchange the token",
				quote: "Now it is necessary exchange the unscoped token to a scoped one\nPOST /v2.0/tokens",
				text:  "The header `X-Subject-Token` of the answer above has the new token.",
				calls: []call{exchangeToken},
			},
			{
				title: "3.2.1: create the subscription",
				quote: "3.2 BillingStack subscription is created for the BillingStack customer\n" +
					"3.2.1 Create the BillingStack Subscription\n" +
					"POST /merchants/<merchant_id>/subscriptions",
				calls: []call{toBilling("POST /v2/merchants/MERCHANT_ID/subscriptions",
					`{"id": "SUBSCRIPTION_ID", "plan_id": "PLAN_ID", "customer_id": "CUSTOMER_ID", "resource_id": "pending:RUN_ID"}`, http.StatusAccepted)},
				departures: []string{
					"Tenantry chooses the id of the subscription, for the same reason as the id of the customer.",
					"The request has a temporary `resource_id`, because BillingStack refuses a subscription without one.",
				},
			},
			{
				title: "3.2.2: create the subscription tenant",
				quote: "3.2.2 Create a new OpenStack tenant\nPOST /tenants\n" +
					"This tenant should be named bs-subscription-<subscription_id>",
				calls: []call{createTenant("bs-subscription-SUBSCRIPTION_ID", "SUBSCRIPTION_TENANT_ID")},
				departures: []string{
					"Tenantry chooses the id of the tenant, and adds tags, as for the customer tenant.",
					"The path begins with `/v2.0`, which the document omits here.",
				},
			},
			{
				title: "3.2.3: OpenStack's role on the subscription tenant",
				quote: "3.2.3 Add OpenStack user to the recently created tenant\n" +
					"PUT /tenants/<tenant_id>/users/<user_id>/roles/<openstack_admin_role_id>",
				calls:      []call{assignRole("SUBSCRIPTION_TENANT_ID", openStackAdmin)},
				departures: slices.Concat(departure, []string{"The path has the same difference as for the customer tenant. Here, the document also omits `/v2.0`."}),
			},
			{
				title: "3.2.4: update the subscription",
				quote: "3.2.4 Update subscription resource attribute with the tenant id from OpenStack\n" +
					"PATCH /merchants/<merchant_id>/subscriptions/<subscription_id>",
				calls: []call{toBilling("PATCH /v2/merchants/MERCHANT_ID/subscriptions/SUBSCRIPTION_ID",
					`{"resource_id": "SUBSCRIPTION_TENANT_ID"}`, http.StatusOK)},
			},
		},
	}
}

const subscribedAnswer = `{"id": "RUN_ID", "state": "succeeded", "result": {
  "customer_id": "CUSTOMER_ID", "customer_tenant_id": "CUSTOMER_TENANT_ID",
  "subscription_id": "SUBSCRIPTION_ID", "subscription_tenant_id": "SUBSCRIPTION_TENANT_ID"}}`

// The variable `oneCall` carries out the lines 1, 2 and 3 with one command.
var oneCall = line{
	title: "With one call",
	text: "A portal can also carry out lines 1, 2 and 3.1 to 3.2.4 with one call. This call has the field `user` in place of the token. Here, " +
		"USER_NAME is bob. Tenantry sends the requests in the table below, and all requests of lines 3.1 (create the customer) to 3.2.4. Line 4 and " +
		"the objects that exist afterwards are the same as for ann.",
	commands: []command{{
		text: `curl -sSi "$TENANTRY_URL/v1/merchants/$MERCHANT_ID/subscriptions" -u "$API_KEY:$API_SECRET" \
  -H "Idempotency-Key: subscribe-$USER_NAME" \
  --json '{"plan_id": "'$PLAN_ID'", "customer": {"name": "'"$USER_NAME"'", "currency": "eur", "language": "eng"},
    "user": {"name": "'"$USER_NAME"'", "password": "'"$USER_PASSWORD"'"}}'`,
		answer: "201 Created\nX-Subject-Token: CUSTOMER_TOKEN\n\n" + strings.Replace(subscribedAnswer, `"customer_id"`, `"user_id": "USER_ID", "customer_id"`, 1),
	}},
	calls: []call{createUser, setPassword, logIn},
	like:  subscribing(false).parts,
}

// The constant `meters` is the content of the file with which the replicas run.
const meters = `meters:
  - {meter: vcpus, product: vCPU hours}
  - {meter: disk.root.size, product: disk GB hours}
`

// The variable `usage` carries out line 4.
var usage = line{
	title: "4: usage",
	quote: "4. Now the subscription can start receiving usage data from ceilometer tied by resource attribute",
	text: "A file maps the meters of Ceilometer to products in BillingStack: see the setting `meters`.\n\n```yaml\n" + meters + "```\n\n" +
		"The test posts two samples in the format of Ceilometer's publisher. Their `project_id` is the `resource_id` of the subscription. A " +
		"sample of a gauge holds for 15 minutes: 4 vCPUs are 1 vCPU hour, and 80 GB are 20 GB hours.\n\n" +
		"A subscription has usage only after its order, and Tenantry computes the usage of an hour 15 minutes after the end of the hour. The test " +
		"cannot wait that long. **It therefore changes the time of the order in Tenantry's database. Users never do this.** Then the test posts " +
		"samples of THE_HOUR, the newest hour whose usage Tenantry can compute.",
	commands: []command{
		{
			sql: true, text: `UPDATE runs SET created_at = created_at - 14400000000 WHERE id = 'RUN_ID' -- four hours, in microseconds`,
			answer: `UPDATE 1`,
		},
		{
			text: `curl -sSi "$TENANTRY_URL/v1/usage/ceilometer" -u "$METER_KEY:$METER_SECRET" --json @- <<END
[{"name": "vcpus", "type": "gauge", "unit": "vcpu", "volume": 4, "id": "vcpus of $USER_NAME",
  "project_id": "$SUBSCRIPTION_TENANT_ID", "resource_id": "vm-1", "source": "openstack", "timestamp": "$THE_HOUR:00:00"},
 {"name": "disk.root.size", "type": "gauge", "unit": "GB", "volume": 80, "id": "disk of $USER_NAME",
  "project_id": "$SUBSCRIPTION_TENANT_ID", "resource_id": "vm-1", "source": "openstack", "timestamp": "$THE_HOUR:00:00"}]
END`,
			answer: "202 Accepted\n\n" + `{"samples": 2, "apart": 0, "events": 0, "spooled": false}`,
		},
		{
			repeat: true,
			text: `curl -sSi "$TENANTRY_URL/v1/merchants/$MERCHANT_ID/subscriptions/$SUBSCRIPTION_ID/usage" \
  -u "$API_KEY:$API_SECRET"   # repeated until the usage is computed`,
			answer: "200 OK\n\n" +
				`{"usage": [
  {"from": "THE_HOUR:00:00Z", "to": "NEXT_HOUR:00:00Z", "meter": "disk.root.size", "unit": "GB", "amount": "20",
   "plan_id": "PLAN_ID", "state": "active"},
  {"from": "THE_HOUR:00:00Z", "to": "NEXT_HOUR:00:00Z", "meter": "vcpus", "unit": "vcpu", "amount": "1",
   "plan_id": "PLAN_ID", "state": "active"}]}`,
		},
		{
			repeat: true,
			text:   `curl -sSi "$BILLING_URL/merchants/$MERCHANT_ID/usage?q.field=subscription_id&q.op=eq&q.value=$SUBSCRIPTION_ID"   # repeated until BillingStack has it`,
			answer: "200 OK\n\n" + `[{"subscription_id": "SUBSCRIPTION_ID", "product_id": "DISK_PRODUCT_ID", "value": 20, "price": 0.0001, "total": 0.002,
  "measure": "disk GB hours THE_HOUR:00:00/NEXT_HOUR:00:00"},
 {"subscription_id": "SUBSCRIPTION_ID", "product_id": "VCPU_PRODUCT_ID", "value": 1, "price": 0.05, "total": 0.05,
  "measure": "vCPU hours THE_HOUR:00:00/NEXT_HOUR:00:00"}]`,
		},
	},
	calls: []call{
		both(request{"GET /v2/merchants/MERCHANT_ID/plans", "", http.StatusOK, true}),
		toBilling("POST /v2/merchants/MERCHANT_ID/usage",
			`{"subscription_id": "SUBSCRIPTION_ID", "product_id": "VCPU_PRODUCT_ID", "value": 1, "price": 0.05, "total": 0.05}`, http.StatusAccepted),
		toBilling("POST /v2/merchants/MERCHANT_ID/usage",
			`{"subscription_id": "SUBSCRIPTION_ID", "product_id": "DISK_PRODUCT_ID", "value": 20, "price": 0.0001, "total": 0.002}`, http.StatusAccepted),
	},
	departures: []string{
		"The document does not say who sends the usage. Ceilometer's publisher `http` posts to Tenantry, and a run posts the usage of each hour to " +
			"BillingStack.",
		"The hour is a part of `measure`, because the original BillingStack cannot list usage that was posted with times.",
	},
}

// The function `existing` shows what the process has created. If `literal` is true, Tenantry has assigned the role admin.
func existing(literal bool) line {
	openStackAdmin := "MEMBER_ROLE_ID"
	v3Users, v2Users := "403 Forbidden", "403 Forbidden"
	if literal {
		openStackAdmin, v3Users, v2Users = "ADMIN_ROLE_ID", "200 OK", "200 OK"
	}
	admin := ` -H "X-Auth-Token: $ADMIN_TOKEN"`
	tenants := func(kind, owner, roles string) []command {
		id := strings.ToUpper(kind) + "_TENANT_ID"
		tags := []string{"tenantry", "tenantry-run-RUN_ID", "tenantry-merchant-MERCHANT_ID", "tenantry-installation-INSTALLATION_ID"}
		var assigned, names []string
		for role := range strings.FieldsSeq(roles) {
			assigned = append(assigned, `{"role": {"id": "`+role+`"}, "user": {"id": "USER_ID"}}`)
			names = append(names, `{"id": "`+role+`"}`)
		}
		return []command{
			{
				only: "v3", text: `curl -sSi "$KEYSTONE_URL/projects?name=bs-` + kind + `-$` + owner + `"` + admin,
				answer: "200 OK\n\n" + `{"projects": [{"id": "` + id + `", "name": "bs-` + kind + `-` + owner + `", "enabled": true,
  "tags": ["` + strings.Join(tags, "\", \"") + `"]}]}`,
			},
			{
				only: "v3", text: `curl -sSi "$KEYSTONE_URL/role_assignments?scope.project.id=$` + id + `"` + admin,
				answer: "200 OK\n\n" + `{"role_assignments": [` + strings.Join(assigned, ",\n  ") + `]}`,
			},
			{
				only: "v2.0", text: `curl -sSi "$KEYSTONE_URL/tenants?name=bs-` + kind + `-$` + owner + `"` + admin,
				answer: "200 OK\n\n" + `{"tenant": {"id": "` + id + `", "name": "bs-` + kind + `-` + owner + `", "enabled": true,
  "description": "BillingStack ` + kind + ` ` + owner + ` of merchant MERCHANT_ID / tags: ` + strings.Join(tags, ",") + `"}}`,
			},
			{
				only: "v2.0", text: `curl -sSi "$KEYSTONE_URL/tenants/$` + id + `/users/$USER_ID/roles"` + admin,
				answer: "200 OK\n\n" + `{"roles": [` + strings.Join(names, ", ") + `]}`,
			},
		}
	}
	return line{
		title: "What exists afterwards",
		text: "Keystone's admin and the merchant read back what the process has created. The last command for each Keystone shows that the user's " +
			"new token gives no rights on the whole cloud: the user cannot list the users of Keystone.",
		commands: slices.Concat(
			[]command{
				{
					text:   `curl -sSi "$BILLING_URL/merchants/$MERCHANT_ID/customers/$CUSTOMER_ID"`,
					answer: "200 OK\n\n" + `{"id": "CUSTOMER_ID", "merchant_id": "MERCHANT_ID", "name": "USER_NAME", "currency": "eur", "language": "eng"}`,
				},
				{
					text: `curl -sSi "$BILLING_URL/merchants/$MERCHANT_ID/subscriptions/$SUBSCRIPTION_ID"`,
					answer: "200 OK\n\n" + `{"id": "SUBSCRIPTION_ID", "customer_id": "CUSTOMER_ID", "plan_id": "PLAN_ID",
 "resource_id": "SUBSCRIPTION_TENANT_ID", "resource_type": "tenant"}`,
				},
			},
			tenants("customer", "CUSTOMER_ID", openStackAdmin+" BS_ADMIN_ROLE_ID"),
			tenants("subscription", "SUBSCRIPTION_ID", openStackAdmin),
			[]command{
				{
					only: "v3", text: `curl -sSi "$KEYSTONE_URL/auth/tokens"` + admin + ` -H "X-Subject-Token: $CUSTOMER_TOKEN"`,
					answer: "200 OK\n\n" + `{"token": {"user": {"id": "USER_ID"}, "project": {"id": "CUSTOMER_TENANT_ID"}}}`,
				},
				{
					only: "v2.0", text: `curl -sSi "$KEYSTONE_URL/tokens/$CUSTOMER_TOKEN"` + admin,
					answer: "200 OK\n\n" + `{"access": {"user": {"id": "USER_ID"}, "token": {"tenant": {"id": "CUSTOMER_TENANT_ID"}}}}`,
				},
				{only: "v3", text: `curl -sSi "$KEYSTONE_URL/users" -H "X-Auth-Token: $CUSTOMER_TOKEN"`, answer: v3Users},
				{only: "v2.0", text: `curl -sSi "$KEYSTONE_URL/users" -H "X-Auth-Token: $CUSTOMER_TOKEN"`, answer: v2Users},
			}),
	}
}

// literalSettings are the settings with which Tenantry assigns the role admin, as the document says.
var literalSettings = []string{
	"TENANTRY_ALLOW_CLOUD_ADMIN_ROLE=true", "TENANTRY_CUSTOMER_ROLES=admin,bs-admin", "TENANTRY_SUBSCRIPTION_ROLES=admin",
	"TENANTRY_ADMIN_ROLE=tenantry-operator",
}

// literalRoles prepares Keystone for literalSettings.
var literalRoles = line{
	title: "Literally",
	text: "With these settings, Tenantry assigns OpenStack's role `admin`, as the document says. Operators of Tenantry need another role, which users " +
		"do not get.\n\n```sh\n" + strings.Join(literalSettings, "\n") + "\n```",
	commands: []command{
		{
			only: "v3", text: `curl -sSi "$KEYSTONE_URL/roles?name=admin" -H "X-Auth-Token: $ADMIN_TOKEN"`,
			answer: "200 OK\n\n" + `{"roles": [{"id": "ADMIN_ROLE_ID", "name": "admin"}]}`,
		},
		{
			only: "v3", text: `curl -sSi "$KEYSTONE_URL/roles" -H "X-Auth-Token: $ADMIN_TOKEN" --json '{"role": {"name": "tenantry-operator"}}'`,
			answer: "201 Created",
		},
		{
			only: "v2.0", text: `curl -sSi "$KEYSTONE_URL/OS-KSADM/roles" -H "X-Auth-Token: $ADMIN_TOKEN"`,
			answer: "200 OK\n\n" + `{"roles": [{"id": "ADMIN_ROLE_ID", "name": "admin"},
  {"name": "_member_"}, {"name": "bs-admin"}, {"name": "member"}]}`,
		},
		{
			only:   "v2.0",
			text:   `curl -sSi "$KEYSTONE_URL/OS-KSADM/roles" -H "X-Auth-Token: $ADMIN_TOKEN" --json '{"role": {"name": "tenantry-operator"}}'`,
			answer: "200 OK",
		},
	},
}

package workflows_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// The test spells out all names and tags, because other programs, such as BillingStack's agents, depend on their spelling.
func TestWhatASubscribeIsToHave(t *testing.T) {
	order := workflows.Order{
		Asked: workflows.Asked{MerchantID: "m", PlanID: "p", NewCustomer: &workflows.NewCustomer{Name: "Ada"}},
		Resolved: workflows.Resolved{
			Cloud: "c", DomainID: "d", UserID: "u",
			CustomerRoles:     []keystone.Role{{ID: "1", Name: "member"}, {ID: "2", Name: "bs-admin"}},
			SubscriptionRoles: []keystone.Role{{ID: "1", Name: "member"}},
		},
	}.Named("01890000-0000-7000-8000-000000000000")
	order.CustomerID, order.SubscriptionID = "cu", "su"
	own := []string{
		"tenantry", "tenantry-run-" + order.RunID, "tenantry-merchant-m", "tenantry-installation-i",
	}
	project := func(step, id, name string, origin saga.Origin, marks []string) saga.Expected {
		return saga.Expected{
			Object: saga.Object{Step: step, Kind: "project", Cloud: "c", ID: id, Name: name, Origin: origin},
			Marks:  marks, Fields: map[string]string{"domain_id": "d", "enabled": "true"},
		}
	}
	role := func(step, project, id, name string, origin saga.Origin) saga.Expected {
		return saga.Expected{On: project, Object: saga.Object{
			Step: step + "/" + name, Kind: "role-assignment", Cloud: "c", ID: project + "/u/" + id, Name: name, Origin: origin,
		}}
	}
	customer := saga.Expected{
		Object: saga.Object{Step: "create-customer", Kind: "customer", ID: "cu", Name: "Ada", Origin: saga.Own},
		Fields: map[string]string{"merchant_id": "m"},
	}
	subscription := saga.Expected{
		Object: saga.Object{Step: "create-subscription", Kind: "subscription", ID: "su", Origin: saga.Own}, On: "cu",
		Fields: map[string]string{"plan_id": "p", "customer_id": "cu", "resource_id": ""},
	}
	check := func(when string, want ...saga.Expected) {
		t.Helper()
		if got := expected(t, order); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", when, got, want)
		}
	}
	check("before any step", customer, project("create-customer-tenant", "", "bs-customer-cu", "", nil),
		subscription, project("create-subscription-tenant", "", "bs-subscription-su", "", nil))

	order.CustomerTenantID, order.CustomerTenantOwn = "ct", true
	order.SubscriptionTenantID, order.SubscriptionTenantOwn = "st", true
	subscription.Fields["resource_id"] = "st"
	onSubscription := role("assign-subscription-role", "st", "1", "member", saga.Own)
	second := project("create-subscription-tenant", "st", "bs-subscription-su", saga.Own, own)
	check("of a new customer", customer, project("create-customer-tenant", "ct", "bs-customer-cu", saga.Own, own), subscription, second,
		role("assign-customer-role", "ct", "1", "member", saga.Own), role("assign-customer-role", "ct", "2", "bs-admin", saga.Own),
		onSubscription)

	order.NewCustomer, order.CustomerTenantOwn, order.AbsentRoles = nil, false, []string{"2"}
	customer.Origin, customer.Name = saga.Adopted, ""
	adopted := []saga.Expected{
		customer, project("create-customer-tenant", "ct", "bs-customer-cu", saga.Adopted, []string{"tenantry-merchant-m"}), subscription, second,
		role("assign-customer-role", "ct", "1", "member", saga.Adopted), role("assign-customer-role", "ct", "2", "bs-admin", saga.Own),
		onSubscription,
	}
	check("of an existing customer whose user has one role already", adopted...)

	order.AdoptUnmarked, adopted[1].Marks = true, nil
	check("of a merchant whose tenants may lack the tag", adopted...)
}

func expected(t *testing.T, o workflows.Order) []saga.Expected {
	t.Helper()
	d, err := saga.Define(workflows.Subscribe(workflows.Deps{Installation: "i"}))
	if err != nil {
		t.Fatal(err)
	}
	input, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	all, err := d.Expect(&saga.Run{Input: input})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEachWorkflowSaysWhatItsRunsMeanForTheUser(t *testing.T) {
	all, err := workflows.All(workflows.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		for _, text := range []string{d.Meaning.Open, d.Meaning.Failed, d.Meaning.Done} {
			if !strings.HasSuffix(text, ".") {
				t.Errorf("workflow %s means %q to the user, want a sentence", d.Name, text)
			}
		}
	}
}

package workflows_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/workflows"
)

// Each release must decode the states that earlier releases stored. Fields may be added to a state, but must never be removed or
// renamed.
func TestStoredStatesStillDecode(t *testing.T) {
	day, method := 5, "0a4dbcd8-5a5d-4b5c-9d5c-6f3c0c1c2d3e"
	for version, c := range map[string]struct {
		stored string
		want   workflows.Order
	}{
		"1": {
			`{"run_id":"r","merchant_id":"m","cloud":"default","domain_id":"d","user_id":"u","plan_id":"p","customer_id":"c",` +
				`"new_customer":{"name":"N","currency":"eur","language":"eng"},"subscription_id":"s",` +
				`"customer_roles":[{"id":"1","name":"member"}],"subscription_roles":[{"id":"2","name":"x"}],` +
				`"payment_method_id":"0a4dbcd8-5a5d-4b5c-9d5c-6f3c0c1c2d3e","billing_day":5,"add_user":true,` +
				`"adopt_unmarked":true,"checked_at":"2026-01-01T00:00:00Z","absent_roles":["1"],"customer_tenant_id":"ct",` +
				`"customer_tenant_own":true,"subscription_tenant_id":"st","subscription_tenant_own":true}`,
			workflows.Order{
				Asked: workflows.Asked{
					MerchantID:      "m",
					PlanID:          "p",
					CustomerID:      "c",
					NewCustomer:     &workflows.NewCustomer{Name: "N", Currency: "eur", Language: "eng"},
					PaymentMethodID: &method,
					BillingDay:      &day,
					AddUser:         true,
				},
				Resolved: workflows.Resolved{
					RunID:             "r",
					Cloud:             "default",
					DomainID:          "d",
					UserID:            "u",
					SubscriptionID:    "s",
					CustomerRoles:     []keystone.Role{{ID: "1", Name: "member"}},
					SubscriptionRoles: []keystone.Role{{ID: "2", Name: "x"}},
					AdoptUnmarked:     true,
					CheckedAt:         time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
				},
				AbsentRoles:           []string{"1"},
				CustomerTenantID:      "ct",
				CustomerTenantOwn:     true,
				SubscriptionTenantID:  "st",
				SubscriptionTenantOwn: true,
			},
		},
		"2, with a new user": {
			`{"run_id":"r","merchant_id":"m","plan_id":"p","customer_id":"c","new_user":{"name":"n","email":"e"},"subscription_id":"s",` +
				`"cloud":"default","domain_id":"d","user_id":"u","user_name":"n","customer_roles":null,"subscription_roles":null,` +
				`"checked_at":"2026-01-01T00:00:00Z","password_set":true,"password_handed":2}`,
			workflows.Order{
				Asked: workflows.Asked{MerchantID: "m", PlanID: "p", CustomerID: "c", NewUser: &workflows.NewUser{Name: "n", Email: "e"}},
				Resolved: workflows.Resolved{
					RunID: "r", SubscriptionID: "s", Cloud: "default", DomainID: "d", UserID: "u", UserName: "n",
					CheckedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
				},
				PasswordState: workflows.PasswordState{PasswordSet: true, PasswordHanded: 2},
			},
		},
	} {
		var got workflows.Order
		if err := json.Unmarshal([]byte(c.stored), &got); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("version %s:\n got %+v, %v\nwant %+v", version, got, err, c.want)
		}
	}
}

func TestStoredRegistrationsStillDecode(t *testing.T) {
	stored := `{"name":"n","email":"e","merchant_id":"m","run_id":"r","cloud":"default","domain_id":"d",` +
		`"user_id":"u","password_set":true,"password_handed":2}`
	want := workflows.Registration{
		NewUser: workflows.NewUser{Name: "n", Email: "e"}, MerchantID: "m", RunID: "r", Cloud: "default", DomainID: "d",
		UserID: "u", PasswordState: workflows.PasswordState{PasswordSet: true, PasswordHanded: 2},
	}
	var got workflows.Registration
	if err := json.Unmarshal([]byte(stored), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestStoredPostingsStillDecode(t *testing.T) {
	stored := `{"id":"i","merchant_id":"m","hour":"2026-01-31T12:00:00Z","rows":[` +
		`{"id":"r","subscription_id":"s","product_id":"p","product":"vcpus","plan_id":"l","from":"2026-01-31T12:00:00Z",` +
		`"to":"2026-01-31T12:30:00Z","revision":1,"value":"-0.25","price":"0.05","meters":{"vcpus":"1024"}},` +
		`{"id":"r2","subscription_id":"s2","product_id":"p","product":"vcpus","plan_id":"l","from":"2026-01-31T12:00:00Z",` +
		`"to":"2026-01-31T13:00:00Z","revision":0,"value":"1234567890.123456789012"}],` +
		`"posted":{"1":true,"2":true},"differs":{"r":"the value is 1 in BillingStack, not -0.25"}}`
	hour := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	want := workflows.Posting{
		ID: "i", MerchantID: "m", Hour: hour,
		Rows: []usage.Row{
			{
				ID: "r", Subscription: "s", Product: "p", Name: "vcpus", Plan: "l", From: hour, To: hour.Add(30 * time.Minute), Revision: 1,
				Value: decimal.RequireFromString("-0.25"), Price: new(decimal.RequireFromString("0.05")),
				Meters: map[string]decimal.Decimal{"vcpus": decimal.RequireFromString("1024")},
			},
			{
				ID: "r2", Subscription: "s2", Product: "p", Name: "vcpus", Plan: "l", From: hour, To: hour.Add(time.Hour),
				Value: decimal.RequireFromString("1234567890.123456789012"),
			},
		},
		Posted: map[string]bool{"1": true, "2": true}, Differs: map[string]string{"r": "the value is 1 in BillingStack, not -0.25"},
	}
	var got workflows.Posting
	if err := json.Unmarshal([]byte(stored), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

package billing_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestOtherMerchantsCustomersStayOutOfAList(t *testing.T) {
	other := strings.NewReplacer(merchantID, planID, customerID, itemID).Replace(stored)
	url, _ := script(t, answer{status: "200 OK", body: "[" + other + "," + stored + "]"})
	got, err := client(t, billing.Config{URL: url}).Customers(t.Context(), merchantID)
	if want := []billing.Customer{wanted}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestASubscriptionThatComesWhileItsCustomerIsRemoved(t *testing.T) {
	one := answer{status: "200 OK", body: `[{"id": "` + itemID + `", "customer_id": "` + customerID + `"}]`}
	gone := answer{status: "204 No Content"}
	for name, refusal := range map[string]answer{
		"409": fault("409 Conflict", "x"),
		"500": fault("500 Oops", "(IntegrityError) NOT NULL constraint failed: subscription.customer_id"),
	} {
		begin := []answer{found, absent, refusal}
		if name == "500" {
			begin = append(begin, found) // the look-up after a 500
		}
		for whose, c := range map[string]struct {
			rest []answer
			own  bool
			want outcome
		}{
			"own":                                   {[]answer{one, one, gone, gone}, true, outcome{}},
			"foreign":                               {[]answer{one}, false, outcome{class: upstream.Permanent}},
			"none, but the customer is still there": {append([]answer{absent}, begin[2:]...), true, outcome{class: upstream.Permanent}},
		} {
			t.Run(name+" "+whose, func(t *testing.T) {
				url, seen := script(t, append(slices.Clip(begin), c.rest...)...)
				err := only(client(t, billing.Config{URL: url}).
					RemoveCustomer(t.Context(), merchantID, customerID, func(billing.Subscription) bool { return c.own }))
				c.want.of(t, err)
				if want := len(begin) + len(c.rest); int(seen.Load()) != want {
					t.Errorf("%d requests, want %d", seen.Load(), want)
				}
				_, foreign := errors.AsType[*billing.ForeignSubscriptionsError](err)
				if want := whose == "foreign"; foreign != want {
					t.Errorf("got %v; want a foreign subscription: %t", err, want)
				}
			})
		}
	}
}

// only(call()) returns the error of a call that has two results, and drops the other result.
func only[T any](_ T, err error) error { return err }

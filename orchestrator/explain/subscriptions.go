package explain

import (
	"fmt"
	"slices"
)

// Standing returns the entry of a subscription's state, and reports whether the table has it.
func Standing(state string) (Entry, bool) {
	e, known := standings[state]
	return e, known
}

// The table of the states of subscriptions. The state is empty while a run is still making the subscription, or if that run has failed.
var standings = map[string]Entry{
	"": {
		What: "No run has made the subscription yet.", Means: "The user cannot use the subscription. The newest run says why.", FixBy: by(Nobody),
	},
	"active": {
		What: "The subscription can be used.", Means: "The user can work in the subscription's tenant.", FixBy: by(Nobody),
	},
	"suspended": {
		What:  "The subscription's tenant is disabled until the subscription is resumed.",
		Means: "The user cannot work in the subscription's tenant. The servers in the tenant go on running.",
		FixBy: by(Merchant, Operator),
		Do: []Step{{
			Text:    "When the reason for the suspension no longer applies, resume the subscription.",
			Command: "tenantry subscriptions resume {subscription} --merchant {merchant} --why REASON",
			Request: "POST /v1/merchants/{merchant}/subscriptions/{subscription}/resume",
		}},
	},
	"ending": {
		What: "The subscription has been ended. Until its tenant is removed, the subscription can be restored. The tenant is removed" +
			" at {ends_at} or later.",
		Means: "The user cannot work in the subscription's tenant. The servers in the tenant go on running until the tenant is removed.", FixBy: by(Merchant),
		Do: []Step{{
			Text:    "If the customer has come back, restore the subscription.",
			Command: "tenantry subscriptions restore {subscription} --merchant {merchant} --why REASON",
			Request: "POST /v1/merchants/{merchant}/subscriptions/{subscription}/restore",
		}},
	},
	"ended": {
		What:  "The subscription's tenant is removed. BillingStack keeps the subscription for the last bill.",
		Means: "The subscription cannot be restored. The user can subscribe again, with a new order.", FixBy: by(Nobody),
	},
}

// Subscription is a subscription to explain.
type Subscription struct {
	Facts

	State      string // empty: no run has made it
	ByOperator bool   // an operator has suspended it
	HeldBy     string // who keeps its tenant, or empty
	HeldWhy    string
	Reason     *Fault // why the last attempt to remove its tenant has failed
	Findings   int    // the number of open findings about it; 0 if the reader sees no findings
}

// OfSubscription explains the state of a subscription. Its newest run and its findings have separate explanations.
func OfSubscription(s Subscription, to Reader) Explanation {
	e, known := standings[s.State]
	if !known {
		e = Entry{What: "This release does not know the state of the subscription."}
	}
	if s.Reason != nil {
		s.Service = s.Reason.Service
	}
	x := Explanation{What: s.text(e.What), Means: e.Means, FixBy: e.fixer()}
	all := e.Do
	switch {
	case s.State == "suspended" && s.ByOperator:
		x.Why, x.FixBy = "An operator has suspended the subscription, and only an operator can resume it.", Operator
		if to == ForPortal {
			all = do("Ask an operator to resume the subscription.")
		}
	case s.HeldBy != "":
		x.Why = fmt.Sprintf("%s keeps the tenant. The reason given: %s.", Line(s.HeldBy), Quote(s.HeldWhy))
		if to != ForPortal {
			all = append(slices.Clip(all), Step{
				Text: "To let the tenant be removed, release the subscription.", Command: "tenantry subscriptions release {subscription} --merchant {merchant}",
			})
		}
	case s.Reason != nil:
		reason := failures[s.Reason.Code]
		x.Why = sentences("The tenant was not removed.", s.text(reason.What), s.Reason.excerpt())
		if x.FixBy = s.Reason.FixBy; to != ForPortal {
			all = append(slices.Clip(all), reason.Do...)
		}
	}
	if s.Findings > 0 {
		x.Why = sentences(x.Why, fmt.Sprintf("Audits have open findings about the subscription: %d.", s.Findings))
	}
	x.Next = s.steps(to, all)
	x.Who = x.FixBy.Who(s.Service)
	return x
}

package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/explain"
)

// foundUsage is unmatched usage that an audit reports.
type foundUsage struct {
	Unmatched

	amount string   // exact decimal; empty: not known
	meters []string // the names of all meters; set only for the usage of a customer's tenant
}

// The type `usageRule` contains what all findings about usage with the same reason share.
type usageRule struct {
	code     Code
	severity Severity
	detail   string
	affected string // who is affected; empty: the text of the code is used
}

// usageRules contains a rule for each reason. Usage is severe if a customer should have paid for it. A merchant need not sell each meter, so
// a meter without a product is not severe: a person can accept it. Usage without a price is in BillingStack, under the right subscription.
var usageRules = map[UsageReason]usageRule{
	UsageNoSubscription: {UsageUnmatched, High, "the tenant was used when it had no subscription", ""},
	UsageNoPlan: {
		UsageUnmatched, High, "the usage cannot be billed, because BillingStack does not have the plan of the subscription",
		"the usage is billed to nobody until the plan is back",
	},
	UsageNoProduct: {
		UsageUnmatched, Low, "the usage is not billed, because no product of the merchant has this meter", "nobody, unless the merchant charges for the usage of the meter",
	},
	UsageAmbiguous: {UsageUnmatched, High, "the usage cannot be billed, because a plan of the merchant has several products with the product name of this meter", ""},
	UsageOtherUnit: {UsageUnmatched, High, "the usage is not billed, because the meter is billed in another unit", ""},
	UsageSeveralUnits: {
		UsageUnmatched, High, "the usage is not billed, because the meter has several units in the hour, and the file of meters does not state which unit is billed", "",
	},
	UsageNotLive: {UsageAfterEnd, High, "the tenant was used after the end of the subscription", ""},
	UsageNoPrice: {UsageUnpriced, Medium, "the usage was posted without a price, because the product has no fixed price", ""},
	UsageOther:   {UsageDiffers, High, "BillingStack has other numbers than Tenantry for the usage", ""},
}

// The method `rule` returns the rule of a reason. A newer release may have stored a reason that this release does not know.
func (r UsageReason) rule() usageRule {
	if rule, known := usageRules[r]; known {
		return rule
	}
	return usageRule{UsageUnmatched, High, "the usage is not billed as it should be", ""}
}

func (r UsageReason) code() Code { return r.rule().code }

// ofRows reports whether the reason is about rows in BillingStack.
func (r UsageReason) ofRows() bool { return r == UsageNoPrice || r == UsageOther }

// ofCustomer reports whether the usage belongs to a customer's tenant. Such usage is normal.
func (u *Unmatched) ofCustomer() bool {
	return u.Reason == UsageNoSubscription && u.SubscriptionID == ""
}

// findingID returns the id of the finding about the usage. It depends only on the fields that identify the entry, and not on objects that the
// audit has found. When the entry of a finding has ended, an audit of any scope can therefore resolve the finding. The usage of a customer's tenant
// has one finding. If BillingStack has other numbers for a further hour, this is a new finding. A person who has accepted the earlier finding has not
// seen the numbers of the further hour.
func (u *Unmatched) findingID() string {
	if u.ofCustomer() {
		return findingID(UsageUnmatched, "customer", u.MerchantID, u.Cloud, u.ProjectID)
	}
	if u.Reason == UsageOther {
		return findingID(UsageDiffers, string(u.Reason), u.MerchantID, u.SubscriptionID, u.Meter, u.Last.UTC().Format(time.RFC3339))
	}
	return findingID(u.Reason.code(), string(u.Reason), u.MerchantID, u.Cloud, u.ProjectID, u.SubscriptionID, u.Meter, u.Kind, u.Unit, u.State)
}

// ofUsage reports whether the findings with this code are about usage. They depend only on the database of this installation.
func (c Code) ofUsage() bool { return slices.Contains(rules[c].needs, partUsage) }

// addUsage adds unmatched usage that is reported. The usage of a customer's tenant is added up, because a tenant with one server has the usage
// of dozens of meters.
func (w *world) addUsage(u Unmatched, amount string) {
	id := u.findingID()
	found := w.usage[id]
	if found == nil {
		found = &foundUsage{Unmatched: u, amount: amount}
		w.usage[id] = found
	}
	if !u.ofCustomer() {
		return
	}
	if meter := canon(u.Meter); !slices.Contains(found.meters, meter) {
		found.meters = append(found.meters, meter)
	}
	if u.First.Before(found.First) {
		found.First = u.First
	}
	if u.Last.After(found.Last) {
		found.Last = u.Last
	}
}

// passUsage records that there is unmatched usage that is not reported.
func (w *world) passUsage(u *Unmatched) {
	if id := u.findingID(); w.usage[id] == nil {
		w.usage[id] = nil
	}
}

// compareUsage reports the usage that is not billed as it should be.
func (c *comparison) compareUsage() {
	for id, u := range c.usage {
		if u == nil {
			continue
		}
		about, rule := aboutUsage(c.ledger, c.world, &u.Unmatched), u.Reason.rule()
		about.Repair.Advice = u.advice()
		detail := fmt.Sprintf("%s (%s): %s, %s", rule.detail, u.Reason, u.facts(), u.hours())
		if u.ofCustomer() {
			rule.severity, rule.affected = Info, "nobody: the usage of a customer's tenant is not billed"
			detail = fmt.Sprintf("a customer's tenant was used, and such a tenant has no subscription (%s): %s, %s", u.Reason, someOf(u.meters), u.hours())
		}
		f := c.report(rule.code, about, "", "", detail)
		f.ID, f.Severity, f.Affected = id, rule.severity, cmp.Or(rule.affected, f.Affected)
	}
}

// aboutUsage returns a Finding with the ids and objects of unmatched usage.
func aboutUsage(l *ledger, w *world, u *Unmatched) Finding {
	f := Finding{Cloud: u.Cloud, MerchantID: u.MerchantID, SubscriptionID: u.SubscriptionID, ProjectID: u.ProjectID}
	name := ""
	if t := l.tenants[ref{u.Cloud, u.ProjectID}]; t != nil {
		name = t.name
		f.CustomerID, _ = t.owner()
	}
	if s := l.subscriptions[u.SubscriptionID]; s != nil {
		f.Cloud, f.CustomerID = cmp.Or(f.Cloud, s.cloud), s.customer
	} else if s := w.subscriptions[u.SubscriptionID]; s != nil {
		f.CustomerID = s.customer
	}
	f.Cloud = cmp.Or(f.Cloud, w.merchantFound(u.MerchantID).cloud)
	if u.SubscriptionID != "" {
		f.Objects = append(f.Objects, object(kindSubscription, u.SubscriptionID, ""))
	}
	if u.ProjectID != "" {
		f.Objects = append(f.Objects, object(kindProject, u.ProjectID, name))
	}
	if !u.Reason.ofRows() && !u.ofCustomer() {
		f.Objects = append(f.Objects, object(kindMeter, u.Meter, ""))
	}
	return f
}

// The method `facts` returns the amount, and the meter or product, as in "12.5 vcpu of meter vcpus (gauge)".
func (u *foundUsage) facts() string {
	if u.Reason.ofRows() {
		return fmt.Sprintf("%s of product %s", u.amount, u.Meter)
	}
	what := strings.Join(slices.DeleteFunc([]string{u.Kind, u.Unit}, func(s string) bool { return s == "" }), ", ")
	if u.amount == "" {
		return fmt.Sprintf("meter %s (%s)", u.Meter, what)
	}
	return fmt.Sprintf("%s of meter %s (%s)", strings.TrimSpace(u.amount+" "+u.Unit), u.Meter, u.Kind)
}

func (u *foundUsage) hours() string {
	first, last := u.First.UTC().Format(time.RFC3339), u.Last.UTC().Format(time.RFC3339)
	if first == last {
		return "in the hour " + first
	}
	return "first hour " + first + ", last hour " + last
}

// maxMeters is the maximum number of meters that the detail of a finding names.
const maxMeters = 5

// someOf returns a text that names some of the meters.
func someOf(meters []string) string {
	if more := len(meters) - maxMeters; more > 0 {
		return fmt.Sprintf("meters %s and %d more", strings.Join(meters[:maxMeters], ", "), more)
	}
	return "meters " + strings.Join(meters, ", ")
}

// The method `advice` returns what a person can do about the usage.
func (u *foundUsage) advice() string {
	merchant := []string{"--merchant", u.MerchantID}
	unmatched := explain.Command(append([]string{"tenantry", "usage", "unmatched"}, merchant...)...)
	show := explain.Command(append([]string{"tenantry", "usage", "show", u.SubscriptionID}, merchant...)...)
	again := ", and bill the earlier hours again: " +
		explain.Command(append([]string{"tenantry", "usage", "bill"}, merchant...)...) + " --from TIME --to TIME --why REASON"
	switch u.Reason {
	case UsageNoSubscription:
		if u.ofCustomer() {
			return "you can ignore the usage, or find out who uses the tenant; this command shows the amounts: " + unmatched
		}
		return "find out who has used the tenant"
	case UsageNotLive:
		return "remove the resources that are still in the tenant, or restore the subscription: " +
			explain.Command(append([]string{"tenantry", "subscriptions", "restore", u.SubscriptionID}, merchant...)...)
	case UsageNoPlan:
		return "restore the plan in BillingStack; Tenantry looks for the plan every hour, and bills the usage when it finds the plan"
	case UsageNoProduct:
		return "if the merchant charges for this usage, create a product or correct TENANTRY_METERS" + again + "; otherwise, accept the finding"
	case UsageAmbiguous:
		return "rename one of the products in BillingStack" + again
	case UsageOtherUnit:
		return "correct the unit and the divisor of the meter in TENANTRY_METERS" + again + "; or accept the finding"
	case UsageSeveralUnits:
		return "state the unit of the meter in TENANTRY_METERS" + again
	case UsageNoPrice:
		return "give the product a fixed price" + again + " --current; or correct the rows in BillingStack, and then accept the finding; this command shows the rows: " + show
	case UsageOther:
		return "find out which numbers are right, correct the usage in BillingStack, and then accept the finding; this command shows both numbers: " + show
	}
	return "look at the usage: " + unmatched
}

package explain

import (
	"maps"
	"slices"
)

// UsageReasons returns the reasons why usage is not billed as it should be, sorted.
func UsageReasons() []string { return slices.Sorted(maps.Keys(usages)) }

// Usage returns the entry of a reason why usage is not billed as it should be, and reports whether the table has it.
func Usage(reason string) (Entry, bool) {
	e, known := usages[reason]
	return e, known
}

var billAgain = Step{
	Text: "Bill the earlier hours again.", Command: "tenantry usage bill --merchant {merchant} --from TIME --to TIME --why REASON",
}

// The table of the reasons why usage is not billed as it should be.
var usages = map[string]Entry{
	"no-subscription": {
		What:  "The project had no subscription at this time, for example because it is a customer's tenant.",
		Means: "The usage is billed to nobody.",
		FixBy: by(Nobody, Operator), Do: do("Do nothing, or ask who uses the project."),
	},
	"subscription-over": {
		What: "Something still runs in the tenant of an ended subscription.", Means: "The usage is billed to nobody.", FixBy: by(Operator),
		Do: do("Remove the resources of the tenant, or restore the subscription."),
	},
	"plan-gone": {
		What:  "BillingStack does not have the plan of the subscription.",
		Means: "The usage is billed to nobody until the plan is back.",
		FixBy: by(Merchant),
		Do:    do("Restore the plan: Tenantry looks for it every hour, for 30 days."),
	},
	"no-product": {
		What:  "The merchant has no product for the meter.",
		Means: "Nobody is affected, unless the merchant charges for the usage of the meter.",
		FixBy: by(Merchant),
		Do:    []Step{{Text: "If you charge for this usage, create a product or correct `TENANTRY_METERS`. Tenantry bills the hours after this change."}, billAgain},
	},
	"product-ambiguous": {
		What: "The plan has several products with this name.", Means: "The usage is billed to nobody.", FixBy: by(Merchant),
		Do: []Step{{Text: "Rename one of these products. Tenantry bills the hours after this change."}, billAgain},
	},
	"other-unit": {
		What:  "The file of meters states another unit for this meter.",
		Means: "The usage is billed to nobody.",
		FixBy: by(Operator),
		Do:    []Step{{Text: "If the file is wrong, correct `unit` and `divide_by`. Tenantry bills the hours after this change."}, billAgain},
	},
	"several-units": {
		What:  "The samples of the meter have several units within the hour, and the file of meters does not state the unit.",
		Means: "The usage is billed to nobody.",
		FixBy: by(Operator),
		Do:    []Step{{Text: "State the unit in the file of meters. Tenantry bills the hours after this change in this unit."}, billAgain},
	},
	"unpriced": {
		What:  "The usage was posted without a price.",
		Means: "Nobody pays for the usage until it gets a price in BillingStack.",
		FixBy: by(Merchant),
		Do: []Step{
			{
				Text:    "Give the product a fixed price, and bill these hours again.",
				Command: "tenantry usage bill --merchant {merchant} --from TIME --to TIME --current --why REASON",
			},
			{Text: "Or correct these rows in BillingStack."},
		},
	},
	"differs": {
		What: "For the id of a row, BillingStack has other numbers than Tenantry, for example because samples were lost when a database was" +
			" restored.",
		Why:   "Tenantry does not change these numbers, and does not bill the difference.",
		Means: "The customer pays for another amount.",
		FixBy: by(Operator),
		Do: do("Compare the numbers of Tenantry and BillingStack: `tenantry usage show` shows both.",
			"If you restore Tenantry's database from a backup, look at the list of unmatched usage a day later."),
	},
}

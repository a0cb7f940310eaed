package audit

import (
	"context"
	"fmt"
)

// maxUnmatched is the maximum number of entries of unmatched usage that an audit reports for one merchant. The usage of customers' tenants
// does not count.
const maxUnmatched = 10_000

// readUnmatched reads the unmatched usage of a merchant. It also reads the entries that are not reported, so that the findings about these
// entries are not resolved. The runs of the scope must have been read.
func (r *reading) readUnmatched(ctx context.Context, merchant string) error {
	r.step("reading unmatched usage", 0, 0)
	kept, more := 0, 0
	err := r.Store.EachUnmatched(ctx, merchant, func(u Unmatched) error {
		about := aboutUsage(r.ledger, r.world, &u)
		switch counts := !u.ofCustomer(); {
		case !r.scope.contains(&about):
			r.passUsage(&u)
			return nil
		case counts && kept == r.maxUnmatched:
			more++
			r.passUsage(&u)
			return nil
		case counts:
			kept++
		}
		if u.ofCustomer() || u.Reason.OfMeter() {
			r.addUsage(u, "")
			return nil
		}
		amount, err := r.Store.UnmatchedAmount(ctx, u)
		if err == nil && (amount != "0" || u.Reason == UsageOther) {
			r.addUsage(u, amount)
		}
		return err
	})
	if err != nil {
		return err
	}
	if more > 0 {
		r.note(Gap{Code: GapTooManyFindings, MerchantID: merchant, Detail: fmt.Sprintf(
			"the merchant has %d entries of unmatched usage: the audit did not report %d of them", kept+more, more)})
	}
	r.merchant(merchant).usageRead = true
	return nil
}

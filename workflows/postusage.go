package workflows

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

// PostUsageName is the name of the workflow that [PostUsage] returns.
const PostUsageName = "post-usage"

// Posting is the data of a run that posts rows of usage to BillingStack. All rows belong to one hour. A Posting is stored as JSON, so fields
// may be added, but never removed or renamed.
type Posting struct {
	ID         string      `json:"id"` // identifies the posting; several runs may try the same posting, one after the other
	MerchantID string      `json:"merchant_id"`
	Hour       time.Time   `json:"hour"` // the beginning of the hour
	Rows       []usage.Row `json:"rows"` // sorted by subscription

	// The steps set the fields below.

	Posted  map[string]bool   `json:"posted,omitempty"`  // by the item of a step: BillingStack has the rows of the step
	Differs map[string]string `json:"differs,omitempty"` // by the id of a row: the difference between BillingStack's usage and the row
}

// PostUsageResult is the part of a Posting that the API returns with a run.
type PostUsageResult struct {
	Hour    time.Time         `json:"hour"`
	Rows    int               `json:"rows"`
	Differs map[string]string `json:"differs,omitempty"`
}

// Books records which rows of usage BillingStack has: see [usage.Books].
type Books interface {
	Posted(ctx context.Context, now time.Time, merchant, run string, rows []usage.Posted) error
}

// BilledState reports whether the usage of a subscription in this state is billed. The usage of a suspended subscription is billed, because
// the servers in the subscription's tenant go on running.
func BilledState(state string) bool {
	return state == string(SubscriptionActive) || state == string(SubscriptionSuspended)
}

// UsageCatalog asks BillingStack for the products that a merchant sells. The requests wait in the merchant's own queue, and cannot write.
func (d Deps) UsageCatalog(ctx context.Context, merchantID string) (usage.Catalog, error) {
	ctx = upstream.WithCaller(ctx, upstream.Caller{Merchant: merchantID, ReadOnly: true})
	var offers usage.Offers
	// The plans are read first, so that each product in a plan is also in the list of products.
	if err := d.Billing.EachOffer(ctx, merchantID, offers.AddPlan); err != nil {
		return usage.Catalog{}, err
	}
	if err := d.Billing.EachPricing(ctx, merchantID, offers.AddProduct); err != nil {
		return usage.Catalog{}, err
	}
	return offers.Catalog()
}

// PostUsageLater returns the follow-up whose run posts rows.
func (d Deps) PostUsageLater(merchantID string, hour time.Time, rows []usage.Row) saga.FollowUp {
	return Posting{ID: d.NewID(), MerchantID: merchantID, Hour: hour, Rows: rows}.later(d.Now())
}

// All runs that post the usage of one merchant have the same subject, so they execute one at a time. A cause that stops one of these runs
// would probably also stop the others.
func (p Posting) later(due time.Time) saga.FollowUp {
	q := p.Request("")
	return saga.FollowUp{
		Workflow: q.Workflow, ID: p.ID, Merchant: q.Merchant, Subject: q.Subject, Doubles: q.Doubles, Input: q.Input, DueAt: due,
	}
}

// Request returns the request for a run that posts the rows.
func (p Posting) Request(runID string) saga.Request {
	return saga.Request{
		ID: runID, Workflow: PostUsageName, Merchant: p.MerchantID, Subject: p.MerchantID + ":usage", Doubles: PostUsageName + " " + p.ID,
		OnFailure: saga.FailureCompensates, Input: Posting{ID: p.ID, MerchantID: p.MerchantID, Hour: p.Hour, Rows: p.Rows},
	}
}

// PostUsage returns the workflow that posts rows of usage to BillingStack, with one step for each subscription. The id of a row does not depend
// on the run, so several runs may post the same rows. If the run fails, another run posts the rest a day later.
func PostUsage(d Deps) saga.Workflow[Posting] {
	return saga.Workflow[Posting]{
		Name: PostUsageName, Version: 1, Classify: Classify, Unaudited: true,
		Meaning: saga.Meaning{
			Open:   "No user is affected: the usage is not in BillingStack yet.",
			Failed: "No user is affected: the usage is not in BillingStack. Another run posts it later.",
			Done:   "No user is affected: the usage is in BillingStack.",
		},
		// A late request of an earlier run only posts a row that this run would also post. A merchant has many succeeded postings, and this
		// run must not read them all.
		NewSubject: func(Posting) bool { return true },
		Retry:      func(_ context.Context, p Posting, runID string) (saga.Request, error) { return p.Request(runID), nil },
		Expect: func(p Posting) (all []saga.Expected) {
			for item, rows := range p.parts() {
				for _, r := range rows {
					all = append(all, saga.Expected{
						Object: saga.Object{Step: "post/" + item, Kind: "usage", ID: r.ID, Name: r.Name, Origin: saga.Adopted},
						Fields: map[string]string{"subscription_id": r.Subscription, "product_id": r.Product},
					})
				}
			}
			slices.SortFunc(all, func(a, b saga.Expected) int { return cmp.Compare(a.ID, b.ID) })
			return all
		},
		Result: func(p Posting) any { return PostUsageResult{p.Hour, len(p.Rows), p.Differs} },
		Then:   afterPosting,
		Steps: []saga.Step[Posting]{{
			Name: "post", Effect: saga.Changes, // the step changes the bill: no run owns a row
			Each:   (*Posting).items,
			Do:     d.postUsage,
			NoUndo: "the usage has happened and is billed; posting it again changes nothing",
		}},
	}
}

// The method `parts` returns the rows of each step, by the item of the step. Each step posts the rows of one subscription. The items are 1, 2
// and so on, in the sequence of the rows.
func (p *Posting) parts() map[string][]usage.Row {
	all := map[string][]usage.Row{}
	item := ""
	for i, r := range p.Rows {
		if i == 0 || r.Subscription != p.Rows[i-1].Subscription {
			item = strconv.Itoa(len(all) + 1)
		}
		all[item] = append(all[item], r)
	}
	return all
}

func (p *Posting) items() []string {
	all := make([]string, len(p.parts()))
	for i := range all {
		all[i] = strconv.Itoa(i + 1)
	}
	return all
}

// postUsage posts the rows of the step's subscription. The step has no Find, because an earlier attempt may have posted only some of the
// rows. Instead, if the outcome of an earlier attempt is unknown, postUsage looks for each row before it posts the row.
func (d Deps) postUsage(ctx context.Context, p *Posting) error {
	call := saga.CallOf(ctx)
	var posted []usage.Posted
	var refused error // the first row that BillingStack refuses permanently
	for _, r := range p.parts()[call.Item] {
		found, err := d.postRow(ctx, p.MerchantID, r, call.Look)
		if err != nil && Classify(err).Class == upstream.Permanent { // the other rows must still be posted
			if refused == nil {
				refused = err
			}
			continue
		}
		if err != nil {
			return err
		}
		differs := r.Differs(found)
		if differs != "" { // the numbers in BillingStack stay as they are: somebody must look at them
			put(&p.Differs, r.ID, differs)
		}
		posted = append(posted, usage.Posted{Row: r.ID, Differs: differs})
		record(ctx, "usage", r.ID, r.Name, saga.Adopted)
	}
	if err := d.Books.Posted(ctx, d.Now(), p.MerchantID, call.RunID, posted); err != nil {
		return err
	}
	if refused == nil {
		put(&p.Posted, call.Item, true)
	}
	return refused
}

// postRow returns the usage that BillingStack has under the id of the row, and posts the row if there is none. If the id belongs to usage of
// another subscription or product, postRow returns billing.ErrConflict.
func (d Deps) postRow(ctx context.Context, merchantID string, r usage.Row, look bool) (billing.Usage, error) {
	if look {
		found, err := d.Billing.OneUsage(ctx, merchantID, r.ID)
		ours := err == nil && found.SubscriptionID == r.Subscription && found.ProductID == r.Product
		if ours || err != nil && !errors.Is(err, billing.ErrNotFound) {
			return found, err
		}
	}
	return d.Billing.CreateUsage(ctx, merchantID, r.Usage())
}

// The function `put` adds an entry to a map that may be nil.
func put[V any](to *map[string]V, key string, value V) {
	if *to == nil {
		*to = map[string]V{}
	}
	(*to)[key] = value
}

// afterPosting drops the follow-up of a posting that has succeeded. Otherwise, it schedules the rest of the posting.
func afterPosting(p Posting, end saga.End) []saga.FollowUp {
	rest := p
	rest.Rows = nil
	for _, item := range p.items() {
		if !p.Posted[item] {
			rest.Rows = append(rest.Rows, p.parts()[item]...)
		}
	}
	f := rest.later(end.Now.Add(again))
	if f.Reason = end.Cause; end.Cause == nil || len(rest.Rows) == 0 {
		f.Reason, f.DueAt = nil, time.Time{}
	}
	return []saga.FollowUp{f}
}

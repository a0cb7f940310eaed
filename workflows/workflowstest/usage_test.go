package workflowstest

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/workflows"
)

// differing is how BillingStack's usage differs from the second row of the run "posted".
const differing = "the value is 7 in BillingStack, not 2"

// The method `bill` adds two postings for the subscription of the run "fresh". The run "posted" has posted two rows, but BillingStack already
// had the second one with another value. The run "unposted" is compensated, and its follow-up waits.
func (p *play) bill() {
	rows := func(product string) (rows []usage.Row) {
		for revision, value := range []int64{1, 2} {
			hour := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
			r := usage.Row{
				Subscription: p.order(p.fresh).SubscriptionID, Product: named(product), Name: product, From: hour, To: hour.Add(time.Hour),
				Revision: revision, Value: decimal.New(value, 0),
			}
			r.ID = usage.RowID(r.Subscription, r.Product, r.Window(), r.Revision)
			rows = append(rows, r)
		}
		return rows
	}
	post := func(name string, rows []usage.Row) *saga.Run {
		r := p.start(workflows.Posting{ID: named(name), MerchantID: acme, Hour: rows[0].From, Rows: rows}.Request(named("run "+name)), "")
		r.Steps = []saga.StepRow{{Name: "post/1", State: saga.StepPending}}
		return r
	}

	posted := rows("vcpus")
	other := posted[1]
	other.Value = decimal.New(7, 0)
	p.Now.Usage = append(p.Now.Usage, other.Usage(), posted[0].Usage())
	p.Others.Usage = append(p.Others.Usage, other.Usage())
	p.posted = post("posted", posted)
	p.do(p.posted, "")
	p.output(p.posted, map[string]any{"posted": map[string]bool{"1": true}, "differs": map[string]string{other.ID: differing}})

	unposted := rows("memory")
	p.unposted = post("unposted", unposted)
	p.turnBack(p.unposted, "post/1")
	p.tell(p.unposted, saga.Event{Kind: saga.EventCompensated})
	p.end(p.unposted, saga.Compensated)
	p.Now.Usage = append(p.Now.Usage, unposted[0].Usage()) // the run failed after its first request
	p.FollowUps = []saga.FollowUp{{
		Workflow: workflows.PostUsageName, ID: named("unposted"), Merchant: acme, Input: p.unposted.Input, DueAt: p.now.Add(time.Hour),
		Reason: p.unposted.Cause, RunID: p.unposted.ID,
	}}
	p.Rows = []usage.BilledRow{
		{Row: posted[0], Run: p.posted.ID, PostedAt: p.now},
		{Row: posted[1], Run: p.posted.ID, PostedAt: p.now, Differs: differing},
		{Row: unposted[0]},
		{Row: unposted[1]},
	}
}

// The method `output` replaces the output of the run's first step.
func (s *stage) output(r *saga.Run, changed map[string]any) {
	output, err := json.Marshal(changed)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Steps[0].Output = output
}

// billed returns the usage that BillingStack has for row n of the database.
func (p *play) billed(n int) *billing.Usage {
	i := slices.IndexFunc(p.Now.Usage, func(u billing.Usage) bool { return u.ID == p.Rows[n].ID })
	return &p.Now.Usage[i]
}

// The method `unbill` removes the usage of row n from BillingStack.
func (p *play) unbill(n int) {
	p.Now.Usage = slices.DeleteFunc(p.Now.Usage, func(u billing.Usage) bool { return u.ID == p.Rows[n].ID })
}

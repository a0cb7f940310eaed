package audit

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/explain"
)

// WaitingUsage is usage of a merchant that has waited too long to be billed.
type WaitingUsage struct {
	Since time.Time // when the oldest of this usage began to wait; zero: there is no such usage
	Hours int       // the number of hours of projects that wait to be billed, at most MaxWaiting
	Rows  int       // the number of rows that wait to be posted to BillingStack, at most MaxWaiting
	// Failure is the reason why the last attempt to bill the merchant's usage failed. It is empty if no attempt has failed, or if usage was
	// billed since the failure. FailedAt is the time of this failure.
	Failure  string
	FailedAt time.Time
}

// MaxWaiting is the maximum number of waiting hours and of waiting rows that are counted.
const MaxWaiting = 10_000

// readWaiting reads the usage of a merchant that has waited too long.
func (r *reading) readWaiting(ctx context.Context, merchant string) (err error) {
	r.merchant(merchant).waiting, err = r.Store.WaitingUsage(ctx, merchant, r.Now().Add(-waitsTooLong))
	return err
}

// compareWaiting reports the merchants whose usage has waited too long.
func (c *comparison) compareWaiting() {
	for id, m := range c.merchants {
		w := m.waiting
		if w.Since.IsZero() {
			continue
		}
		about := Finding{Cloud: m.cloud, MerchantID: id, Objects: []Object{object(kindMerchant, id, "")}}
		about.Repair.Advice = w.advice(id)
		c.report(UsageWaiting, about, "", "", w.detail()).ID = findingID(UsageWaiting, id)
	}
}

func (w WaitingUsage) detail() string {
	text := "usage has waited to be billed since " + w.Since.UTC().Format(time.RFC3339)
	if w.Hours > 0 {
		text += fmt.Sprintf("; not billed yet: %s of tenants", number(w.Hours, "hour"))
	}
	if w.Rows > 0 {
		text += fmt.Sprintf("; not in BillingStack yet: %s", number(w.Rows, "row"))
	}
	if w.Hours > 0 && w.Failure != "" {
		text += fmt.Sprintf("; the last failure, at %s: %s", w.FailedAt.UTC().Format(time.RFC3339), w.Failure)
	}
	return text
}

// The function `number` returns a number of things as a text, such as "1 hour" or "10000 or more hours".
func number(n int, what string) string {
	switch n {
	case 1:
		return "1 " + what
	case MaxWaiting:
		return fmt.Sprintf("%d or more %ss", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// The method `advice` returns what a person can do about the usage.
func (w WaitingUsage) advice(merchant string) string {
	var all []string
	if w.Hours > 0 {
		all = append(all, "remove the cause of the last failure; if no failure is named, look for errors about usage in the logs of the replicas")
	}
	if w.Rows > 0 {
		all = append(all, "find out why the runs that post rows fail: "+explain.Command("tenantry", "runs", "list", "--merchant", merchant))
	}
	return strings.Join(all, "; ") + "; after that, the usage is billed, and the next audit resolves the finding"
}

package portal

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// usageTime is the length of the range whose usage a page shows. A request to the API cannot have a longer range.
const usageTime = 7 * 24 * time.Hour

// maxUsagePages is the maximum number of answers whose usages are added up. An answer has about 2,000 usages.
const maxUsagePages = 10

// The type `usage` is the usage of a subscription since a time.
type usage struct {
	Lines []usageLine
	Total string // of all lines with a price
}

// The type `usageLine` is the usage of one product.
type usageLine struct {
	Product string
	Amount  string
	Total   string // empty if the product has no fixed price
}

// usageOf adds up the rows that BillingStack gets for a subscription. The amounts are exact decimals, so the sum on the page equals the sum on
// the bill.
func (p *portal) usageOf(ctx context.Context, id string) (*usage, error) {
	now := p.Now()
	made := &usage{}
	type sum struct {
		amount, total decimal.Decimal
		priced        bool
	}
	sums := map[string]sum{}
	from := now.Add(-usageTime)
	for page := 0; ; page++ {
		if page == maxUsagePages { // a part of the usage must not look like all of it
			return nil, errors.New("the usage has too many parts")
		}
		list, _, err := read[client.UsageList](p.api.GetUsage(ctx, p.Merchant, id, &client.GetUsageParams{From: &from, To: &now}))
		if err != nil {
			return nil, err
		}
		for _, row := range list.Rows {
			s := sums[row.Product]
			amount, err := decimal.NewFromString(row.Value)
			if err != nil {
				return nil, err
			}
			s.amount = s.amount.Add(amount)
			if row.Total != nil {
				total, err := decimal.NewFromString(*row.Total)
				if err != nil {
					return nil, err
				}
				s.total, s.priced = s.total.Add(total), true
			}
			sums[row.Product] = s
		}
		next, ok := nextFrom(list.Links)
		if !ok || !next.After(from) {
			break
		}
		from = next
	}
	var total decimal.Decimal
	for product, s := range sums {
		line := usageLine{Product: product, Amount: s.amount.String()}
		if s.priced {
			line.Total, total = money(s.total), total.Add(s.total)
		}
		made.Lines = append(made.Lines, line)
	}
	made.Total = money(total)
	slices.SortFunc(made.Lines, func(a, b usageLine) int { return cmp.Compare(a.Product, b.Product) })
	return made, nil
}

// The function `money` writes an amount with at least two decimal places. It does not round the amount, so that the lines add up to their
// total.
func money(amount decimal.Decimal) string {
	if amount.Equal(amount.Truncate(2)) {
		return amount.StringFixed(2)
	}
	return amount.String()
}

// nextFrom returns the time at which the usage on the next page begins.
func nextFrom(links client.Links) (time.Time, bool) {
	for _, l := range links {
		if l.Rel != "next" {
			continue
		}
		u, err := url.Parse(l.Href)
		if err != nil {
			return time.Time{}, false
		}
		from, err := time.Parse(time.RFC3339Nano, u.Query().Get("from"))
		return from, err == nil
	}
	return time.Time{}, false
}

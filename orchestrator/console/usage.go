package console

import (
	"cmp"
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/shopspring/decimal"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

const (
	aDay = 24 * time.Hour
	// longestUsage is the longest range of usage in one answer of the API.
	longestUsage = 7 * aDay
	// maxUsageCalls is the maximum number of calls for the usage on a page. If the usage needs more calls, the oldest usage is left out.
	maxUsageCalls = 20
	// To find the unmatched usage of the subscription, the page reads at most unmatchedOnPage entries.
	unmatchedOnPage = 200
)

// The type `span` is a period that a person can choose. The page divides it into bars of the same length.
type span struct {
	Name string
	bar  time.Duration
	bars int
}

var spans = []span{{"day", time.Hour, 24}, {"week", aDay, 7}, {"month", aDay, 30}}

// The type `usageView` is the usage of a subscription, as bars.
type usageView struct {
	Span, Fault string
	Spans       []span
	ID          string
	Merchant    string    // for the addresses
	From, To    time.Time // the bars are between these times
	CutAt       time.Time // if it is set, there was too much usage, and the page leaves out the usage before this time
	Billed      []plot    // by product
	Measured    []plot    // by meter
	Unmatched   []client.UnmatchedUsage
}

// The type `plot` is the usage of a product or of a meter.
type plot struct {
	Name, Unit string
	Total      decimal.Decimal
	Price      *decimal.Decimal
	Most       decimal.Decimal // the highest bar
	Bars       []usageBar
	has        map[string]bool // the kinds of its usage
}

// The type `usageBar` is the usage in an hour or a day.
type usageBar struct {
	From, To time.Time
	Parts    []usagePart // from the bottom to the top
}

// The type `usagePart` is the part of a bar with one kind of usage: posted, waiting or differing rows, or measured or unmatched usage.
type usagePart struct {
	Kind   string
	Amount decimal.Decimal
	Y, H   int // in the picture, whose height is plotHeight
}

const (
	plotHeight = 100
	barWidth   = 10
)

// Width returns the width of the picture of a plot.
func (p plot) Width() int { return len(p.Bars) * barWidth }

// Height returns the height of the picture of a plot.
func (p plot) Height() int { return plotHeight }

// Axis returns the usage of the highest bar, rounded, as the text of the axis.
func (p plot) Axis() string { return roundedText(p.Most) }

// Sum returns the usage of all bars, rounded.
func (p plot) Sum() string { return roundedText(p.Total) }

// Money returns the price of the usage.
func (p plot) Money() string {
	if p.Price == nil {
		return ""
	}
	return p.Price.StringFixed(2)
}

// roundedText writes a number with at least three digits.
func roundedText(d decimal.Decimal) string {
	places := int32(0)
	for scaled := d.Abs(); scaled.LessThan(decimal.New(100, 0)) && places < maxPlaces; places++ {
		scaled = scaled.Shift(1)
	}
	return d.Round(places).String()
}

// maxPlaces is the number of digits after the decimal point to which the usage of gauges is rounded.
const maxPlaces = 12

// The type `amounts` has amounts by bar and kind.
type amounts map[int]map[string]decimal.Decimal

func (a amounts) add(at int, kind string, d decimal.Decimal) {
	if a[at] == nil {
		a[at] = map[string]decimal.Decimal{}
	}
	a[at][kind] = a[at][kind].Add(d)
}

// usageKinds are the kinds of parts of a bar, from the bottom to the top.
var usageKinds = []string{"posted", "waiting", "differing", "measured", "unmatched"}

// readUsage reads the usage of a subscription in the span that the query names.
func (c *console) readUsage(e echo.Context, api *client.ClientWithResponses, merchant, id string, now time.Time) (v usageView, err error) {
	i := max(0, slices.IndexFunc(spans, func(s span) bool { return s.Name == e.QueryParam("usage") }))
	s := spans[i]
	v = usageView{Span: s.Name, Spans: spans, ID: id, Merchant: merchant}
	v.To = now.UTC().Truncate(s.bar).Add(s.bar)
	v.From = v.To.Add(-time.Duration(s.bars) * s.bar)
	ctx := e.Request().Context()
	read, fault, err := v.read(ctx, api)
	if err != nil || fault != "" {
		v.Fault = fault
		return v, err
	}
	if len(read.Usage) > 0 { // without usage, there is no unmatched usage
		if v.Unmatched, err = readUnmatched(ctx, api, merchant, id, read.Usage); err != nil {
			return v, err
		}
	}
	v.draw(read, s)
	return v, nil
}

// The method `read` reads the usage and the rows between From and To, the newest first.
func (v *usageView) read(ctx context.Context, api *client.ClientWithResponses) (all client.UsageList, fault string, err error) {
	calls := 0
	for to := v.To; to.After(v.From); to = to.Add(-longestUsage) {
		from := to.Add(-longestUsage)
		if from.Before(v.From) {
			from = v.From
		}
		for begin := from; !begin.IsZero(); calls++ {
			if calls == maxUsageCalls {
				v.CutAt = to
				return all, "", nil
			}
			answer, err := api.GetUsageWithResponse(ctx, v.Merchant, v.ID, &client.GetUsageParams{From: &begin, To: &to})
			if err != nil {
				return all, "", err
			}
			page, fault, err := partOf(answer.JSON200, answer.HTTPResponse, answer.Body)
			if page == nil {
				return all, fault, err
			}
			all.Usage, all.Rows = append(all.Usage, page.Usage...), append(all.Rows, page.Rows...)
			begin = restOf(page.Links)
		}
	}
	return all, "", nil
}

// restOf returns the time at which the usage on the next page begins. If there is no next page, the time is zero.
func restOf(links client.Links) time.Time {
	for _, link := range links {
		if u, err := url.Parse(link.Href); err == nil && link.Rel == "next" {
			if t, err := time.Parse(time.RFC3339Nano, u.Query().Get("from")); err == nil {
				return t
			}
		}
	}
	return time.Time{}
}

// readUnmatched reads the unmatched usage of the subscription. An entry without a subscription is about the meters of all subscriptions.
func readUnmatched(
	ctx context.Context, api *client.ClientWithResponses, merchant, id string, of []client.Usage,
) (own []client.UnmatchedUsage, err error) {
	answer, err := api.ListUnmatchedUsageWithResponse(ctx, merchant, &client.ListUnmatchedUsageParams{Limit: new(unmatchedOnPage)})
	if err != nil {
		return nil, err
	}
	list, _, err := partOf(answer.JSON200, answer.HTTPResponse, answer.Body)
	if list == nil {
		return nil, err
	}
	for _, u := range list.Unmatched {
		metered := func(one client.Usage) bool { return one.Meter == u.Meter }
		if plainOf(u.SubscriptionID) == id || plainOf(u.SubscriptionID) == "" && plainOf(u.ProjectID) == "" && slices.ContainsFunc(of, metered) {
			own = append(own, u)
		}
	}
	return own, nil
}

// unmatched reports whether the usage is not billed.
func (v *usageView) unmatched(u client.Usage) bool {
	return slices.ContainsFunc(v.Unmatched, func(t client.UnmatchedUsage) bool {
		billed := t.Reason == client.Unpriced || t.Reason == client.Differs // these entries name products
		begins := u.From.Truncate(time.Hour)
		return !billed && t.Meter == u.Meter && !begins.Before(t.FirstHour) && !begins.After(t.LastHour)
	})
}

// The method `draw` makes a plot for each product, and for each meter and unit.
func (v *usageView) draw(read client.UsageList, s span) {
	at := func(t time.Time) int { return min(s.bars-1, max(0, int(t.Sub(v.From)/s.bar))) }
	billed, measured := map[string]amounts{}, map[string]amounts{}
	prices := map[string]*decimal.Decimal{}
	add := func(to map[string]amounts, name string, from time.Time, kind, amount string) {
		d, err := decimal.NewFromString(amount)
		if err != nil {
			return
		}
		if to[name] == nil {
			to[name] = amounts{}
		}
		to[name].add(at(from), kind, d)
	}
	for _, r := range read.Rows {
		add(billed, r.Product, r.From, string(r.State), r.Value)
		if d, err := decimal.NewFromString(plainOf(r.Total)); err == nil {
			if prices[r.Product] != nil {
				d = d.Add(*prices[r.Product])
			}
			prices[r.Product] = &d
		}
	}
	for _, u := range read.Usage {
		kind := "measured"
		if v.unmatched(u) {
			kind = "unmatched"
		}
		unit := u.Unit
		if u.Kind == client.Gauge {
			unit += " hours"
		}
		add(measured, u.Meter+"\x00"+unit, u.From, kind, u.Amount)
	}
	for _, name := range slices.Sorted(maps.Keys(billed)) {
		p := v.plot(name, billed[name], s)
		p.Price = prices[name]
		v.Billed = append(v.Billed, p)
	}
	for _, name := range slices.Sorted(maps.Keys(measured)) {
		p := v.plot(name, measured[name], s)
		p.Name, p.Unit, _ = strings.Cut(name, "\x00")
		v.Measured = append(v.Measured, p)
	}
}

// The method `plot` stacks the parts of each bar. The highest bar has the height of the picture.
func (v *usageView) plot(name string, of amounts, s span) plot {
	p := plot{Name: name, has: map[string]bool{}}
	for i := range s.bars {
		b := usageBar{From: v.From.Add(time.Duration(i) * s.bar)}
		b.To = b.From.Add(s.bar)
		var sum decimal.Decimal
		for _, kind := range usageKinds {
			if d, has := of[i][kind]; has {
				b.Parts = append(b.Parts, usagePart{Kind: kind, Amount: d})
				p.Total, p.has[kind] = p.Total.Add(d), true
				sum = sum.Add(decimal.Max(d, decimal.Zero))
			}
		}
		p.Most = decimal.Max(p.Most, sum)
		p.Bars = append(p.Bars, b)
	}
	if p.Most.IsZero() {
		return p
	}
	for _, b := range p.Bars {
		y := plotHeight
		for j := range b.Parts {
			share := decimal.Max(b.Parts[j].Amount, decimal.Zero).Mul(decimal.New(plotHeight, 0)).DivRound(p.Most, 0)
			b.Parts[j].H = int(share.IntPart())
			if b.Parts[j].Amount.IsPositive() {
				b.Parts[j].H = max(1, b.Parts[j].H) // so that the part can be seen
			}
			b.Parts[j].H = min(b.Parts[j].H, y) // the shares were rounded
			y -= b.Parts[j].H
			b.Parts[j].Y = y
		}
	}
	return p
}

// The type `usageLine` is a line of the table of usage: the usage of a product or meter in a bar.
type usageLine struct {
	From, To   time.Time
	Name, Unit string
	Kinds      map[string]string // the exact amounts
}

// Lines returns the values of all plots, newest first.
func (v usageView) Lines() (all []usageLine) {
	for _, p := range slices.Concat(v.Billed, v.Measured) {
		for _, b := range p.Bars {
			line := usageLine{From: b.From, To: b.To, Name: p.Name, Unit: p.Unit, Kinds: map[string]string{}}
			for _, one := range b.Parts {
				line.Kinds[one.Kind] = one.Amount.String()
			}
			if len(b.Parts) > 0 {
				all = append(all, line)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b usageLine) int { return cmp.Or(b.From.Compare(a.From), cmp.Compare(a.Name, b.Name)) })
	return all
}

// At returns the time of a line as text.
func (l usageLine) At() string { return barTime(l.From, l.To) }

// Has reports whether the plots have usage of a kind, for the legend.
func (v usageView) Has(kind string) bool {
	return slices.ContainsFunc(slices.Concat(v.Billed, v.Measured), func(p plot) bool { return p.has[kind] })
}

// Empty reports whether there is no usage.
func (v usageView) Empty() bool { return len(v.Billed)+len(v.Measured) == 0 }

// Begin and End write the times at the ends of the axis.
func (v usageView) Begin() string { return v.axis(v.From) }

// End returns the time at the right end of the axis as text.
func (v usageView) End() string { return v.axis(v.To) }

func (v usageView) axis(t time.Time) string {
	if v.Span == "day" {
		return t.Format("01-02 15:04")
	}
	return t.Format("2006-01-02")
}

// X returns the left edge of the bar with this number in the picture.
func (plot) X(i int) int { return i*barWidth + 1 }

// Label returns the text about a bar.
func (b usageBar) Label() string {
	all := []string{barTime(b.From, b.To)}
	for _, p := range b.Parts {
		all = append(all, p.Amount.String()+" "+kindWords[p.Kind])
	}
	return strings.Join(all, ", ")
}

// kindWords has the words for the kinds of usage.
var kindWords = map[string]string{
	"posted": "billed", "waiting": "not posted yet", "differing": "differs in BillingStack", "measured": "measured", "unmatched": "not billed",
}

func barTime(from, to time.Time) string {
	if to.Sub(from) == aDay {
		return from.Format("2006-01-02")
	}
	return from.Format("2006-01-02 15:04") + "–" + to.Format("15:04")
}

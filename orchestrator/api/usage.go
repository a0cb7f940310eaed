package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

// Meters checks meter keys.
type Meters interface {
	// Cloud returns the cloud of a key, or usage.ErrNoKey.
	Cloud(ctx context.Context, key, secret string) (string, error)
}

// Samples stores the samples that Ceilometer posts.
type Samples interface {
	// Take stores a post of a cloud's Ceilometer. Take returns usage.ErrNotJSON if the body contains no sample, and usage.ErrFull if the samples
	// could not be stored.
	Take(ctx context.Context, cloud string, body []byte) (usage.Receipt, error)
}

// PostSamples stores samples.
func (s *server) PostSamples(c echo.Context) error {
	got, err := s.Samples.Take(c.Request().Context(), callerOf(c).meters, bodyOf(c))
	switch {
	case errors.Is(err, usage.ErrNotJSON):
		return refuse(bodyMalformed, "%v", usage.ErrNotJSON)
	case errors.Is(err, usage.ErrFull):
		return &problemError{
			kind: upstreamUnavailable, detail: databaseFault(err) + ", and the spool is full or missing", fixBy: FixByAdministrator,
			retryAfter: defaultRetry, cause: err,
		}
	case err != nil:
		return err
	}
	return answerJSON(c, http.StatusAccepted, SamplesReceipt{Samples: got.Samples, Apart: got.Apart, Events: got.Events, Spooled: got.Spooled})
}

const (
	// maxUsage is the longest range of hours in one answer.
	maxUsage = 7 * 24 * time.Hour
	// After about usagesOfPage usages, an answer stops at the end of an hour.
	usagesOfPage = 2000
)

// GetUsage shows the usage of a subscription.
func (s *server) GetUsage(c echo.Context, merchantID, subscriptionID string, p GetUsageParams) error {
	merchant, err := s.merchantOf(c, merchantID)
	if err != nil {
		return err
	}
	to := s.now()
	if p.To != nil {
		to = *p.To
	}
	from := to.Add(-24 * time.Hour)
	if p.From != nil {
		from = *p.From
	}
	if length := to.Sub(from); length < 0 || length > maxUsage {
		return invalid(InvalidParam{Parameter: some("from"), Detail: "the time must be before `to`, by at most 7 days"})
	}
	ctx := c.Request().Context()
	if _, err := s.Admit.Standing(ctx, merchant.ID, subscriptionID); err != nil {
		return err
	}
	hours := usage.Range{From: from, To: to}
	found, next, err := s.Usages.Measured(ctx, merchant.ID, subscriptionID, hours, usagesOfPage)
	if err != nil {
		return err
	}
	links := pageLinks(c, "")
	if !next.IsZero() {
		hours.To = next
		query := url.Values{"from": {next.Format(time.RFC3339Nano)}, "to": {to.Format(time.RFC3339Nano)}}
		links = append(links, Link{Rel: "next", Href: c.Request().URL.Path + "?" + query.Encode()})
	}
	rows, err := s.Usages.Rows(ctx, merchant.ID, subscriptionID, hours)
	if err != nil {
		return err
	}
	answer := UsageList{Usage: []Usage{}, Rows: []UsageRow{}, Links: links}
	products := usage.BilledAs(found, rows)
	for i, m := range found {
		answer.Usage = append(answer.Usage, Usage{
			From: m.From, To: m.To, Meter: m.Meter, Kind: UsageKind(m.Kind), Unit: m.Unit, Amount: m.Amount.String(), PlanID: m.Plan, State: m.State,
			BilledAs: some(products[i]),
		})
	}
	for i := range rows {
		answer.Rows = append(answer.Rows, viewRow(&rows[i]))
	}
	return answerJSON(c, http.StatusOK, answer)
}

func viewRow(r *usage.BilledRow) UsageRow {
	view := UsageRow{
		ID: r.ID, From: r.From, To: r.To, Revision: r.Revision, ProductID: r.Product, Product: r.Name, PlanID: r.Plan, Value: r.Value.String(),
		State: UsageRowStateWaiting, RunID: some(r.Run), Detail: some(r.Differs),
	}
	if r.Price != nil {
		view.Price, view.Total = new(r.Price.String()), new(r.Total().String())
	}
	if r.Run != "" {
		view.State, view.PostedAt = UsageRowStatePosted, &r.PostedAt
	}
	if r.Differs != "" {
		view.State = UsageRowStateDiffering
	}
	return view
}

// ListUnmatchedUsage lists the merchant's usage that is not billed as it should be.
func (s *server) ListUnmatchedUsage(c echo.Context, merchantID string, p ListUnmatchedUsageParams) error {
	merchant, err := s.merchantOf(c, merchantID)
	if err != nil {
		return err
	}
	n, after := defaultRuns, 0
	if p.Limit != nil {
		n = *p.Limit
	}
	if p.Marker != nil {
		after = *p.Marker
	}
	found, err := s.Usages.Troubles(c.Request().Context(), merchant.ID, after, n+1) // one more, which shows whether there is a next page
	if err != nil {
		return err
	}
	answer := UnmatchedUsageList{Unmatched: []UnmatchedUsage{}}
	for i := range found[:min(n, len(found))] {
		answer.Unmatched = append(answer.Unmatched, viewTrouble(&found[i]))
	}
	next := ""
	if len(found) > n {
		next = strconv.Itoa(after + n)
	}
	answer.Links = pageLinks(c, next)
	return answerJSON(c, http.StatusOK, answer)
}

func viewTrouble(t *usage.Trouble) UnmatchedUsage {
	view := UnmatchedUsage{
		Reason: UnmatchedUsageReason(t.Reason), Meter: t.Meter, Unit: some(t.Unit), Cloud: some(t.Cloud), ProjectID: some(t.Project),
		SubscriptionID: some(t.Subscription), State: some(t.State), FirstHour: t.First, LastHour: t.Last,
	}
	if !t.Reason.OfMeter() {
		view.Amount = new(t.Amount.String())
	}
	return view
}

const (
	// maxBilledAgain is the longest range of hours in one request to bill usage again.
	maxBilledAgain = 31 * 24 * time.Hour
	// hoursBilledAgain is the maximum number of hours that one call bills again. An hour of two projects counts twice: see usage.Rebilling.
	hoursBilledAgain = 5000
)

// BillUsageAgain lets usage be billed again.
func (s *server) BillUsageAgain(c echo.Context, merchantID string) error {
	want, err := bodyAs[UsageBillingRequest](c, s.document.operations["billUsageAgain"])
	if err != nil {
		return err
	}
	merchant, err := s.merchantOf(c, merchantID)
	if err != nil {
		return err
	}
	hours, faults := s.rangeToBill(want)
	if !strings.ContainsFunc(want.Why, visible) {
		faults = append(faults, InvalidParam{Pointer: some("/why"), Detail: "the reason is empty"})
	}
	if len(faults) > 0 {
		return invalid(faults...)
	}
	selection := usage.Selection{Range: hours, Merchant: merchant.ID, Subscription: valueOf(want.SubscriptionID), Current: valueOf(want.Current)}
	done, err := s.Rebilling.BillAgain(c.Request().Context(), s.now(), selection, hoursBilledAgain)
	if err != nil {
		return err
	}
	answer := UsageBilling{From: hours.From, To: hours.To, Hours: done.Hours, Projects: done.Projects}
	if !done.Next.IsZero() {
		answer.To, answer.NextFrom = done.Next, &done.Next
	}
	s.Log.Info().Str("request_id", requestID(c)).Str("caller", callerOf(c).String()).Str("why", upstream.Clean(want.Why)).
		Str("merchant_id", merchant.ID).Str("subscription_id", selection.Subscription).Time("from", answer.From).Time("to", answer.To).
		Bool("current", selection.Current).Int("hours", done.Hours).Int("projects", done.Projects).Msg("usage is billed again")
	return answerJSON(c, http.StatusAccepted, answer)
}

// rangeToBill returns the range of a request, or its faults.
func (s *server) rangeToBill(want UsageBillingRequest) (r usage.Range, faults []InvalidParam) {
	parse := func(pointer, text string) time.Time {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil { // the schema allows impossible dates, such as February 30
			faults = append(faults, InvalidParam{Pointer: some(pointer), Detail: wantedTime})
		}
		return at.UTC()
	}
	r.From, r.To = parse("/from", want.From), parse("/to", want.To)
	switch length := r.To.Sub(r.From); {
	case len(faults) > 0:
	case length <= 0 || length > maxBilledAgain:
		faults = append(faults, InvalidParam{Pointer: some("/from"), Detail: "the time must be before `to`, by at most 31 days"})
	case r.To.After(s.now()):
		faults = append(faults, InvalidParam{Pointer: some("/to"), Detail: "the time is in the future"})
	}
	return r, faults
}

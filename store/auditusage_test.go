package store_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/store"
)

// The function `bills` computes the usage of an hour of a project, and bills it with a result that the test chooses.
func bills(t *testing.T, s *store.Store, now time.Time, f usage.Finished, d usage.Due, made usage.Bill) {
	t.Helper()
	add(t, s, sample(d.Project, fmt.Sprint(d.Project, d.Hour), point(usage.Cumulative, d.Hour.Sub(noon), 1)))
	due, _ := take(t, s, now, 1)
	if len(due) != 1 || due[0].Project != d.Project || !due[0].Hour.Equal(d.Hour) {
		t.Fatalf("the due hours are %+v", due)
	}
	must(t, s.Usage().FinishHour(t.Context(), now, due[0], f))
	n, err := s.Usage().Bill(t.Context(), now, f.Merchant, 10, func(usage.Reading) (usage.Bill, []saga.FollowUp) { return made, nil })
	if err != nil || n != 1 {
		t.Fatalf("%d hours were billed, %v", n, err)
	}
}

// unmatchedOf reads the unmatched usage of a merchant as an audit does, in pages of two. The amounts are sorted like the entries.
func unmatchedOf(t *testing.T, s *store.Store, merchant string) (all []audit.Unmatched, amounts []string) {
	t.Helper()
	audits := s.Audits().InPagesOf(2)
	must(t, audits.EachUnmatched(t.Context(), merchant, func(u audit.Unmatched) error {
		amount, err := audits.UnmatchedAmount(t.Context(), u)
		all, amounts = append(all, u), append(amounts, amount)
		return err
	}))
	return all, amounts
}

func TestAuditsReadUnmatchedUsage(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p", "q")
		metered := func(project, subscription, meter, state, amount string, hour time.Time) usage.Metered {
			return usage.Metered{Cloud: "default", Project: project, Subscription: subscription, Measured: usage.Measured{
				Range: usage.Hour(hour), Meter: meter, Kind: usage.Delta, Unit: "u", Amount: decimal.RequireFromString(amount), State: state, Plan: "plan",
			}}
		}
		bill := func(project, subscription string, hour time.Time, reasons map[string]usage.Reason, rows ...usage.Row) {
			t.Helper()
			f, made := usage.Finished{Merchant: "m", Subscription: subscription}, usage.Bill{Rows: rows, Later: map[string]bool{}}
			for meter, reason := range reasons {
				m := metered(project, subscription, meter, "ended", "0.1", hour)
				f.Usage = append(f.Usage, m.Measured)
				if made.Later[subscription] = made.Later[subscription] || reason == usage.NoPlan; reason.OfMeter() {
					m.Cloud, m.Project, m.Subscription, m.State = "", "", "", ""
				}
				made.Unmatched = append(made.Unmatched, usage.Unmatched{Metered: m, Reason: reason})
			}
			for _, r := range rows {
				if r.Price == nil {
					made.Unmatched = append(made.Unmatched, usage.Unmatched{
						Metered: usage.Metered{Subscription: r.Subscription, Measured: usage.Measured{Meter: r.Name}}, Reason: usage.Unpriced,
					})
				}
			}
			bills(t, s, hour.Add(2*time.Hour), f, usage.Due{Project: project, Hour: hour}, made)
		}
		row := func(id, value string, price *decimal.Decimal, hour time.Time) usage.Row {
			h := usage.Hour(hour)
			return usage.Row{
				ID: id, Subscription: "s", Product: "id", Name: "product", Plan: "plan", From: h.From, To: h.To, Value: decimal.RequireFromString(value),
				Price: price,
			}
		}
		price, second, third := decimal.NewFromInt(1), noon.Add(time.Hour), noon.Add(2*time.Hour)
		bill("p", "s", noon, map[string]usage.Reason{"a": usage.NotLive, "b": usage.NoProduct, "c": usage.AmbiguousProduct}, row("1", "1.5", nil, noon), row("2", "7", &price, noon))
		bill("p", "s", second, map[string]usage.Reason{"a": usage.NotLive, "b": usage.NoProduct}, row("3", "2", nil, second))
		must(t, s.Usage().Posted(t.Context(), noon, "m", "run", []usage.Posted{{Row: "1"}, {Row: "2", Differs: "value 8"}, {Row: "3"}}))
		bill("q", "", noon, map[string]usage.Reason{"a": usage.NoSubscription})
		bill("p", "s", third, map[string]usage.Reason{"d": usage.NoPlan})
		bill("q", "other", third, map[string]usage.Reason{"e": usage.NoSubscription})

		rows := audit.Unmatched{MerchantID: "m", SubscriptionID: "s", Meter: "product", First: noon, Last: noon}
		meter := audit.Unmatched{MerchantID: "m", Meter: "b", Kind: "delta", Unit: "u", First: noon, Last: second, Reason: audit.UsageNoProduct}
		ambiguous, unpriced, differs := meter, rows, rows
		ambiguous.Meter, ambiguous.Last, ambiguous.Reason = "c", noon, audit.UsageAmbiguous
		unpriced.Last, unpriced.Reason, differs.Reason = second, audit.UsageNoPrice, audit.UsageOther
		over := audit.Unmatched{
			MerchantID: "m", Cloud: "default", ProjectID: "p", SubscriptionID: "s", Meter: "a", Kind: "delta", Unit: "u", State: "ended", First: noon,
			Last: second, Reason: audit.UsageNotLive,
		}
		gone, customer, before := over, over, over
		gone.Meter, gone.First, gone.Last, gone.Reason = "d", third, third, audit.UsageNoPlan
		customer.ProjectID, customer.SubscriptionID, customer.Last, customer.Reason = "q", "", noon, audit.UsageNoSubscription
		before.ProjectID, before.SubscriptionID, before.Meter, before.First, before.Last, before.Reason = "q", "other", "e", third, third, audit.UsageNoSubscription
		want, wantAmounts := []audit.Unmatched{meter, ambiguous, differs, unpriced, over, gone, customer, before}, []string{"0", "0", "7", "3.5", "0.2", "0.1", "0.1", "0.1"}
		got, amounts := unmatchedOf(t, s, "m")
		if !reflect.DeepEqual(got, want) || !slices.Equal(amounts, wantAmounts) {
			t.Errorf("got\n%+v %v, want\n%+v %v", got, amounts, want, wantAmounts)
		}
		if none, _ := unmatchedOf(t, s, "other"); len(none) > 0 {
			t.Errorf("another merchant has %+v", none)
		}

		// The plan is back, and the usage of the hour is billed. The usage of another hour is computed again.
		_, err := s.Usage().Bill(t.Context(), third.Add(4*time.Hour), "m", 10, func(usage.Reading) (usage.Bill, []saga.FollowUp) { return usage.Bill{}, nil })
		must(t, err)
		again := usage.Finished{Merchant: "m", Subscription: "other", Usage: []usage.Measured{metered("q", "other", "e", "active", "0.1", third).Measured}}
		add(t, s, sample("q", "late", point(usage.Cumulative, 2*time.Hour+time.Minute, 1)))
		due, _ := take(t, s, third, 1)
		must(t, s.Usage().FinishHour(t.Context(), third, due[0], again))
		want = slices.DeleteFunc(want, func(u audit.Unmatched) bool { return u == gone })
		wantAmounts = []string{"0", "0", "7", "3.5", "0.2", "0.1", "0"}
		if got, amounts := unmatchedOf(t, s, "m"); !reflect.DeepEqual(got, want) || !slices.Equal(amounts, wantAmounts) {
			t.Errorf("afterwards, got\n%+v %v, want\n%+v %v", got, amounts, want, wantAmounts)
		}

		enough, n := errors.New("enough"), 0
		err = s.Audits().InPagesOf(2).EachUnmatched(t.Context(), "m", func(audit.Unmatched) error {
			if n++; n == 3 {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) || n != 3 {
			t.Errorf("stopped after %d entries with %v", n, err)
		}
	})
}

// Package audit does not import package usage.
func TestAuditsKnowEachReason(t *testing.T) {
	for of, want := range map[audit.UsageReason]usage.Reason{
		audit.UsageNoSubscription: usage.NoSubscription, audit.UsageNotLive: usage.NotLive, audit.UsageNoPlan: usage.NoPlan,
		audit.UsageNoProduct: usage.NoProduct, audit.UsageAmbiguous: usage.AmbiguousProduct, audit.UsageNoPrice: usage.Unpriced,
		audit.UsageOtherUnit: usage.OtherUnit, audit.UsageSeveralUnits: usage.SeveralUnits, audit.UsageOther: usage.Differing,
	} {
		if string(of) != string(want) || of.OfMeter() != want.OfMeter() {
			t.Errorf("got %s, want %s", of, want)
		}
	}
}

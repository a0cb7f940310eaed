package store_test

import (
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/store"
)

// billAgain lets usage of merchant m be billed again. The range is in hours after noon.
func billAgain(t *testing.T, s *store.Store, now time.Time, subscription string, from, to float64, limit int) usage.Selected {
	t.Helper()
	return billAgainWith(t, s, now, false, subscription, from, to, limit)
}

func billAgainWith(t *testing.T, s *store.Store, now time.Time, current bool, subscription string, from, to float64, limit int) usage.Selected {
	t.Helper()
	at := func(hours float64) time.Time { return noon.Add(time.Duration(hours * float64(time.Hour))) }
	done, err := s.Usage().BillAgain(t.Context(), now, usage.Selection{
		Merchant: "m", Subscription: subscription, Current: current, Range: usage.Range{From: at(from), To: at(to)},
	}, limit)
	must(t, err)
	return done
}

// billAllWith bills the usage of merchant m with these products until there is no more.
func billAllWith(t *testing.T, s *store.Store, now time.Time, products ...string) {
	t.Helper()
	for n := 1; n > 0; {
		var err error
		n, err = s.Usage().Bill(t.Context(), now, "m", 50, billedWith(products...))
		must(t, err)
	}
}

// The function `unmatched` returns the entries of merchant m. Times are in hours after noon.
func unmatched(t *testing.T, s *store.Store) []string {
	t.Helper()
	return rowsOf(t, s, fmt.Sprintf(`SELECT reason, project_id, subscription_id, meter, (first_hour - %d) / 3600000000, (last_hour - %[1]d) / 3600000000
		FROM usage_unmatched WHERE merchant_id = 'm' ORDER BY reason, project_id, subscription_id, meter, first_hour`, noon.UnixMicro()))
}

// The merchant has created a product, and given another one a price.
func TestUsageIsBilledAgain(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		finish(t, s, noon, "p", "s", 0, measured(0, time.Hour, "cpu", "1"), measured(0, time.Hour, "new", "2"), measured(0, time.Hour, "free", "4"))
		finish(t, s, noon, "q", "s2", 0, measured(0, time.Hour, "new", "8"))
		finish(t, s, noon, "p", "s", time.Hour, measured(time.Hour, 2*time.Hour, "new", "16"), measured(time.Hour, 2*time.Hour, "none", "32"))
		lone := measured(0, time.Hour, "cpu", "64")
		lone.Plan, lone.State = "", ""
		finish(t, s, noon, "lone", "", 0, lone)
		billAll(t, s, noon)
		first := []string{"s cpu 0 60 0 1 ", "s free 0 60 0 4 "}
		sameTexts(t, "the rows", rowsInTable(t, s), first...)
		sameTexts(t, "the unmatched usage", unmatched(t, s), "no-product   new 0 1 ", "no-product   none 1 1 ", "no-subscription lone  cpu 0 0 ", "unpriced  s free 0 0 ")

		for i := range 2 { // the second time, nothing changes
			now := noon.Add(time.Duration(i+1) * time.Hour)
			same(t, "the selected hours", billAgain(t, s, now, "", 0, 2, 100), usage.Selected{Hours: 4, Projects: 3})
			sameTexts(t, "the unmatched usage while the usage waits", unmatched(t, s))
			billAllWith(t, s, now.Add(2*time.Minute-time.Microsecond), "cpu", "free", "new")
			same(t, "the usage that waits", len(waiting(t, s)), 4)
			billAllWith(t, s, now.Add(2*time.Minute), "cpu", "free", "new")
			sameTexts(t, "the usage that waits in the end", waiting(t, s))
			sameTexts(t, "the rows afterwards", rowsInTable(t, s), first[0], first[1], "s new 0 60 0 2 ", "s new 60 120 0 16 ", "s2 new 0 60 0 8 ")
			sameTexts(t, "the unmatched usage afterwards", unmatched(t, s), "no-product   none 1 1 ", "no-subscription lone  cpu 0 0 ", "unpriced  s free 0 0 ")
		}
	})
}

// The usage of one subscription takes the terms of now, and keeps them, even if its hours are computed again.
func TestUsageIsBilledWithTheTermsOfNow(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		dear := func(r usage.Reading) (usage.Bill, []saga.FollowUp) {
			all := []usage.Product{{ID: "id-cpu", Name: "cpu", Price: price("2")}}
			b := usage.Billing{Live: func(string) bool { return true }}
			return b.Bill(r, usage.Catalog{Names: map[string]bool{"cpu": true}, Plans: map[string][]usage.Product{"plan": all}}), nil
		}
		billDear := func(now time.Time) {
			t.Helper()
			for n := 1; n > 0; {
				var err error
				n, err = s.Usage().Bill(t.Context(), now, "m", 1, dear)
				must(t, err)
			}
		}
		rows := func() []string {
			t.Helper()
			return rowsOf(t, s, fmt.Sprintf(`SELECT subscription_id, (hour - %d) / 3600000000, revision, value, price FROM usage_rows
				ORDER BY subscription_id, hour, revision`, noon.UnixMicro()))
		}
		for hour := range 3 {
			after := time.Duration(hour) * time.Hour
			finish(t, s, noon, "p", "s", after, measured(after, after+time.Hour, "cpu", "1"))
			finish(t, s, noon, "p2", "s", after, measured(after, after+time.Hour, "cpu", "4")) // the tenant was created again
			finish(t, s, noon, "q", "s2", after, measured(after, after+time.Hour, "cpu", "3"))
			finish(t, s, noon, "lone", "", after, measured(after, after+time.Hour, "cpu", "3"))
		}
		billAll(t, s, noon)
		others := []string{"s2 0 0 3 0.5 ", "s2 1 0 3 0.5 ", "s2 2 0 3 0.5 "}
		sameTexts(t, "the first rows", rows(), append([]string{"s 0 0 5 0.5 ", "s 1 0 5 0.5 ", "s 2 0 5 0.5 "}, others...)...)
		billAgain(t, s, noon, "", 0, 3, 100)
		billDear(noon.Add(time.Hour))
		same(t, "the rows with the terms of then", len(rows()), 6)
		want := append([]string{"s 0 0 5 0.5 ", "s 0 1 -5 0.5 ", "s 0 2 5 2 ", "s 1 0 5 0.5 ", "s 1 1 -5 0.5 ", "s 1 2 5 2 ", "s 2 0 5 0.5 "}, others...)
		for range 2 {
			billAgainWith(t, s, noon, true, "s", 0, 2, 100)
			billDear(noon.Add(time.Hour))
			sameTexts(t, "the rows with the terms of now", rows(), want...)
		}
		billAgain(t, s, noon, "", 0, 3, 100)
		billAll(t, s, noon.Add(time.Hour))
		sameTexts(t, "the rows with the terms of then, again", rows(), want...)
		finish(t, s, noon, "p", "s", 0, measured(0, time.Hour, "cpu", "1.5"))
		billAll(t, s, noon.Add(time.Hour))
		sameTexts(t, "the rows after late samples", rows(), slices.Insert(want, 3, "s 0 3 0.5 2 ")...)
		sameTexts(t, "the hours with terms", rowsOf(t, s, fmt.Sprintf("SELECT merchant_id, subscription_id, (hour - %d) / 3600000000 FROM usage_terms ORDER BY hour", noon.UnixMicro())),
			"m s 0 ", "m s 1 ")

		must(t, s.DB().Exec("UPDATE usage_terms SET terms = 'x'").Error)
		billAgain(t, s, noon, "s", 0, 1, 100)
		if n, err := s.Usage().Bill(t.Context(), noon.Add(time.Hour), "m", 10, dear); err == nil || n != 0 || len(waiting(t, s)) != 2 {
			t.Errorf("terms that are not JSON: billed %d, %v", n, err)
		}
	})
}

func TestTheSelectedHours(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		for _, hour := range []int{0, 1, 2, 5} {
			for project, subscription := range map[string]string{"p": "s", "q": "s2", "lone": ""} {
				after := time.Duration(hour) * time.Hour
				finish(t, s, noon, project, subscription, after, measured(after, after+30*time.Minute, "cpu", "1"), measured(after+30*time.Minute, after+time.Hour, "cpu", "1"))
			}
		}
		d, err := takeHour(s, "stranger", 0)
		must(t, err)
		must(t, s.Usage().FinishHour(t.Context(), noon, d, usage.Finished{Merchant: "m2", Subscription: "s", Usage: []usage.Measured{measured(0, time.Hour, "cpu", "1")}}))
		billAll(t, s, noon)
		again, err := takeHour(s, "p", 2*time.Hour) // is being computed again
		must(t, err)
		provisional, err := takeHour(s, "q", 2*time.Hour)
		must(t, err)
		must(t, s.Usage().FinishHour(t.Context(), noon, provisional, usage.Finished{
			Merchant: "m", Subscription: "s2", Usage: []usage.Measured{measured(2*time.Hour, 3*time.Hour, "cpu", "9")}, AgainAt: noon.Add(1000 * time.Hour),
		}))
		must(t, s.DB().Exec("DELETE FROM usage_unbilled").Error)
		check := func(what, subscription string, from, to float64, limit int, want usage.Selected, hours ...string) {
			t.Helper()
			now := noon.Add(10 * time.Hour)
			same(t, what, billAgain(t, s, now, subscription, from, to, limit), want)
			var texts []string
			for _, h := range hours {
				texts = append(texts, h+" 36120 ")
			}
			sameTexts(t, what, waiting(t, s), texts...)
			must(t, s.DB().Exec("DELETE FROM usage_unbilled WHERE merchant_id = 'm'").Error)
		}
		at := func(hour int) time.Time { return noon.Add(time.Duration(hour) * time.Hour).UTC() }
		none := usage.Selected{}
		first := []string{"lone 0 m ", "p 0 m s", "q 0 m s2"}
		second := []string{"lone 1 m ", "p 1 m s", "q 1 m s2"}
		check("one hour", "", 0, 1, 100, usage.Selected{Hours: 3, Projects: 3}, first...)
		check("a range that begins and ends in an hour", "", 0.5, 1.5, 100, usage.Selected{Hours: 3, Projects: 3}, second...)
		check("a range within an hour", "", 0.25, 0.75, 100, none)
		check("hours without usage", "", 3, 5, 100, none)
		check("an hour that is being computed", "", 2, 3, 100, usage.Selected{Hours: 1, Projects: 1}, "lone 2 m ")
		check("a subscription", "s2", 0, 6, 100, usage.Selected{Hours: 3, Projects: 1}, "q 0 m s2", "q 1 m s2", "q 5 m s2")
		check("an unknown subscription", "s9", 0, 6, 100, none)
		check("exactly the limit", "", 0, 2, 6, usage.Selected{Hours: 6, Projects: 3}, append(slices.Clone(first), second...)...)
		check("an hour beyond the limit", "", 0, 3, 6, usage.Selected{Hours: 6, Projects: 3, Next: at(2)}, append(slices.Clone(first), second...)...)
		check("an hour with more projects than the limit", "", 0, 3, 2, usage.Selected{Hours: 3, Projects: 3, Next: at(1)}, first...)
		check("only one hour, with more projects than the limit", "", 0, 1, 2, usage.Selected{Hours: 3, Projects: 3}, first...)
		check("the end of the limit is in an hour", "", 0, 6, 5, usage.Selected{Hours: 3, Projects: 3, Next: at(1)}, first...)

		// Usage that waits already waits for the same time as the rest, and gets its present subscription.
		for _, due := range []time.Time{noon, noon.Add(100 * time.Hour)} {
			must(t, s.DB().Exec("INSERT INTO usage_unbilled VALUES ('default', 'p', ?, 'm', 'old', ?)", noon.UnixMicro(), due.UnixMicro()).Error)
			check("usage that waits already", "", 0, 1, 100, usage.Selected{Hours: 3, Projects: 3}, first...)
		}
		must(t, s.Usage().FinishHour(t.Context(), noon, again, usage.Finished{Merchant: "m", Subscription: "s"}))
		sameTexts(t, "the hour that was computed", waiting(t, s), "p 2 m s 600 ")
	})
}

// An entry whose first or last hour is selected is shortened.
func TestSelectedHoursAreRemovedFromUnmatchedUsage(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		put := func(merchant, subscription, meter string, reason usage.Reason, first, last int) {
			t.Helper()
			at := func(hour int) int64 { return noon.Add(time.Duration(hour) * time.Hour).UnixMicro() }
			must(t, s.DB().Exec(`INSERT INTO usage_unmatched (merchant_id, cloud, project_id, subscription_id, meter, kind, unit, state, reason, first_hour, last_hour)
				VALUES (?, '', '', ?, ?, '', '', '', ?, ?, ?)`, merchant, subscription, meter, string(reason), at(first), at(last)).Error)
		}
		fill := func() {
			t.Helper()
			must(t, s.DB().Exec("DELETE FROM usage_unmatched").Error)
			for meter, hours := range map[string][2]int{
				"1 before": {0, 1}, "2 begins before": {0, 2}, "3 begins long before": {0, 4}, "4 inside": {2, 4}, "5 ends later": {4, 5}, "6 ends much later": {2, 9},
				"7 after": {5, 6}, "8 around": {1, 5},
			} {
				put("m", "", meter, usage.NoProduct, hours[0], hours[1])
			}
			put("m", "s", "x", usage.NotLive, 2, 2)
			put("m", "s2", "x", usage.NotLive, 2, 2)
			put("m", "s", "x", usage.Differing, 2, 2)
			put("m2", "s", "x", usage.NotLive, 2, 2)
		}
		rest := []string{"differs  s x 2 2 "}
		fill()
		billAgain(t, s, noon, "", 2, 5, 10)
		sameTexts(t, "all usage", unmatched(t, s), append(slices.Clone(rest), "no-product   1 before 0 1 ", "no-product   2 begins before 0 1 ",
			"no-product   3 begins long before 0 1 ", "no-product   5 ends later 5 5 ", "no-product   6 ends much later 5 9 ", "no-product   7 after 5 6 ",
			"no-product   8 around 1 5 ")...)
		fill()
		billAgain(t, s, noon, "", 1.5, 4.5, 10) // the same hours
		same(t, "a range that begins and ends in an hour", len(unmatched(t, s)), 8)
		fill()
		before := unmatched(t, s)
		billAgain(t, s, noon, "s", 2, 5, 10)
		sameTexts(t, "one subscription", unmatched(t, s), slices.DeleteFunc(before, func(row string) bool { return row == "subscription-over  s x 2 2 " })...)
		same(t, "another merchant", rowsOf(t, s, "SELECT COUNT(*) FROM usage_unmatched WHERE merchant_id = 'm2'"), []string{"1 "})
	})
}

// Whatever the earlier entries are: if all hours are billed again, an entry has exactly the first and the last hour in which its usage is unmatched.
func TestEntriesAfterAllHoursWereBilledAgain(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		const hours = 8
		for range 10 {
			must(t, s.DB().Exec("DELETE FROM usage_unmatched").Error)
			sold, want := map[bool]string{true: "cpu", false: "none"}, map[string][2]int{}
			for hour := range hours {
				after := time.Duration(hour) * time.Hour
				for i := range 2 {
					meter := sold[mathrand.IntN(2) == 0]
					finish(t, s, noon, fmt.Sprint("p", i), fmt.Sprint("s", i), after, measured(after, after+time.Hour, meter, "1"))
					if meter == "none" {
						if _, known := want[meter]; !known {
							want[meter] = [2]int{hour, hour}
						}
						want[meter] = [2]int{want[meter][0], hour}
					}
				}
			}
			billAllWith(t, s, noon.Add(time.Hour), []string{"cpu", "x"}[mathrand.IntN(2)])
			limit := 1 + mathrand.IntN(2*hours)
			for from := 0.0; ; {
				next := billAgain(t, s, noon, "", from, hours, limit).Next
				if next.IsZero() {
					break
				}
				from = next.Sub(noon).Hours()
				if at, known := want["none"]; known && float64(at[1]) >= from && len(unmatched(t, s)) == 0 {
					t.Errorf("after the hours before %v, there is no entry for the other ones", from)
				}
			}
			billAllWith(t, s, noon.Add(time.Hour), "cpu")
			var texts []string
			for meter, at := range want {
				texts = append(texts, fmt.Sprint("no-product   ", meter, " ", at[0], " ", at[1], " "))
			}
			sameTexts(t, fmt.Sprint("the entries with a limit of ", limit), unmatched(t, s), texts...)
			must(t, s.DB().Exec("UPDATE usage_rows SET posted_at = 0").Error)
		}
	})
}

package store_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/store"
)

// takeHour marks an hour as taken, whether it is due or not.
func takeHour(s *store.Store, project string, after time.Duration) (usage.Due, error) {
	d := usage.Due{Cloud: "default", Project: project, Hour: noon.Add(after), Take: rand.Text()}
	return d, s.DB().Exec(`INSERT INTO usage_taken (cloud, project_id, hour, spreads, taken_at, take) VALUES (?, ?, ?, FALSE, ?, ?)
		ON CONFLICT (cloud, project_id, hour) DO UPDATE SET take = excluded.take`,
		d.Cloud, d.Project, d.Hour.UnixMicro(), noon.UnixMicro(), d.Take).Error
}

// The function `finish` stores the usage of an hour. The merchant is "m".
func finish(t *testing.T, s *store.Store, now time.Time, project, subscription string, after time.Duration, found ...usage.Measured) {
	t.Helper()
	d, err := takeHour(s, project, after)
	must(t, err)
	must(t, s.Usage().FinishHour(t.Context(), now, d, usage.Finished{Usage: found, Merchant: "m", Subscription: subscription}))
}

// The function `price` returns a price, or nil for an empty text.
func price(text string) *decimal.Decimal {
	if text == "" {
		return nil
	}
	return new(decimal.RequireFromString(text))
}

// The function `billed` computes rows as the service does. All meters are products of the plan "plan", except "none". The product "free" has no
// price.
func billed(r usage.Reading) (usage.Bill, []saga.FollowUp) {
	return billedWith("a", "b", "cpu", "free")(r)
}

// The function `billedWith` returns a function that computes rows with these products of the plan "plan".
func billedWith(products ...string) func(usage.Reading) (usage.Bill, []saga.FollowUp) {
	all := []usage.Product{}
	catalog := usage.Catalog{Names: map[string]bool{}}
	for _, name := range products {
		p := usage.Product{ID: "id-" + name, Name: name}
		if name != "free" {
			p.Price = price("0.5")
		}
		all = append(all, p)
		catalog.Names[name] = true
	}
	catalog.Plans = map[string][]usage.Product{"plan": all}
	return func(r usage.Reading) (usage.Bill, []saga.FollowUp) {
		return usage.Billing{Live: func(state string) bool { return state == "active" }}.Bill(r, catalog), nil
	}
}

// The function `bill` bills the usage of merchant m, and returns what was read.
func bill(t *testing.T, s *store.Store, now time.Time, limit int) (n int, read usage.Reading) {
	t.Helper()
	n, err := s.Usage().Bill(t.Context(), now, "m", limit, func(r usage.Reading) (usage.Bill, []saga.FollowUp) {
		read = r
		return billed(r)
	})
	must(t, err)
	return n, read
}

// billAll bills the usage of merchant m until there is no more.
func billAll(t *testing.T, s *store.Store, now time.Time) {
	t.Helper()
	for range 1000 {
		if n, _ := bill(t, s, now, 50); n == 0 {
			return
		}
	}
	t.Fatal("there is always more usage to bill")
}

// sameTexts compares two lists of texts.
func sameTexts(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// The function `waiting` returns the usage that waits to be billed. Times are relative to noon.
func waiting(t *testing.T, s *store.Store) []string {
	t.Helper()
	return rowsOf(t, s, fmt.Sprintf(`SELECT project_id, (hour - %d) / 3600000000, merchant_id, subscription_id, (due_at - %[1]d) / 1000000
		FROM usage_unbilled ORDER BY hour, cloud, project_id`, noon.UnixMicro()))
}

// rowsInTable returns the rows of usage. Times are in minutes after noon.
func rowsInTable(t *testing.T, s *store.Store) []string {
	t.Helper()
	return rowsOf(t, s, fmt.Sprintf(`SELECT subscription_id, product, (from_at - %d) / 60000000, (to_at - %[1]d) / 60000000, revision, value
		FROM usage_rows ORDER BY subscription_id, from_at, to_at, product_id, revision`, noon.UnixMicro()))
}

func TestUsageWaitsToBeBilled(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		cpu := measured(0, time.Hour, "cpu", "1")
		finish(t, s, noon, "p", "s", 0, cpu)
		sameTexts(t, "the first computation", waiting(t, s), "p 0 m s 0 ")
		finish(t, s, noon.Add(time.Minute), "p", "s", 0, cpu) // the earlier time is kept
		sameTexts(t, "the second computation, before the first was billed", waiting(t, s), "p 0 m s 0 ")
		billAll(t, s, noon)
		sameTexts(t, "after the bill", waiting(t, s))
		finish(t, s, noon.Add(time.Hour), "p", "s", 0, cpu)
		sameTexts(t, "a later computation", waiting(t, s), "p 0 m s 4200 ")
		finish(t, s, noon.Add(time.Hour+time.Minute), "p", "s", 0, cpu)
		sameTexts(t, "the earlier time is kept", waiting(t, s), "p 0 m s 4200 ")
		finish(t, s, noon.Add(30*time.Minute), "p", "s2", 0, cpu)
		sameTexts(t, "an earlier time replaces a later one", waiting(t, s), "p 0 m s2 2400 ")
		billAll(t, s, noon.Add(2399*time.Second))
		sameTexts(t, "a bill before that time", waiting(t, s), "p 0 m s2 2400 ")
		billAll(t, s, noon.Add(2400*time.Second))
		sameTexts(t, "a bill at that time", waiting(t, s))

		d, err := takeHour(s, "q", 0)
		must(t, err)
		must(t, s.Usage().FinishHour(t.Context(), noon, d, usage.Finished{Usage: []usage.Measured{cpu}}))
		must(t, s.Usage().FinishHour(t.Context(), noon, d, usage.Finished{Usage: []usage.Measured{cpu}, Merchant: "m"})) // is not taken any more
		sameTexts(t, "usage of nobody", waiting(t, s))
		finish(t, s, noon, "q", "", 0, cpu)
		sameTexts(t, "usage without a subscription", waiting(t, s), "q 0 m  600 ")
	})
}

// The usage of an hour that will be computed again is not billed, even if it waited to be billed before. Afterwards, it is billed in any case:
// the earlier usage may have been billed.
func TestUsageThatWillBeComputedAgainIsNotBilled(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		provisional := func(found ...usage.Measured) {
			t.Helper()
			d, err := takeHour(s, "p", 0)
			must(t, err)
			must(t, s.Usage().FinishHour(t.Context(), noon, d, usage.Finished{
				Usage: found, Merchant: "m", Subscription: "s", AgainAt: noon.Add(10 * time.Minute),
			}))
			billAll(t, s, noon.Add(100*time.Hour))
		}
		provisional(measured(0, time.Hour, "cpu", "1"))
		sameTexts(t, "the rows after the first computation", rowsInTable(t, s))
		finish(t, s, noon, "p", "s", 0, measured(0, time.Hour, "cpu", "2"))
		provisional(measured(0, time.Hour, "cpu", "3"))
		sameTexts(t, "the rows after the third computation", rowsInTable(t, s))
		finish(t, s, noon, "p", "s", 0, measured(0, time.Hour, "cpu", "4"))
		sameTexts(t, "the usage that waits", waiting(t, s), "p 0 m s 600 ")
		billAll(t, s, noon.Add(10*time.Minute))
		sameTexts(t, "the rows after the fourth computation", rowsInTable(t, s), "s cpu 0 60 0 4 ")
		provisional() // no usage at all
		finish(t, s, noon, "p", "s", 0)
		billAll(t, s, noon.Add(100*time.Hour))
		sameTexts(t, "the rows after the usage was gone", rowsInTable(t, s), "s cpu 0 60 0 4 ", "s cpu 0 60 1 -4 ")
	})
}

func TestAnHourIsNotTakenAgainBeforeItsTime(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		again := noon.Add(4 * time.Minute)
		wait := func(after time.Duration, f usage.Finished) {
			t.Helper()
			d, err := takeHour(s, "p", after)
			must(t, err)
			must(t, s.Usage().FinishHour(t.Context(), noon, d, f))
		}
		wait(0, usage.Finished{Merchant: "m", AgainAt: again})
		_, plain := take(t, s, again.Add(-time.Microsecond), 10)
		same(t, "the hours before the time", plain, []usage.Due{})
		_, plain = take(t, s, again, 10)
		same(t, "the hours at the time", plain, []usage.Due{dueHour("p", 0, false)})
		_, plain = take(t, s, again, 10)
		same(t, "the hours after that", plain, []usage.Due{})
		must(t, s.DB().Exec("DELETE FROM usage_taken").Error)

		// The earlier of two times counts.
		wait(0, usage.Finished{AgainAt: again})
		wait(-time.Hour, usage.Finished{Again: hours(0)})
		_, plain = take(t, s, noon, 10)
		same(t, "an hour with a later time that must be computed", plain, []usage.Due{dueHour("p", 0, false)})
		must(t, s.DB().Exec("DELETE FROM usage_taken").Error)
		wait(-time.Hour, usage.Finished{Again: hours(0)})
		wait(0, usage.Finished{AgainAt: again})
		wait(time.Hour, usage.Finished{AgainAt: again, Again: hours(1)})
		_, plain = take(t, s, noon, 10)
		same(t, "an hour that must be computed and gets a later time", plain, []usage.Due{dueHour("p", 0, false), dueHour("p", time.Hour, false)})
		must(t, s.DB().Exec("DELETE FROM usage_taken").Error)

		// New samples make an hour due at once, and then it does not wait for its time.
		tenants(t, s, "default", "p")
		wait(0, usage.Finished{AgainAt: again})
		add(t, s, sample("p", "1"))
		_, plain = take(t, s, noon, 10)
		same(t, "an hour with new samples", plain, []usage.Due{dueHour("p", 0, true)})
		_, plain = take(t, s, again, 10)
		same(t, "an hour that was taken", plain, []usage.Due{})
		// Hours that wait for their time do not hide other hours.
		for i := range 5 {
			wait(time.Duration(-i-2)*time.Hour, usage.Finished{AgainAt: again, Again: hours(2)})
		}
		_, plain = take(t, s, noon, 1)
		same(t, "an hour behind hours that wait", plain, []usage.Due{dueHour("p", 2*time.Hour, false)})
	})
}

func TestTheOldestHourIsBilledFirst(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		for _, p := range []string{"p3", "p1", "p2"} {
			finish(t, s, noon, p, "s-"+p, 0, measured(0, time.Hour, "cpu", "1"))
		}
		finish(t, s, noon, "p0", "s-p0", time.Hour, measured(time.Hour, 2*time.Hour, "cpu", "2"))
		finish(t, s, noon, "p9", "s-p9", -time.Hour, measured(-time.Hour, 0, "cpu", "3"))
		d, err := takeHour(s, "other", -5*time.Hour)
		must(t, err)
		must(t, s.Usage().FinishHour(t.Context(), noon, d, usage.Finished{Usage: []usage.Measured{measured(-time.Hour, 0, "cpu", "9")}, Merchant: "other"}))
		for i, want := range []struct {
			hour     int
			projects []string
		}{{-1, []string{"p9"}}, {0, []string{"p1", "p2"}}, {0, []string{"p3"}}, {1, []string{"p0"}}, {}} {
			n, read := bill(t, s, noon, 2)
			var projects []string
			for _, m := range read.Measured {
				projects = append(projects, m.Project)
			}
			slices.Sort(projects)
			if n != len(want.projects) || !slices.Equal(projects, want.projects) || n > 0 && !read.Hour.Equal(noon.Add(time.Duration(want.hour)*time.Hour)) {
				t.Errorf("bill %d: the hour %v of the projects %q (%d), want %+v", i, read.Hour, projects, n, want)
			}
		}
		same(t, "the number of rows", len(rowsInTable(t, s)), 5)
		found, err := s.Usage().Billable(t.Context(), noon, 10)
		must(t, err)
		sameTexts(t, "the merchants with usage to bill", found, "other")
	})
}

// A subscription whose tenant was created again has two projects in an hour. If the usage of one of them changes, the usage of both is read.
func TestBillReadsAllProjectsOfASubscription(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		finish(t, s, noon, "p", "s", 0, measured(0, time.Hour, "cpu", "1.5"), measured(0, time.Hour, "none", "2"))
		finish(t, s, noon, "lone", "", 0, measured(0, time.Hour, "cpu", "4"))
		finish(t, s, noon, "lonely", "", 0, measured(0, time.Hour, "cpu", "8"))
		finish(t, s, noon, "stranger", "s3", 0, measured(0, time.Hour, "cpu", "100"))
		finish(t, s, noon, "p", "s", time.Hour, measured(time.Hour, 2*time.Hour, "cpu", "200"))
		billAll(t, s, noon)
		finish(t, s, noon, "again", "s", 0, measured(0, time.Hour, "cpu", "3"), measured(0, time.Hour, "b", "0"))
		finish(t, s, noon, "lone", "", 0, measured(0, time.Hour, "cpu", "5"))
		for project, f := range map[string]usage.Finished{
			"west": {Merchant: "m2", Subscription: "s"}, "lone": {Merchant: "m", Subscription: "s4"}, "lonely": {Merchant: "m"},
			"far": {Merchant: "m2"},
		} {
			d, err := takeHour(s, project, 0)
			must(t, err)
			must(t, s.DB().Exec("UPDATE usage_taken SET cloud = 'west'").Error)
			d.Cloud, f.Usage = "west", []usage.Measured{measured(0, time.Hour, "cpu", "1000")}
			must(t, s.Usage().FinishHour(t.Context(), noon.Add(50*time.Minute), d, f))
		}
		must(t, s.DB().Exec("UPDATE usage_unbilled SET due_at = due_at + 3600000000 WHERE cloud = 'west' AND project_id = 'lone'").Error)
		n, read := bill(t, s, noon.Add(time.Hour), 10)
		same(t, "the number of projects", n, 3)
		same(t, "the merchant", read.Merchant, "m")
		var got []string
		for _, m := range read.Measured {
			got = append(got, fmt.Sprint(m.Cloud, " ", m.Project, " ", m.Subscription, " ", m.Meter, " ", m.Kind, " ", m.Unit, " ", m.Amount, " ", m.Plan,
				" ", m.State, " ", m.From.Sub(noon), " ", m.To.Sub(noon)))
		}
		slices.Sort(got)
		sameTexts(t, "the usage", got,
			"default again s b delta B 0 plan active 0s 1h0m0s", "default again s cpu delta B 3 plan active 0s 1h0m0s",
			"default lone  cpu delta B 5 plan active 0s 1h0m0s", "default lonely  cpu delta B 8 plan active 0s 1h0m0s",
			"default p s cpu delta B 1.5 plan active 0s 1h0m0s", "default p s none delta B 2 plan active 0s 1h0m0s",
			"west lonely  cpu delta B 1000 plan active 0s 1h0m0s")
		got = nil
		for _, e := range read.Earlier {
			same(t, "the id", e.ID, usage.RowID("s", "id-cpu", usage.Hour(noon), 0))
			got = append(got, fmt.Sprint(e.Subscription, " ", e.Product, " ", e.Name, " ", e.Plan, " ", e.From.Sub(noon), " ", e.To.Sub(noon), " ", e.Revision,
				" ", e.Value, " ", e.Price))
		}
		sameTexts(t, "the earlier rows", got, "s id-cpu cpu plan 0s 1h0m0s 0 1.5 0.5")
		sameTexts(t, "the rows", rowsInTable(t, s), "s cpu 0 60 0 1.5 ", "s cpu 0 60 1 3 ", "s cpu 60 120 0 200 ", "s3 cpu 0 60 0 100 ")
	})
}

// The rows, the unmatched usage, the follow-ups and the end of the waiting are one transaction.
func TestBillWritesEverythingOrNothing(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		finish(t, s, noon, "p", "s", 0, measured(0, time.Hour, "cpu", "1"), measured(0, time.Hour, "none", "2"))
		finish(t, s, noon, "later", "s2", 0, measured(0, time.Hour, "cpu", "1"))
		everything := func() (all []string) {
			for _, table := range []string{"usage_unbilled", "usage_rows", "usage_unmatched", "follow_ups", "usage_amounts"} {
				for _, row := range rowsOf(t, s, "SELECT * FROM "+table+" ORDER BY 1, 2, 3, 4, 5, 6") {
					all = append(all, table+" "+row)
				}
			}
			return all
		}
		before := everything()
		good := saga.FollowUp{Workflow: "w", ID: "f", Merchant: "m", Subject: "m:usage", Input: []byte(`{"a":1}`), DueAt: noon}
		try := func(change func(*usage.Bill, *[]saga.FollowUp)) (int, error) {
			return s.Usage().Bill(t.Context(), noon, "m", 10, func(r usage.Reading) (usage.Bill, []saga.FollowUp) {
				b, _ := billed(r)
				b.Later = map[string]bool{"s2": true}
				b.Rows = slices.DeleteFunc(b.Rows, func(r usage.Row) bool { return r.Subscription == "s2" })
				followUps := []saga.FollowUp{good}
				change(&b, &followUps)
				return b, followUps
			})
		}
		for what, change := range map[string]func(*usage.Bill, *[]saga.FollowUp){
			"a row twice":               func(b *usage.Bill, _ *[]saga.FollowUp) { b.Rows = append(b.Rows, b.Rows[0]) },
			"a follow-up with NUL":      func(_ *usage.Bill, f *[]saga.FollowUp) { (*f)[0].ID = "\x00" },
			"a follow-up without input": func(_ *usage.Bill, f *[]saga.FollowUp) { (*f)[0].Input = func() {} },
		} {
			if n, err := try(change); err == nil || n != 0 {
				t.Errorf("%s: billed %d, %v", what, n, err)
			}
			sameTexts(t, what, everything(), before...)
		}
		for what, damage := range map[string]struct{ change, repair string }{
			"an amount that is not a number": {
				"UPDATE usage_amounts SET amount = 'much' WHERE project_id = 'later'", "UPDATE usage_amounts SET amount = '1' WHERE project_id = 'later'",
			},
			"an earlier row that is not a number": {
				`INSERT INTO usage_rows SELECT 'x', 'm', 's', 'id', 'n', 'plan', hour, hour, hour, 0, 'much', NULL, '{}', 0, NULL, NULL, NULL, '{}'
					FROM usage_unbilled WHERE project_id = 'p'`, "DELETE FROM usage_rows WHERE id = 'x'",
			},
			"a row that exists": {
				fmt.Sprintf(`INSERT INTO usage_rows SELECT '%s', 'm', 'another', 'id', 'n', 'plan', hour, hour, hour, 0, '1', NULL, '{}', 0, NULL, NULL, NULL, '{}'
					FROM usage_unbilled WHERE project_id = 'p'`, usage.RowID("s", "id-cpu", usage.Hour(noon), 0)), "DELETE FROM usage_rows",
			},
		} {
			must(t, s.DB().Exec(damage.change).Error)
			damaged := everything()
			if n, err := try(func(*usage.Bill, *[]saga.FollowUp) {}); err == nil || n != 0 {
				t.Errorf("%s: billed %d, %v", what, n, err)
			}
			sameTexts(t, what, everything(), damaged...)
			must(t, s.DB().Exec(damage.repair).Error)
		}
		sameTexts(t, "after the repairs", everything(), before...)

		n, err := try(func(*usage.Bill, *[]saga.FollowUp) {})
		must(t, err)
		same(t, "the number of projects", n, 2)
		sameTexts(t, "the rows", rowsInTable(t, s), "s cpu 0 60 0 1 ")
		sameTexts(t, "the usage that waits for a plan", waiting(t, s), "later 0 m s2 3600 ")
		sameTexts(t, "the unmatched usage", rowsOf(t, s, "SELECT * FROM usage_unmatched"), fmt.Sprintf("m    none delta B  no-product %d %[1]d ", noon.UnixMicro()))
		followUps, err := s.FollowUps(t.Context(), "m", "w", []string{"f"})
		must(t, err)
		if len(followUps) != 1 || !followUps["f"].DueAt.Equal(noon) {
			t.Errorf("the follow-ups are %+v", followUps)
		}
		n, err = try(func(*usage.Bill, *[]saga.FollowUp) {})
		must(t, err)
		same(t, "the number of projects, again", n, 0)
	})
}

func TestUsageWithoutAPlanIsBilledLater(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		unplanned := measured(0, time.Hour, "cpu", "1")
		unplanned.Plan = "new"
		finish(t, s, noon, "p", "s", 0, unplanned)
		finish(t, s, noon, "q", "s2", 0, measured(0, time.Hour, "cpu", "2"))
		finish(t, s, noon, "p", "s", time.Hour, measured(time.Hour, 2*time.Hour, "cpu", "3"))
		billAll(t, s, noon) // the hour that waits does not block later hours
		sameTexts(t, "the usage that waits", waiting(t, s), "p 0 m s 3600 ")
		sameTexts(t, "the rows", rowsInTable(t, s), "s cpu 60 120 0 3 ", "s2 cpu 0 60 0 2 ")
		for after, want := range map[time.Duration]int{time.Hour - time.Microsecond: 0, time.Hour: 1} {
			found, err := s.Usage().Billable(t.Context(), noon.Add(after), 10)
			must(t, err)
			same(t, fmt.Sprint("the merchants after ", after), len(found), want)
		}
		n, _ := bill(t, s, noon.Add(time.Hour-time.Microsecond), 10)
		same(t, "billed too early", n, 0)
		billAll(t, s, noon.Add(time.Hour))
		sameTexts(t, "the usage that still waits", waiting(t, s), "p 0 m s 7200 ")
		finish(t, s, noon.Add(time.Hour), "p", "s", 0, measured(0, time.Hour, "cpu", "5"))
		billAll(t, s, noon.Add(70*time.Minute))
		sameTexts(t, "the rows of the changed usage", rowsInTable(t, s), "s cpu 0 60 0 5 ", "s cpu 60 120 0 3 ", "s2 cpu 0 60 0 2 ")
		sameTexts(t, "the usage that waits in the end", waiting(t, s))
	})
}

func TestAMerchantWithManyUnpostedRowsIsLeftOut(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		owner := merchants.Merchant{ID: "m", Name: "M", Cloud: "default", Domain: "d", OnFailure: merchants.Hold, CreatedAt: noon}
		must(t, s.Merchants().Create(t.Context(), owner, newKey(t, "m", noon)))
		_, err := s.Merchants().Update(t.Context(), "m", func(m *merchants.Merchant) error { m.Disable(noon); return nil })
		must(t, err)
		finish(t, s, noon, "p", "s", 0, measured(0, time.Hour, "cpu", "1"))
		fill := func(merchant string, from, to int, made time.Time) {
			t.Helper()
			for i := from; i < to; i++ {
				must(t, s.DB().Exec(`INSERT INTO usage_rows (id, merchant_id, subscription_id, product_id, product, plan_id, hour, from_at, to_at, revision,
					value, made_at) VALUES (?, ?, 'full', 'id', 'x', 'plan', 0, 0, 0, 0, '1', ?)`, fmt.Sprint(merchant, i), merchant, made.UnixMicro()).Error)
			}
		}
		check := func(what string, want int) {
			t.Helper()
			found, err := s.Usage().Billable(t.Context(), noon, 10)
			must(t, err)
			same(t, what+": the merchants", len(found), want)
		}
		fill("other", 0, 1500, noon)
		fill("m", 2000, 3500, noon.Add(-24*time.Hour)) // old rows, which BillingStack may have refused
		fill("m", 0, 999, noon)
		check("999 rows", 1) // although the merchant is disabled: its runs wait
		fill("m", 999, 1000, noon)
		check("1,000 rows", 0)
		n, _ := bill(t, s, noon, 10)
		same(t, "billed with 1,000 rows", n, 0)
		sameTexts(t, "the usage that waits", waiting(t, s), "p 0 m s 0 ")
		must(t, s.Usage().Posted(t.Context(), noon, "m", "run", []usage.Posted{{Row: "m7"}}))
		check("999 rows again", 1)
		n, _ = bill(t, s, noon, 10)
		same(t, "billed after a row was posted", n, 1)
	})
}

// If many merchants cannot be billed, Billable does not always return the same ones.
func TestBillableReturnsDifferentMerchants(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		for i := range 20 {
			d, err := takeHour(s, fmt.Sprint("p", i), 0)
			must(t, err)
			must(t, s.Usage().FinishHour(t.Context(), noon, d, usage.Finished{Usage: []usage.Measured{measured(0, time.Hour, "cpu", "1")}, Merchant: fmt.Sprint("m", i%4)}))
		}
		all, err := s.Usage().Billable(t.Context(), noon, 10)
		must(t, err)
		slices.Sort(all)
		sameTexts(t, "all merchants", all, "m0", "m1", "m2", "m3")
		seen := map[string]bool{}
		for range 200 {
			one, err := s.Usage().Billable(t.Context(), noon, 1)
			must(t, err)
			same(t, "the limit", len(one), 1)
			seen[one[0]] = true
		}
		same(t, "the number of different merchants", len(seen), 4)
	})
}

// A bill may have more rows than one statement can insert.
func TestABillWithManyRows(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		finish(t, s, noon, "p", "s", 0, measured(0, time.Hour, "cpu", "1"))
		const many = 7000
		n, err := s.Usage().Bill(t.Context(), noon, "m", 50, func(r usage.Reading) (b usage.Bill, _ []saga.FollowUp) {
			for i := range many {
				b.Rows = append(b.Rows, usage.Row{ID: fmt.Sprint(i), Subscription: "s", Product: fmt.Sprint(i), From: noon, To: noon.Add(time.Hour)})
				m := measured(0, time.Hour, fmt.Sprint(i), "1")
				b.Unmatched = append(b.Unmatched, usage.Unmatched{Metered: usage.Metered{Measured: m}, Reason: usage.NoProduct})
			}
			return b, nil
		})
		must(t, err)
		same(t, "the number of projects", n, 1)
		same(t, "the rows and the unmatched usage", rowsOf(t, s, "SELECT (SELECT COUNT(*) FROM usage_rows), (SELECT COUNT(*) FROM usage_unmatched)"),
			[]string{"7000 7000 "})
	})
}

func TestPostedRows(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		finish(t, s, noon, "p", "s", 0, measured(0, time.Hour, "a", "1"), measured(0, time.Hour, "b", "2"), measured(0, time.Hour, "cpu", "3"))
		billAll(t, s, noon)
		id := func(product string) string { return usage.RowID("s", "id-"+product, usage.Hour(noon), 0) }
		must(t, s.DB().Exec(`INSERT INTO usage_rows (id, merchant_id, subscription_id, product_id, product, plan_id, hour, from_at, to_at, revision,
			value, made_at) VALUES ('foreign', 'm2', 's', 'id', 'x', 'plan', 0, 0, 0, 0, '1', 0)`).Error)
		posted := func() []string {
			t.Helper()
			return rowsOf(t, s, fmt.Sprintf(`SELECT product, COALESCE((posted_at - %d) / 1000000, -1), COALESCE(run_id, '-'), COALESCE(differs, '-')
				FROM usage_rows ORDER BY product`, noon.UnixMicro()))
		}
		must(t, s.Usage().Posted(t.Context(), noon, "m", "empty", nil))
		sameTexts(t, "no rows", posted(), "a -1 - - ", "b -1 - - ", "cpu -1 - - ", "x -1 - - ")
		first := []usage.Posted{{Row: id("b"), Differs: "the value is 7"}, {Row: id("a")}, {Row: "foreign", Differs: "no"}, {Row: "none", Differs: "no"}}
		must(t, s.Usage().Posted(t.Context(), noon, "m", "run1", first))
		want := []string{"a 0 run1 - ", "b 0 run1 the value is 7 ", "cpu -1 - - ", "x -1 - - "}
		sameTexts(t, "the first call", posted(), want...)
		unmatched := "SELECT merchant_id, cloud, project_id, subscription_id, meter, kind, unit, state, reason, first_hour, last_hour FROM usage_unmatched"
		differs := fmt.Sprintf("m   s b    differs %d %[1]d ", noon.UnixMicro())
		sameTexts(t, "the unmatched usage", rowsOf(t, s, unmatched), differs)
		must(t, s.Usage().Posted(t.Context(), noon.Add(time.Minute), "m", "run1", first))
		sameTexts(t, "the same call", posted(), want...)
		must(t, s.Usage().Posted(t.Context(), noon.Add(time.Minute), "m", "run2", []usage.Posted{{Row: id("a"), Differs: "x"}, {Row: id("b")}, {Row: id("cpu")}}))
		want[2] = "cpu 60 run2 - "
		sameTexts(t, "another call", posted(), want...)
		sameTexts(t, "the unmatched usage in the end", rowsOf(t, s, unmatched), differs)
	})
}

func TestRowsOfASubscription(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		half := measured(0, 30*time.Minute, "free", "2")
		finish(t, s, noon, "p", "s", 0, half, measured(30*time.Minute, time.Hour, "cpu", "12345678901234567.000000000001"), measured(30*time.Minute, time.Hour, "a", "3"))
		finish(t, s, noon, "q", "s2", 0, measured(0, time.Hour, "cpu", "100"))
		finish(t, s, noon, "p", "s", time.Hour, measured(time.Hour, 2*time.Hour, "b", "5"))
		billAll(t, s, noon)
		must(t, s.Usage().Posted(t.Context(), noon.Add(time.Minute), "m", "run", []usage.Posted{
			{Row: usage.RowID("s", "id-free", half.Range, 0), Differs: "the value is 1"}, {Row: usage.RowID("s", "id-b", usage.Hour(noon.Add(time.Hour)), 0)},
		}))
		finish(t, s, noon, "p", "s", 0, half, measured(0, time.Hour, "a", "3"))
		billAll(t, s, noon.Add(time.Hour))
		read := func(merchant, subscription string, from, to time.Duration) (texts []string) {
			t.Helper()
			rows, err := s.Usage().Rows(t.Context(), merchant, subscription, usage.Range{From: noon.Add(from), To: noon.Add(to)})
			must(t, err)
			for _, r := range rows {
				posted := "-"
				if !r.PostedAt.IsZero() {
					posted = r.PostedAt.Sub(noon).String()
				}
				same(t, "the id", r.ID, usage.RowID(r.Subscription, r.Product, r.Window(), r.Revision))
				texts = append(texts, fmt.Sprint(r.Subscription, " ", r.Product, " ", r.Name, " ", r.Plan, " ", r.From.Sub(noon), " ", r.To.Sub(noon), " ", r.Revision,
					" ", r.Value, " ", r.Price, " ", posted, " ", r.Run, " ", r.Differs))
			}
			return texts
		}
		first := []string{
			"s id-free free plan 0s 30m0s 0 2 <nil> 1m0s run the value is 1", "s id-a a plan 0s 1h0m0s 0 3 0.5 -  ",
			"s id-a a plan 30m0s 1h0m0s 0 3 0.5 -  ", "s id-a a plan 30m0s 1h0m0s 1 -3 0.5 -  ",
			"s id-cpu cpu plan 30m0s 1h0m0s 0 12345678901234567.000000000001 0.5 -  ", "s id-cpu cpu plan 30m0s 1h0m0s 1 -12345678901234567.000000000001 0.5 -  ",
		}
		second := "s id-b b plan 1h0m0s 2h0m0s 0 5 0.5 1m0s run "
		sameTexts(t, "one hour", read("m", "s", 0, time.Hour), first...)
		sameTexts(t, "two hours", read("m", "s", 0, time.Hour+time.Microsecond), append(first, second)...)
		sameTexts(t, "the second hour", read("m", "s", time.Microsecond, 2*time.Hour), second)
		sameTexts(t, "no hour", read("m", "s", time.Microsecond, time.Hour))
		sameTexts(t, "another merchant", read("m2", "s", 0, 2*time.Hour))
		sameTexts(t, "another subscription", read("m", "s2", 0, 2*time.Hour), "s2 id-cpu cpu plan 0s 1h0m0s 0 100 0.5 -  ")

		must(t, s.Usage().Posted(t.Context(), noon, "m", "", []usage.Posted{{Row: usage.RowID("s2", "id-cpu", usage.Hour(noon), 0)}}))
		sameTexts(t, "a row that no run has posted", read("m", "s2", 0, 2*time.Hour), "s2 id-cpu cpu plan 0s 1h0m0s 0 100 0.5 0s  ")
		must(t, s.DB().Exec("UPDATE usage_rows SET price = 'much' WHERE subscription_id = 's2'").Error)
		if _, err := s.Usage().Rows(t.Context(), "m", "s2", usage.Hour(noon)); err == nil || !strings.Contains(err.Error(), usage.RowID("s2", "id-cpu", usage.Hour(noon), 0)) {
			t.Errorf("a price that is not a number: %v", err)
		}
	})
}

// The entries have the amounts of all hours from the first to the last one.
func TestUnmatchedUsage(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		in := func(hour int, meter, amount string, change ...func(*usage.Measured)) usage.Measured {
			m := measured(time.Duration(hour)*time.Hour, time.Duration(hour+1)*time.Hour, meter, amount)
			for _, c := range change {
				c(&m)
			}
			return m
		}
		ended := func(m *usage.Measured) { m.State = "ended" }
		gone := func(m *usage.Measured) { m.Plan = "gone" }
		other := func(m *usage.Measured) { m.Unit = "x" }
		nobody := func(m *usage.Measured) { m.Plan, m.State = "", "" }
		for _, hour := range []int{1, 0, 2} { // the hours are billed in another order than they are listed
			after := time.Duration(hour) * time.Hour
			live := in(hour, "cpu", "500")
			live.From = live.From.Add(time.Minute) // there is another state in this hour
			finish(t, s, noon, "p", "s", after, live, in(hour, "cpu", "1", ended), in(hour, "none", "2"), in(hour, "free", "0.25"), in(hour, "a", "0", ended))
			finish(t, s, noon, "q", "s2", after, in(hour, "cpu", "4", gone), in(hour, "none", "8"))
			finish(t, s, noon, "lone", "", after, in(hour, "cpu", "16", nobody), in(hour, "cpu", "32", nobody, other))
			finish(t, s, noon, "p3", "s3", after, in(hour, "b", "64"))
			billAll(t, s, noon)
		}
		finish(t, s, noon, "p", "s", 3*time.Hour, in(3, "cpu", "1000"), in(3, "free", "0"))
		d, err := takeHour(s, "foreign", 0)
		must(t, err)
		must(t, s.Usage().FinishHour(t.Context(), noon, d, usage.Finished{Usage: []usage.Measured{in(0, "cpu", "100")}, Merchant: "m2"}))
		_, err = s.Usage().Bill(t.Context(), noon, "m2", 10, billed)
		must(t, err)
		billAll(t, s, noon)
		must(t, s.Usage().Posted(t.Context(), noon, "m", "run", []usage.Posted{
			{Row: usage.RowID("s3", "id-b", usage.Hour(noon), 0), Differs: "x"},
			{Row: usage.RowID("s3", "id-b", usage.Hour(noon.Add(time.Hour)), 0)},
			{Row: usage.RowID("s3", "id-b", usage.Hour(noon.Add(2*time.Hour)), 0), Differs: "y"},
		}))
		read := func(merchant string, after, limit int) (texts []string) {
			t.Helper()
			found, err := s.Usage().Troubles(t.Context(), merchant, after, limit)
			must(t, err)
			for _, f := range found {
				texts = append(texts, fmt.Sprint(f.Reason, ": ", f.Cloud, " ", f.Project, " ", f.Subscription, " ", f.Meter, " ", f.Kind, " ", f.Unit, " ", f.State, " ",
					f.First.Sub(noon), " ", f.Last.Sub(noon), " ", f.Amount))
			}
			return texts
		}
		want := []string{
			"no-product:    none delta B  0s 2h0m0s 0",
			"unpriced:   s free    0s 2h0m0s 0.75",
			"differs:   s3 b    0s 2h0m0s 128",
			"no-subscription: default lone  cpu delta B  0s 2h0m0s 48",
			"no-subscription: default lone  cpu delta x  0s 2h0m0s 96",
			"subscription-over: default p s cpu delta B ended 0s 2h0m0s 3",
			"plan-gone: default q s2 cpu delta B active 0s 2h0m0s 12",
		}
		sameTexts(t, "all", read("m", 0, 100), want...)
		for i := range want {
			sameTexts(t, fmt.Sprint("the page after ", i), read("m", i, 2), want[i:min(i+2, len(want))]...)
		}
		sameTexts(t, "after the last page", read("m", len(want), 2))
		sameTexts(t, "another merchant", read("m2", 0, 100), "no-subscription: default foreign  cpu delta B active 0s 0s 100")
		sameTexts(t, "no merchant", read("m3", 0, 100))

		finish(t, s, noon, "p", "s", 7*time.Hour, in(7, "none", "1"))
		billAll(t, s, noon)
		same(t, "a later hour", read("m", 0, 1), []string{"no-product:    none delta B  0s 7h0m0s 0"})
		must(t, s.DB().Exec("UPDATE usage_amounts SET amount = 'much' WHERE project_id = 'lone'").Error)
		if _, err := s.Usage().Troubles(t.Context(), "m", 0, 100); err == nil {
			t.Error("an amount that is not a number was read")
		}
	})
}

func TestOldUnmatchedUsageIsDeleted(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		for hour, meters := range map[int][]string{0: {"old", "lasting"}, 1: {"young"}, 2: {"lasting"}} {
			var found []usage.Measured
			for _, m := range meters {
				found = append(found, measured(time.Duration(hour)*time.Hour, time.Duration(hour+1)*time.Hour, m, "1"))
			}
			finish(t, s, noon, "p", "s", time.Duration(hour)*time.Hour, found...)
			billAll(t, s, noon)
		}
		kept := func() []string {
			return rowsOf(t, s, fmt.Sprintf("SELECT meter, (first_hour - %d) / 3600000000 FROM usage_unmatched ORDER BY meter", noon.UnixMicro()))
		}
		must(t, s.Usage().DeleteOld(t.Context(), noon, noon))
		sameTexts(t, "before the time", kept(), "lasting 0 ", "old 0 ", "young 1 ")
		for range 2 {
			must(t, s.Usage().DeleteOld(t.Context(), noon, noon.Add(time.Hour)))
			sameTexts(t, "after the time", kept(), "lasting 0 ", "young 1 ")
		}
		same(t, "the rows and amounts", rowsOf(t, s, "SELECT COUNT(*) FROM usage_amounts"), []string{"4 "})
	})
}

// Two replicas bill the usage of the same merchant at the same time. No row is made twice, and no project is lost.
func TestReplicasBillDifferentUsage(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		for round := range 10 {
			after := time.Duration(round) * time.Hour
			const projects = 30
			for i := range projects { // two projects for each subscription
				finish(t, s, noon, fmt.Sprint("p", i), fmt.Sprint("s", i/2), after, measured(after, after+time.Hour, "cpu", "1"))
			}
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for n, idle := 1, 0; n > 0 || idle < 3; {
						var err error
						if n, err = s.Usage().Bill(context.Background(), noon, "m", 3, billed); err != nil {
							t.Error(err)
							return
						}
						if n == 0 {
							idle++
						}
					}
				})
			}
			all.Wait()
			billAll(t, s, noon)
			sums := map[string]decimal.Decimal{}
			for i := range projects / 2 {
				rows, err := s.Usage().Rows(t.Context(), "m", fmt.Sprint("s", i), usage.Hour(noon.Add(after)))
				must(t, err)
				for _, r := range rows {
					sums[r.Subscription] = sums[r.Subscription].Add(r.Value)
				}
			}
			for i := range projects / 2 {
				if got := sums[fmt.Sprint("s", i)]; !got.Equal(decimal.NewFromInt(2)) {
					t.Errorf("the rows of subscription s%d have the sum %s", i, got)
				}
			}
			sameTexts(t, "the usage that waits", waiting(t, s))
		}
	})
}

// While replicas bill usage, hours are computed again, with other windows, other amounts, or no usage. In the end, the sum of the rows of each
// window is the usage that is stored.
func TestTheRowsAddUpToTheUsage(t *testing.T) {
	const rounds, hours = 6, 2
	for _, url := range []func(testing.TB) string{template.SQLite, template.PostgreSQL} {
		s := migrated(t, url(t))
		for round := range rounds {
			base := time.Duration(round*hours) * time.Hour
			var finishers, billers sync.WaitGroup
			stop := make(chan struct{})
			for i, subscription := range []string{"s", "s", "s2"} {
				finishers.Go(func() {
					for n := range 20 * hours {
						if err := finishAtRandom(s, fmt.Sprint("p", i), subscription, base+time.Duration(n%hours)*time.Hour, n >= 19*hours); err != nil {
							t.Error(err)
						}
					}
				})
			}
			for range 3 {
				billers.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						_, err := s.Usage().Bill(context.Background(), noon.Add(1000*time.Hour), "m", 1+mathrand.IntN(2), func(r usage.Reading) (usage.Bill, []saga.FollowUp) {
							time.Sleep(time.Duration(mathrand.IntN(1000)) * time.Microsecond)
							return billed(r)
						})
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			finishers.Wait()
			close(stop)
			billers.Wait()
			billAll(t, s, noon.Add(1000*time.Hour))
			must(t, s.DB().Exec("UPDATE usage_rows SET posted_at = 0").Error) // otherwise the merchant would soon have too many rows
		}
		sameTexts(t, "the usage that waits", waiting(t, s))
		sums := func(of string) map[string]string {
			sums, texts := map[string]decimal.Decimal{}, map[string]string{}
			for _, row := range rowsOf(t, s, of) {
				f := strings.Fields(row)
				sums[strings.Join(f[:4], " ")] = sums[strings.Join(f[:4], " ")].Add(decimal.RequireFromString(f[4]))
			}
			for key, sum := range sums {
				if !sum.IsZero() {
					texts[key] = sum.String()
				}
			}
			return texts
		}
		rows, amounts := sums("SELECT subscription_id, product, from_at, to_at, value FROM usage_rows"), sums("SELECT subscription_id, meter, from_at, to_at, amount FROM usage_amounts")
		if len(amounts) < rounds {
			t.Errorf("there are only %d amounts", len(amounts))
		}
		for key := range rows {
			if rows[key] == amounts[key] {
				delete(rows, key)
				delete(amounts, key)
			}
		}
		same(t, "the sums of the rows that differ from the usage, on "+s.DB().Name(), rows, amounts)
	}
}

// finishAtRandom stores the usage of an hour. If `last` is false, the hour may be computed again later.
func finishAtRandom(s *store.Store, project, subscription string, after time.Duration, last bool) error {
	time.Sleep(time.Duration(mathrand.IntN(2000)) * time.Microsecond)
	d, err := takeHour(s, project, after)
	f := usage.Finished{Merchant: "m", Subscription: subscription}
	amount := func() string { return fmt.Sprint(1 + mathrand.IntN(9)) }
	switch mathrand.IntN(4) {
	case 0:
		f.Usage = []usage.Measured{measured(after, after+20*time.Minute, "cpu", amount()), measured(after+20*time.Minute, after+time.Hour, "cpu", amount())}
	case 1: // no usage
	default:
		f.Usage = []usage.Measured{measured(after, after+time.Hour, "cpu", amount()), measured(after, after+time.Hour, "b", amount())}
	}
	if !last && mathrand.IntN(4) == 0 {
		f.AgainAt = noon.Add(2000 * time.Hour)
	}
	return errors.Join(err, s.Usage().FinishHour(context.Background(), noon, d, f))
}

// The next bill of an hour reads the meters of the earlier rows, with their divisors and units.
func TestRowsKeepTheirMeters(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		finish(t, s, noon, "p", "s", 0, measured(0, time.Hour, "cpu", "1"))
		meters := map[string]decimal.Decimal{"cpu": decimal.RequireFromString("1024.5"), "a \"meter\"": decimal.NewFromInt(1)}
		units := map[string]string{"a \"meter\"": "µ\"B"}
		n, err := s.Usage().Bill(t.Context(), noon, "m", 10, func(r usage.Reading) (usage.Bill, []saga.FollowUp) {
			made, _ := billed(r)
			made.Rows[0].Meters, made.Rows[0].Units = meters, units
			return made, nil
		})
		must(t, err)
		same(t, "billed", n, 1)
		finish(t, s, noon, "p", "s", 0, measured(0, time.Hour, "cpu", "2"))
		_, read := bill(t, s, noon.Add(time.Hour), 10)
		if len(read.Earlier) != 1 || !maps.EqualFunc(read.Earlier[0].Meters, meters, decimal.Decimal.Equal) || !maps.Equal(read.Earlier[0].Units, units) {
			t.Errorf("the earlier rows are %+v", read.Earlier)
		}
	})
}

// While a plan is gone, its entry has only the usage that waits to be billed. When the plan is back and the usage is billed, there is no entry.
func TestUsageWhosePlanIsBackIsNotUnmatched(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		for hour, amount := range []string{"1", "10", "100"} {
			m := measured(time.Duration(hour)*time.Hour, time.Duration(hour+1)*time.Hour, "cpu", amount)
			if hour != 1 {
				m.Plan = "gone"
			}
			finish(t, s, noon, "p", "s", time.Duration(hour)*time.Hour, m)
		}
		billAll(t, s, noon)
		listed := func() (texts []string) {
			t.Helper()
			found, err := s.Usage().Troubles(t.Context(), "m", 0, 10)
			must(t, err)
			for _, f := range found {
				texts = append(texts, fmt.Sprint(f.Reason, " ", f.First.Sub(noon), " ", f.Last.Sub(noon), " ", f.Amount))
			}
			return texts
		}
		sameTexts(t, "two hours wait", listed(), "plan-gone 0s 2h0m0s 101")
		must(t, s.DB().Exec("UPDATE usage_amounts SET plan_id = 'plan' WHERE hour = ?", noon.UnixMicro()).Error)
		billAll(t, s, noon.Add(time.Hour))
		sameTexts(t, "one hour waits", listed(), "plan-gone 0s 2h0m0s 100")
		must(t, s.DB().Exec("UPDATE usage_amounts SET plan_id = 'plan'").Error)
		billAll(t, s, noon.Add(2*time.Hour))
		sameTexts(t, "no hour waits", listed())
	})
}

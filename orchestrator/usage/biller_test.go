package usage_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

// The type `desk` is a biller with its books in memory. The books have a list of readings for each merchant.
type desk struct {
	usage.Biller
	usage.Books // for the methods that a biller does not call

	mu        sync.Mutex
	merchants []string // in the order in which Billable returns them
	waiting   map[string][]usage.Reading
	rows      []usage.Row
	postings  [][]usage.Row
	calls     []string // such as "catalog a" and "bill a"
	limits    []int    // of the calls of Billable
	faults    []string
	failures  map[string]string // by merchant

	failing  map[string]error // the merchants whose catalog cannot be read
	away     error            // the books cannot be read
	breaking map[string]error // the merchants whose bills cannot be stored

	unstorable error // failures cannot be stored
}

func newDesk() *desk {
	d := &desk{waiting: map[string][]usage.Reading{}, failing: map[string]error{}, breaking: map[string]error{}, failures: map[string]string{}}
	d.Biller = usage.Biller{
		Billing: billingOfTests(), Books: d, Now: time.Now,
		Catalog: func(_ context.Context, merchant string) (usage.Catalog, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.calls = append(d.calls, "catalog "+merchant)
			return catalog(), d.failing[merchant]
		},
		Posting: func(merchant string, hour time.Time, rows []usage.Row) saga.FollowUp {
			return saga.FollowUp{Merchant: merchant, DueAt: hour, Input: rows}
		},
		Fault: func(err error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.faults = append(d.faults, err.Error())
		},
	}
	return d
}

// The method `put` lets a reading wait, with one row for each subscription.
func (d *desk) put(merchant string, subscriptions ...string) {
	var texts []string
	for _, s := range subscriptions {
		texts = append(texts, s+"/p 12:00-13:00 small active vcpus 1")
	}
	r := usage.Reading{Merchant: merchant, Hour: noon, Measured: metered(texts...)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.merchants, merchant) {
		d.merchants = append(d.merchants, merchant)
	}
	d.waiting[merchant] = append(d.waiting[merchant], r)
}

// Billable implements [usage.Books].
func (d *desk) Billable(_ context.Context, _ time.Time, limit int) (found []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limits = append(d.limits, limit)
	for _, m := range d.merchants {
		if len(d.waiting[m]) > 0 && len(found) < limit {
			found = append(found, m)
		}
	}
	return found, d.away
}

// Bill implements [usage.Books].
func (d *desk) Bill(_ context.Context, _ time.Time, merchant string, limit int, bill func(usage.Reading) (usage.Bill, []saga.FollowUp)) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, "bill "+merchant)
	if len(d.waiting[merchant]) == 0 {
		return 0, nil
	}
	made, followUps := bill(d.waiting[merchant][0])
	if err := d.breaking[merchant]; err != nil {
		return 0, err
	}
	d.waiting[merchant] = d.waiting[merchant][1:]
	d.rows = append(d.rows, made.Rows...)
	for _, f := range followUps {
		if f.Merchant != merchant || !f.DueAt.Equal(noon) {
			return 0, fmt.Errorf("the posting is of %s at %v", f.Merchant, f.DueAt)
		}
		d.postings = append(d.postings, f.Input.([]usage.Row))
	}
	return min(limit, 1), nil
}

// Failed implements [usage.Books].
func (d *desk) Failed(_ context.Context, now time.Time, merchant string, failure error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failures[merchant] = fmt.Sprint(failure, " at ", now.UTC().Format(time.TimeOnly))
	return d.unstorable
}

// The function `subscriptionsOf` returns the subscriptions whose rows are in a posting, with the numbers of their rows.
func subscriptionsOf(posting []usage.Row) (all []string) {
	counts := map[string]int{}
	for _, r := range posting {
		counts[r.Subscription]++
	}
	for _, r := range posting {
		if text := fmt.Sprintf("%s:%d", r.Subscription, counts[r.Subscription]); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// The method `bill` bills an hour in which the subscriptions have so many rows.
func (d *desk) bill(ctx context.Context, rows ...int) error {
	r := usage.Reading{Merchant: "m", Hour: noon}
	for i, n := range rows {
		for second := range n {
			m := metered(fmt.Sprintf("s%02d/p 12:00-13:00 small active vcpus 1", i))[0]
			m.From, m.To = noon.Add(time.Duration(second)*time.Second), noon.Add(time.Duration(second+1)*time.Second)
			r.Measured = append(r.Measured, m)
		}
	}
	d.waiting["m"] = []usage.Reading{r}
	return d.Biller.Bill(ctx, "m")
}

func TestRowsAreDividedAmongPostings(t *testing.T) {
	numbers := func(n, rows int) []int { return slices.Repeat([]int{rows}, n) }
	for name, c := range map[string]struct {
		rows []int  // of the subscriptions
		want string // the numbers of the rows in the postings
	}{
		"no rows":                                {nil, "[]"},
		"one row":                                {[]int{1}, "[1]"},
		"20 subscriptions":                       {numbers(20, 1), "[20]"},
		"21 subscriptions":                       {numbers(21, 1), "[20 1]"},
		"41 subscriptions":                       {numbers(41, 2), "[40 40 2]"},
		"200 rows":                               {[]int{100, 60, 40}, "[200]"},
		"201 rows":                               {[]int{100, 60, 41}, "[160 41]"},
		"more than 200 rows of one subscription": {[]int{250}, "[250]"},
		"many rows after few rows":               {[]int{1, 250, 1}, "[1 250 1]"},
		"exactly 200 rows of one subscription":   {[]int{200, 1}, "[200 1]"},

		"the 20th subscription has too many rows":     {append(numbers(19, 10), 11), "[190 11]"},
		"the limits are reached at the same time":     {append(numbers(20, 10), 1), "[200 1]"},
		"a small subscription does not fill the gaps": {[]int{150, 60, 10}, "[150 70]"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk()
			if err := d.bill(t.Context(), c.rows...); err != nil {
				t.Fatal(err)
			}
			counts := []int{}
			for _, p := range d.postings {
				counts = append(counts, len(p))
			}
			if got := fmt.Sprint(counts); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestEachRowIsInOnePosting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(1, 5), rapid.IntRange(1, 250)), 0, 50).Draw(t, "rows")
		d := newDesk()
		if err := d.bill(t.Context(), rows...); err != nil {
			t.Fatal(err)
		}
		if got, want := lines(slices.Concat(d.postings...)), lines(d.rows); !slices.Equal(got, want) {
			t.Fatalf("posted are\n%q\nwant\n%q", got, want)
		}
		seen := map[string]bool{}
		for i, p := range d.postings {
			all := subscriptionsOf(p)
			if len(all) > 20 || len(p) > 200 && len(all) > 1 {
				t.Fatalf("posting %d has %d rows of %d subscriptions", i+1, len(p), len(all))
			}
			for _, s := range all {
				name, _, _ := strings.Cut(s, ":")
				if seen[name] {
					t.Fatalf("the rows of %s are divided", name)
				}
				seen[name] = true
			}
			if cap(p) != len(p) {
				t.Fatal("appending to a posting would change the next one")
			}
		}
	})
}

func TestBillGoesOnUntilNothingIsLeft(t *testing.T) {
	d := newDesk()
	for i := range 5 {
		d.put("a", fmt.Sprint("s", i))
	}
	if err := d.Biller.Bill(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if want := append([]string{"catalog a"}, slices.Repeat([]string{"bill a"}, 6)...); !slices.Equal(d.calls, want) || len(d.rows) != 5 {
		t.Errorf("the calls are %q, and the rows %q", d.calls, lines(d.rows))
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	d.put("a", "s9")
	if err := d.Biller.Bill(ctx, "a"); err != nil || len(d.rows) != 5 {
		t.Errorf("after the end of the service: %v, and %d rows", err, len(d.rows))
	}
}

var errAway = errors.New("away")

// A merchant whose usage cannot be billed is tried again after a minute. Meanwhile, the other merchants are billed.
func TestAMerchantThatFailsDoesNotBlockTheOthers(t *testing.T) {
	for name, fail := range map[string]func(*desk, error){
		"its catalog cannot be read":       func(d *desk, err error) { d.failing["b"] = err },
		"its usage cannot be read or kept": func(d *desk, err error) { d.breaking["b"] = err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk()
				fail(d, errAway)
				d.put("a", "s1")
				d.put("b", "s2")
				d.put("c", "s3")
				go d.Serve(t.Context())
				at := func(after time.Duration, rows, faults int, what string) {
					t.Helper()
					time.Sleep(after)
					synctest.Wait()
					if len(d.rows) != rows || len(d.faults) != faults {
						t.Errorf("%s: %d rows, want %d, and %d faults, want %d: %q", what, len(d.rows), rows, len(d.faults), faults, d.faults)
					}
				}
				at(0, 2, 1, "at once")
				if want := "billing the usage of merchant b: away"; d.faults[0] != want {
					t.Errorf("the fault is %q, want %q", d.faults[0], want)
				}
				d.put("a", "s4")
				at(6*time.Second, 3, 1, "after 6 s")
				at(53*time.Second, 3, 1, "after 59 s")
				at(2*time.Second, 3, 2, "after 61 s")
				fail(d, nil)
				at(58*time.Second, 3, 2, "after 119 s")
				at(2*time.Second, 4, 2, "after 121 s")
				d.put("b", "s5")
				at(6*time.Second, 5, 2, "the merchant is billed again")
			})
		})
	}
}

// Billable returns at most as many merchants as it is asked for. The failing ones come first here.
func TestManyMerchantsThatFailDoNotBlockTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		for i := range 250 {
			name := fmt.Sprintf("broken%03d", i)
			d.failing[name] = errAway
			d.put(name, "s0")
		}
		d.put("good", "s1")
		go d.Serve(t.Context())
		time.Sleep(16 * time.Second)
		synctest.Wait()
		if len(d.rows) != 1 || len(d.faults) != 250 {
			t.Errorf("after 16 s, there are %d rows and %d faults", len(d.rows), len(d.faults))
		}
		for i := range 250 {
			d.waiting[fmt.Sprintf("broken%03d", i)] = nil
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := d.limits[len(d.limits)-1]; got != 100 || d.limits[0] != 100 {
			t.Errorf("the biller asks for %d merchants, then for %d", d.limits[0], got)
		}
	})
}

func TestABillerGoesOnAfterTheDatabaseWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.away = errAway
		d.put("a", "s1")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { d.Serve(ctx); close(done) }()
		synctest.Wait()
		if !slices.Equal(d.faults, []string{"away"}) || len(d.calls) > 0 {
			t.Errorf("the faults are %q, and the calls %q", d.faults, d.calls)
		}
		d.away = nil
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if len(d.rows) != 1 {
			t.Errorf("the rows are %q", lines(d.rows))
		}
		stop()
		<-done
	})
}

// An error because the service stops is no fault.
func TestABillerThatStopsReportsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		ctx, stop := context.WithCancel(t.Context())
		d.Catalog = func(ctx context.Context, _ string) (usage.Catalog, error) {
			stop()
			return usage.Catalog{}, ctx.Err()
		}
		d.put("a", "s1")
		d.put("b", "s2")
		d.Serve(ctx)
		if len(d.faults) > 0 || len(d.calls) > 0 {
			t.Errorf("the faults are %q, and the calls %q", d.faults, d.calls)
		}
	})
}

// The catalogs of three merchants never answer. The usage of all other merchants is billed meanwhile, and each reading ends after three minutes.
func TestAMerchantWhoseCatalogNeverAnswersDoesNotDelayTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		started, reading, most := time.Now(), 0, 0
		count := func(n int) {
			d.mu.Lock()
			defer d.mu.Unlock()
			reading += n
			most = max(most, reading)
		}
		look := func(after time.Duration) (rows, mostAtOnce int, faults []string) {
			time.Sleep(after)
			synctest.Wait()
			d.mu.Lock()
			defer d.mu.Unlock()
			return len(d.rows), most, slices.Sorted(slices.Values(d.faults))
		}
		d.Catalog = func(ctx context.Context, merchant string) (usage.Catalog, error) {
			count(1)
			defer count(-1)
			if strings.HasPrefix(merchant, "slow") {
				<-ctx.Done()
				return usage.Catalog{}, fmt.Errorf("%w after %v", ctx.Err(), time.Since(started))
			}
			time.Sleep(time.Second)
			return catalog(), nil
		}
		for i := range 3 {
			d.put(fmt.Sprint("slow", i), "s")
		}
		for i := range 20 {
			d.put(fmt.Sprint("quick", i), "s")
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { d.Serve(ctx); close(done) }()
		if rows, most, _ := look(21 * time.Second); rows != 20 || most != 4 {
			t.Errorf("after 21 s, %d of 20 merchants are billed, and %d catalogs were read at the same time", rows, most)
		}
		d.put("quick0", "s")
		if rows, _, _ := look(10 * time.Second); rows != 21 {
			t.Error("new usage is not billed")
		}
		_, _, faults := look(3 * time.Minute)
		for i, fault := range faults {
			if want := fmt.Sprintf("billing the usage of merchant slow%d: context deadline exceeded after 3m0s", i); fault != want {
				t.Errorf("got the fault %q, want %q", fault, want)
			}
		}
		if len(faults) != 3 {
			t.Errorf("got %d faults", len(faults))
		}
		look(time.Minute) // the catalogs are read again
		stop()
		<-done
		if reading != 0 || len(d.faults) != 3 {
			t.Errorf("after the end, %d catalogs are being read, and there are %d faults", reading, len(d.faults))
		}
	})
}

// The books keep why the usage of a merchant could not be billed.
func TestAFailureIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock begins at midnight
		d := newDesk()
		d.failing["a"], d.breaking["b"] = errAway, errors.New("full")
		d.put("a", "s1")
		d.put("b", "s2")
		d.put("c", "s3")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { d.Serve(ctx); close(done) }()
		time.Sleep(70 * time.Second)
		stop()
		<-done
		if want := map[string]string{"a": "away at 00:01:00", "b": "full at 00:01:00"}; !maps.Equal(d.failures, want) {
			t.Errorf("got %q, want %q", d.failures, want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.failing["a"], d.unstorable = errAway, errors.New("full")
		d.put("a", "s1")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { d.Serve(ctx); close(done) }()
		time.Sleep(time.Second)
		stop()
		<-done
		if want := []string{"billing the usage of merchant a: away", "full"}; !slices.Equal(d.faults, want) {
			t.Errorf("a failure that cannot be stored: the faults are %q, want %q", d.faults, want)
		}
	})
}

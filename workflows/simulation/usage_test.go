package simulation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/workflows"
)

// hasUsage reports whether usage is billed in the world of a seed: in every eighth plan without other workflows, and in every fourth plan with
// changes of subscriptions. The other plans have no usage, so their worlds do not depend on this file.
func hasUsage(seed uint64) bool { return seed%8 == 5 || seed%16 == 7 }

// The type `billPlan` is usage of one hour that a biller bills: rows for subscriptions that runs have made.
type billPlan struct {
	At       time.Duration
	Merchant int
	Many     int           // maximum number of subscriptions
	Values   []int64       // the rows of each subscription: for each revision, the value in hundredths
	Again    time.Duration // if not zero: after this time, the same rows are billed again, as from a restored database
	Foreign  bool          // BillingStack has the first row already, with another value
}

// faultsAfterBill is the time for which faults happen after usage was billed.
const faultsAfterBill = 45 * time.Second

// The method `bill` adds usage to a plan, and mishaps for the runs that post it.
func (p *plan) bill(r *rand.Rand) {
	between := func(from, to time.Duration) time.Duration { return from + time.Duration(r.Int64N(int64(to-from))) }
	for range 1 + r.IntN(3) {
		b := billPlan{At: between(5*time.Second, 50*time.Second), Merchant: r.IntN(2), Many: 1 + r.IntN(3), Foreign: r.IntN(4) == 0}
		for range 1 + r.IntN(2) {
			b.Values = append(b.Values, 1+r.Int64N(500))
		}
		if r.IntN(3) == 0 {
			b.Again = between(time.Millisecond, []time.Duration{time.Second, 40 * time.Second}[r.IntN(2)])
		}
		p.Bills = append(p.Bills, b)
		if r.IntN(3) == 0 {
			p.Incidents = append(p.Incidents, incident{
				b.At + between(0, 30*time.Second), r.IntN(p.Replicas), incidentKind(r.IntN(3)), between(time.Second, 40*time.Second),
			})
		}
	}
	about := func(step string, nth int, k kind) {
		p.Mishaps = append(p.Mishaps, mishap{Order: noOrder, Step: step, Nth: nth, Kind: k, For: between(time.Second, 80*time.Second)})
	}
	post := func() string { return fmt.Sprint("post/", 1+max(0, r.IntN(4)-1)) }
	if r.IntN(3) == 0 { // the first run fails
		about(post(), r.IntN(2), refused400+kind(r.IntN(2)))
	}
	if r.IntN(3) == 0 { // the first request takes effect late, and the second is refused: the run is compensated
		step := post()
		about(step, 0, lateCommit)
		if r.IntN(3) == 0 { // the follow-up's next run may have begun
			p.Mishaps[len(p.Mishaps)-1].For = between(2*time.Minute, 30*time.Hour)
		}
		about(step, 1, refused400)
	}
	for range r.IntN(5) {
		about(post(), r.IntN(4), kind(r.IntN(int(kinds))))
	}
	for range r.IntN(3) {
		k := kind(r.IntN(int(kinds)))
		if k < crashBefore {
			k %= unreachable + 1 // errors of the database have no HTTP status
		}
		about("checkpoint", r.IntN(12), k)
	}
}

// The type `books` is the part of the world's database with the rows of usage.
type books struct {
	rows     map[string]*usage.BilledRow // by the id of the row
	billed   map[int][]string            // by the number of the bill: the ids of its rows
	postings map[int]map[string]bool     // by the number of the bill: the ids of its follow-ups
}

// The method `sorted` returns the rows, sorted by id.
func (b *books) sorted() (all []usage.BilledRow) {
	for _, id := range slices.Sorted(maps.Keys(b.rows)) {
		all = append(all, *b.rows[id])
	}
	return all
}

// Posted implements [workflows.Books]. BillingStack must have the rows already. The key of the call has the first row, because several steps of
// a run may make this call at once.
func (l link) Posted(ctx context.Context, now time.Time, merchant, run string, rows []usage.Posted) error {
	return tell(ctx, l, fmt.Sprint("posted ", merchant, " ", run, " ", rows[0].Row), func(context.Context) error {
		for _, p := range rows {
			if _, err := l.r.world.direct.OneUsage(context.Background(), merchant, p.Row); err != nil {
				l.r.world.violate("usage-recorded", run, fmt.Sprintf("row %s is recorded as posted: %v", p.Row, err))
			}
			if row := l.r.world.books.rows[p.Row]; row != nil && row.Run == "" {
				row.Run, row.PostedAt, row.Differs = run, now, p.Differs
			}
		}
		return nil
	})
}

// The method `bill` schedules the billing of usage, as usage.Biller does it: a replica stores the rows and the follow-up in one transaction.
// The world does not come to rest before the follow-up's first run has ended.
func (w *world) bill(n int, b billPlan) {
	w.driver.mu.Lock()
	w.open++
	w.driver.mu.Unlock()
	name := fmt.Sprint("biller ", n)
	w.driver.after(nil, b.At, name, func() {
		go func() {
			defer func() {
				w.driver.mu.Lock()
				defer w.driver.mu.Unlock()
				w.open--
			}()
			w.insist(name, func(r *replica) error { return w.makeRows(n, b, r) })
			if b.Again > 0 {
				w.driver.sleep(b.Again, name+" again")
				w.insist(name+" again", func(r *replica) error { return w.restore(n, b, r) })
			}
			w.insist(name+" waits", func(*replica) error { return w.posted(n) })
		}()
	})
}

// The method `insist` repeats a call to the database, each time on a replica chosen at random, until the call succeeds.
func (w *world) insist(name string, effect func(*replica) error) {
	for try := 1; !w.isOver(); try++ {
		if many := uint64(len(w.replicas)); many > 0 {
			r := w.replicas[w.driver.chance(name, try, "via")%many]
			ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), actorKey{}, name), 10*time.Second)
			err := tell(ctx, link{r, w.store}, "bill", func(context.Context) error { return effect(r) })
			cancel()
			if err == nil {
				return
			}
		}
		w.driver.sleep(5*time.Second+w.driver.latency(name, try), name+" waits")
	}
}

var (
	errNotBillable = errors.New("the merchant does not have enough subscriptions yet")
	errNotPosted   = errors.New("the first run of a follow-up has not ended yet")
)

// makeRows stores the rows of a bill and their follow-up, if this has not happened yet. In the first minute of a world, makeRows waits for the
// maximum number of subscriptions. If there is no subscription after three minutes, no rows are made.
func (w *world) makeRows(n int, b billPlan, r *replica) error {
	if w.books.billed[n] != nil {
		return nil
	}
	all, age := w.subscriptions(w.sellers[b.Merchant].id), time.Since(w.driver.began)
	switch {
	case len(all) == 0 && age > 3*time.Minute:
		return nil
	case len(all) == 0, len(all) < b.Many && age < time.Minute:
		return errNotBillable
	case w.books.rows == nil:
		w.books = books{rows: map[string]*usage.BilledRow{}, billed: map[int][]string{}, postings: map[int]map[string]bool{}}
	}
	for i, subscription := range all[:min(b.Many, len(all))] {
		for revision, value := range b.Values {
			row := rowOf(n, subscription, revision, value)
			if i == 0 && revision == 0 && b.Foreign {
				w.foreign(b, row)
			}
			w.books.rows[row.ID] = &usage.BilledRow{Row: row}
			w.books.billed[n] = append(w.books.billed[n], row.ID)
		}
	}
	w.post(n, b, r)
	return nil
}

// subscriptions returns the subscriptions that succeeded runs have made for a merchant, sorted by id.
func (w *world) subscriptions(merchant string) (ids []string) {
	runs, err := w.store.Runs(context.Background(), saga.Filter{
		Merchant: merchant, Workflow: workflows.SubscribeName, States: []saga.RunState{saga.Succeeded}, Limit: -1,
	})
	w.ok(err)
	for _, r := range runs {
		ids = append(ids, subscriptionOf(r))
	}
	slices.Sort(ids)
	return ids
}

func hourOf(n int) time.Time { return time.Date(2026, 1, 31, n, 0, 0, 0, time.UTC) }

// rowOf returns a row of the bill n.
func rowOf(n int, subscription string, revision int, hundredths int64) usage.Row {
	row := usage.Row{
		Subscription: subscription, Product: fixedID("product", 0), Name: "vcpus", From: hourOf(n), To: hourOf(n).Add(time.Hour),
		Revision: revision, Value: decimal.New(hundredths, -2), Price: new(decimal.RequireFromString("0.05")),
	}
	if revision > 0 { // a correction
		row.Value = row.Value.Neg()
	}
	row.ID = usage.RowID(row.Subscription, row.Product, row.Window(), revision)
	return row
}

// The method `foreign` stores usage in BillingStack that has the id of a row, but another value. No run may change it.
func (w *world) foreign(b billPlan, row usage.Row) {
	row.Value = row.Value.Add(decimal.New(1, 0))
	merchant := w.sellers[b.Merchant].id
	_, err := w.direct.CreateUsage(context.Background(), merchant, row.Usage())
	w.ok(err)
	made, err := w.direct.OneUsage(context.Background(), merchant, row.ID)
	w.ok(err)
	w.before.Usage = append(w.before.Usage, made)
}

// The method `restore` lets the database forget that the rows of a bill were posted, and stores a second follow-up for them.
func (w *world) restore(n int, b billPlan, r *replica) error {
	if len(w.books.postings[n]) != 1 { // there are no rows, or this has happened already
		return nil
	}
	for _, id := range w.books.billed[n] {
		w.books.rows[id] = &usage.BilledRow{Row: w.books.rows[id].Row}
	}
	w.post(n, b, r)
	return nil
}

// The method `post` stores a follow-up for the rows of a bill.
func (w *world) post(n int, b billPlan, r *replica) {
	var rows []usage.Row
	for _, id := range w.books.billed[n] {
		rows = append(rows, w.books.rows[id].Row)
	}
	slices.SortFunc(rows, func(x, y usage.Row) int {
		return cmp.Or(cmp.Compare(x.Subscription, y.Subscription), cmp.Compare(x.Revision, y.Revision))
	})
	f := r.deps.PostUsageLater(w.sellers[b.Merchant].id, hourOf(n), rows)
	w.store.PutFollowUps(f)
	if w.books.postings[n] == nil {
		w.books.postings[n] = map[string]bool{}
	}
	w.books.postings[n][f.ID] = true
	w.driver.note("bill %d: posting %s of %d rows", n, f.ID, len(rows))
}

// The method `posted` returns an error as long as a follow-up of the bill is due, because its first run has not ended.
func (w *world) posted(n int) error {
	for _, f := range w.store.Everything().FollowUps {
		if w.books.postings[n][f.ID] && f.Reason == nil && time.Until(f.DueAt) < time.Hour {
			return errNotPosted
		}
	}
	return nil
}

package usage

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

const (
	// billEvery is the interval between two searches for usage to bill.
	billEvery = 5 * time.Second
	// billedAtOnce is the maximum number of projects whose usage is billed in one transaction. merchantsAtOnce is the maximum number of merchants
	// that are billed after one search. A replica bills billersAtOnce merchants at the same time.
	billedAtOnce    = 50
	merchantsAtOnce = 100
	billersAtOnce   = 4
	// catalogTime is the time limit for reading a merchant's catalog with two requests to BillingStack. Each request waits for its turn, and then
	// up to 65 s for the answer.
	catalogTime = 3 * time.Minute
	// billsInARow is the maximum number of transactions in which a merchant's usage is billed with one reading of the catalog.
	billsInARow = 20
	// billAgain is the time for which a merchant is passed over after its usage could not be billed.
	billAgain = time.Minute
	// postedAtOnce and rowsAtOnce are the maximum numbers of subscriptions and rows that one run posts. The rows of one subscription are not
	// divided, so a run may have more rows.
	postedAtOnce = 20
	rowsAtOnce   = 200
)

// Books keeps the rows of usage.
type Books interface {
	// Billable returns at most `limit` merchants that have usage to bill, in random order. A merchant with many rows that are not posted yet is
	// left out.
	Billable(ctx context.Context, now time.Time, limit int) ([]string, error)
	// Bill reads the oldest hour in which the merchant has usage to bill, of at most `limit` projects. It calls the function `bill`, and stores
	// its results: rows, unmatched usage and follow-ups. All this happens in one transaction. After it, the usage of the projects no longer waits
	// to be billed. But if the subscription is in Bill.Later, the usage waits one more hour. Such usage is given up after 30 days. The result is
	// the number of the projects; it is zero if there is nothing to bill, or if another replica is billing it. If Bill returns an error, nothing
	// was stored, or the answer of the database was lost.
	Bill(ctx context.Context, now time.Time, merchant string, limit int, bill func(Reading) (Bill, []saga.FollowUp)) (int, error)
	// Failed stores why the usage of a merchant could not be billed, in place of an earlier failure. Only the beginning of a long text is stored.
	// When Bill has billed usage of the merchant, the failure is removed.
	Failed(ctx context.Context, now time.Time, merchant string, failure error) error
	// Posted records that a run has posted rows of a merchant. Posted may be repeated. A row that was posted before stays as it is.
	Posted(ctx context.Context, now time.Time, merchant, run string, rows []Posted) error
}

// Posted is a row that BillingStack has.
type Posted struct {
	Row     string // the id of the row
	Differs string // see Row.Differs
}

// BilledRow is a row with the result of its posting.
type BilledRow struct {
	Row

	Run      string    // the run that has posted the row; empty: the row is not posted yet
	PostedAt time.Time // zero: the row is not posted yet
	Differs  string    // see Row.Differs
}

// Trouble is the unmatched usage of several hours that has the same reason.
type Trouble struct {
	Unmatched

	First, Last time.Time // the beginnings of the first and of the last hour with such usage
}

// Account shows what was billed.
type Account interface {
	// Measured reads the usage of a subscription in the hours that begin in the range, sorted by time and meter. After about `limit` entries,
	// Measured stops at the end of an hour. The result `next` is then the beginning of the next hour; otherwise it is zero.
	Measured(ctx context.Context, merchant, subscription string, r Range, limit int) (all []Measured, next time.Time, err error)
	// Rows reads the rows of a subscription for the hours that begin in the range, sorted by time, product and revision.
	Rows(ctx context.Context, merchant, subscription string, r Range) ([]BilledRow, error)
	// Troubles reads at most `limit` entries about the unmatched usage of a merchant, with the amounts of all their hours. If Reason.OfMeter is
	// true, the amount is zero, because it would be the amount of all projects. For NoPlan, only the usage that still waits to be billed counts,
	// and an entry without such usage is left out. The parameter `after` is the number of entries to leave out.
	Troubles(ctx context.Context, merchant string, after, limit int) ([]Trouble, error)
}

// Biller makes rows from the usage of hours, and lets runs post them. Several replicas may have a Biller at the same time.
type Biller struct {
	Billing

	Books   Books
	Catalog func(ctx context.Context, merchant string) (Catalog, error)
	// Posting returns the follow-up whose run posts rows to BillingStack. The rows belong to one hour of a merchant.
	Posting func(merchant string, hour time.Time, rows []Row) saga.FollowUp
	Now     func() time.Time
	Fault   func(error) // called with errors that an operator should know; several calls may be made at the same time
}

// Serve bills usage until ctx ends. If the usage of a merchant is slow to bill, or cannot be billed, this does not delay the other merchants.
func (b *Biller) Serve(ctx context.Context) {
	timer := time.NewTicker(billEvery)
	defer timer.Stop()
	s := serving{Biller: b, passed: map[string]time.Time{}, free: make(chan struct{}, billersAtOnce)}
	defer s.all.Wait()
	for {
		if err := s.search(ctx); err != nil && ctx.Err() == nil {
			b.Fault(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// The type `serving` is the state of Serve.
type serving struct {
	*Biller

	free chan struct{} // has an element for each merchant that is being billed
	all  sync.WaitGroup

	mu sync.Mutex
	// The map `passed` has the merchants that are passed over. If the usage of a merchant could not be billed, the value is the time until
	// which the merchant is passed over. If the merchant is being billed, the value is zero.
	passed map[string]time.Time
}

// The method `search` searches for merchants with usage to bill, and begins to bill their usage.
func (s *serving) search(ctx context.Context) error {
	now := s.Now()
	s.mu.Lock()
	maps.DeleteFunc(s.passed, func(_ string, until time.Time) bool { return !until.IsZero() && !now.Before(until) })
	// Billable may return merchants that are passed over. The limit is raised by the number of these merchants, so that they do not displace
	// other merchants.
	limit := merchantsAtOnce + len(s.passed)
	s.mu.Unlock()
	found, err := s.Books.Billable(ctx, now, limit)
	if err != nil {
		return err
	}
	for _, merchant := range found {
		if !s.begin(merchant) {
			continue
		}
		select {
		case s.free <- struct{}{}:
			s.all.Go(func() { defer func() { <-s.free }(); s.bill(ctx, merchant) })
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// The method `begin` reports whether the merchant is to be billed. If so, the merchant is passed over until its billing ends.
func (s *serving) begin(merchant string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, passed := s.passed[merchant]; passed {
		return false
	}
	s.passed[merchant] = time.Time{}
	return true
}

func (s *serving) bill(ctx context.Context, merchant string) {
	err := s.Bill(ctx, merchant)
	s.mu.Lock()
	delete(s.passed, merchant)
	if err != nil {
		s.passed[merchant] = s.Now().Add(billAgain)
	}
	s.mu.Unlock()
	if err == nil || ctx.Err() != nil {
		return
	}
	s.Fault(fmt.Errorf("billing the usage of merchant %s: %w", merchant, err))
	if err := s.Books.Failed(ctx, s.Now(), merchant, err); err != nil && ctx.Err() == nil {
		s.Fault(err)
	}
}

// Bill bills the waiting usage of a merchant. If there is too much usage for one call, Bill leaves the rest for the next call.
func (b *Biller) Bill(ctx context.Context, merchant string) error {
	limited, cancel := context.WithTimeout(ctx, catalogTime)
	c, err := b.Catalog(limited, merchant)
	cancel()
	if err != nil {
		return err
	}
	for i := 0; i < billsInARow && ctx.Err() == nil; i++ {
		n, err := b.Books.Bill(ctx, b.Now(), merchant, billedAtOnce, func(r Reading) (Bill, []saga.FollowUp) {
			made := b.Billing.Bill(r, c)
			return made, b.postings(r, made.Rows)
		})
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// The method `postings` distributes rows, which are sorted by subscription, among follow-ups.
func (b *Biller) postings(r Reading, rows []Row) (all []saga.FollowUp) {
	for len(rows) > 0 {
		n, subscriptions := 0, 0
		for n < len(rows) {
			end := n + 1
			for end < len(rows) && rows[end].Subscription == rows[n].Subscription {
				end++
			}
			if n > 0 && (subscriptions == postedAtOnce || end > rowsAtOnce) {
				break
			}
			n, subscriptions = end, subscriptions+1
		}
		all = append(all, b.Posting(r.Merchant, r.Hour, rows[:n:n]))
		rows = rows[n:]
	}
	return all
}

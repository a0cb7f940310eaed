package workflows_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// A merchant has a succeeded posting for each hour, and all of them have the same subject. A new posting must not read them.
func TestAPostingDoesNotReadEarlierPostings(t *testing.T) {
	d, err := saga.Define(workflows.PostUsage(workflows.Deps{}))
	if err != nil {
		t.Fatal(err)
	}
	input, err := json.Marshal(workflows.Posting{ID: "i", MerchantID: "m", Rows: []usage.Row{{ID: "r"}}})
	if err != nil {
		t.Fatal(err)
	}
	d.Attempt(t.Context(), saga.Call{Kind: saga.CallDo, Step: "post/1", Begins: true, Input: input, State: input}, strictEnv{t: t})
}

// BillingStack does not check whose ids clients choose. A row is not posted if its id belongs to usage of another subscription.
func TestARowIsNotPostedIfItsIDBelongsToOtherUsage(t *testing.T) {
	row := usage.Row{ID: uuid.NewString(), Subscription: uuid.NewString(), Product: uuid.NewString()}
	for _, look := range []bool{false, true} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodPost {
				w.WriteHeader(http.StatusConflict)
				return
			}
			_ = json.NewEncoder(w).Encode([]billing.Usage{{ID: row.ID, SubscriptionID: uuid.NewString(), ProductID: row.Product}})
		}))
		defer s.Close()
		client, err := billing.New(billing.Config{URL: s.URL + "/v2"})
		if err != nil {
			t.Fatal(err)
		}
		books := &postedBooks{}
		d, err := saga.Define(workflows.PostUsage(workflows.Deps{Billing: client, Books: books, Now: time.Now}))
		if err != nil {
			t.Fatal(err)
		}
		state, err := json.Marshal(workflows.Posting{ID: "i", MerchantID: uuid.NewString(), Rows: []usage.Row{row}})
		if err != nil {
			t.Fatal(err)
		}
		o := d.Attempt(t.Context(), saga.Call{Kind: saga.CallDo, Step: "post/1", Item: "1", Look: look, State: state}, strictEnv{t: t})
		if o.Err == nil || o.Err.Class != upstream.Permanent || len(books.rows) > 0 {
			t.Errorf("look is %v: got %+v, and the rows %v are recorded", look, o.Err, books.rows)
		}
	}
}

// The type `postedBooks` keeps the rows that are recorded as posted.
type postedBooks struct{ rows []usage.Posted }

// Posted implements [workflows.Books].
func (b *postedBooks) Posted(_ context.Context, _ time.Time, _, _ string, rows []usage.Posted) error {
	b.rows = append(b.rows, rows...)
	return nil
}

// The type `strictEnv` fails the test if an attempt reads other runs.
type strictEnv struct {
	saga.Env

	t *testing.T
}

// Unsettled implements [saga.Env].
func (s strictEnv) Unsettled(context.Context) (string, error) {
	s.t.Error("the attempt looks for earlier runs with the same subject")
	return "", nil
}

// BillingStack refuses a row, because its product does not exist. The other rows are posted nevertheless.
func TestARefusedRowDoesNotKeepTheOthersFromBeingPosted(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	trials := workflowstest.Trials()
	trial := trials[slices.IndexFunc(trials, func(trial workflowstest.Trial) bool { return trial.Do["post/1"] != "" })]
	g, token := w.groundOf(t, trial)
	q := trial.Request(g)
	p := q.Input.(workflows.Posting)
	refused := p.Rows[0]
	refused.Product = uuid.NewString()
	refused.ID = usage.RowID(refused.Subscription, refused.Product, refused.Window(), 0)
	posted := p.Rows[1]
	p.Rows = []usage.Row{refused, posted}
	q.Input = p
	w.accept(q, token)
	run := w.until(t, g.RunID, over)
	if end(run) != compensates || run.Cause == nil || run.Cause.Step != "post/1" || run.Cause.FixBy == "" {
		t.Errorf("the run is %s", describe(run))
	}
	if _, err := w.Billing.OneUsage(t.Context(), g.MerchantID, posted.ID); err != nil {
		t.Errorf("the other row: %v", err)
	}
	if u, err := w.Billing.OneUsage(t.Context(), g.MerchantID, refused.ID); err == nil {
		t.Errorf("the refused row is posted: %+v", u)
	}
	left, err := w.Store.FollowUps(t.Context(), g.MerchantID, workflows.PostUsageName, []string{p.ID})
	if err != nil || left[p.ID].Reason == nil {
		t.Errorf("the rest is not scheduled: %+v, %v", left, err)
	}
}

// The catalog is read on behalf of the merchant, so that a merchant whose catalog is slow delays only its own requests.
func TestTheCatalogIsReadForTheMerchant(t *testing.T) {
	var seen []upstream.Caller
	bill, err := billing.New(billing.Config{URL: "http://billing/v2", Enter: func(ctx context.Context) (func(int, error), error) {
		seen = append(seen, upstream.CallerOf(ctx))
		return nil, &upstream.NotSentError{}
	}})
	if err != nil {
		t.Fatal(err)
	}
	const merchant = "f47f51dd-e7db-47e2-bdb1-83935a50cf87"
	if _, err := (workflows.Deps{Billing: bill}).UsageCatalog(t.Context(), merchant); err == nil || len(seen) != 1 {
		t.Fatalf("%d requests, %v", len(seen), err)
	}
	if seen[0].Merchant != merchant || !seen[0].ReadOnly {
		t.Errorf("the caller is %+v", seen[0])
	}
}

// A catalog is read for bills although a plan is longer than 256 KiB, and the products have more than 100,000 values.
func TestTheCatalogOfALargeMerchant(t *testing.T) {
	repeated := func(what string, n int) string { return what + strings.Repeat(","+what, n-1) }
	const price = `[{"type": "fixed", "price": 0.05}]`
	pages := map[string]string{
		"plans":    `[{"id": "large", "items": [` + repeated(`{"product_id": "p", "name": "P", "description": "`+strings.Repeat("x", 200)+`"}`, 2000) + `]}]`,
		"products": `[{"id": "p", "name": "P", "pricing": ` + price + `},` + repeated(`{"id": "q", "name": "Q", "pricing": [`+repeated("0", 200)+`]}`, 1000) + `]`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, pages[path.Base(r.URL.Path)])
	}))
	defer server.Close()
	bill, err := billing.New(billing.Config{URL: server.URL + "/v2"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := (workflows.Deps{Billing: bill}).UsageCatalog(t.Context(), "f47f51dd-e7db-47e2-bdb1-83935a50cf87")
	if err != nil {
		t.Fatal(err)
	}
	if items := c.Plans["large"]; len(items) != 2000 || items[1999].Price == nil || items[1999].Price.String() != "0.05" || !c.Names["Q"] {
		t.Errorf("got %d items, and the names %v", len(items), c.Names)
	}
}

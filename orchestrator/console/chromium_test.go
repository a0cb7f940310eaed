package console_test

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/tenantry/tenantry/orchestrator/merchants"
)

// An operator finds a failed run among 500, reads why it failed, repeats it with a reason, and watches the new run succeed. The browser is closed in
// the middle; after the next sign-in, everything is as before.
func TestAnOperatorRepeatsARunInChromium(t *testing.T) {
	w := newWorld(t)
	for range 250 {
		w.order(t, w.Merchant)
	}
	failed := w.refused(t)
	for range 249 {
		w.order(t, w.Other)
	}
	ctx := browse(t)
	browser := watchful(t, ctx)
	do(t, ctx, chromedp.Navigate(w.URL+"/console"), chromedp.WaitVisible(`input[name=user]`))
	screens(t, ctx, "sign-in")
	do(t, ctx, w.signIn("/console")...)
	do(t, ctx, chromedp.WaitVisible(`table.runs`))
	screens(t, ctx, "runs")
	do(t, ctx, chromedp.SetValue(`select[name=state]`, "compensated"), chromedp.Click(`.filter button`), chromedp.WaitVisible(`a[href="/console/runs/`+failed+`"]`))
	if n := len(read(t, ctx, chromedp.Nodes(`table.runs tbody tr`))); n != 1 {
		t.Errorf("%d runs are compensated, want 1", n)
	}
	do(t, ctx, chromedp.Click(`a[href="/console/runs/`+failed+`"]`), chromedp.WaitVisible(`.failure`))
	screens(t, ctx, "run-compensated")
	browser.check(t, w.URL)

	again := browse(t) // another browser, as after the first one was closed
	browser = watchful(t, again)
	do(t, again, w.signIn("/console/runs/"+failed)...)
	w.down.Store(true)
	do(t, again, chromedp.WaitVisible(`input[name=why]`), chromedp.SendKeys(`input[name=why]`, "the plan is for sale again"),
		chromedp.Click(`button[formaction$="/retry"]`), chromedp.WaitVisible(`.done`), chromedp.WaitVisible(`#summary .state.wait`))
	screens(t, again, "run-waiting")
	w.down.Store(false)
	do(t, again, chromedp.WaitVisible(`h1 .state.good`)) // a live update, because nobody has loaded the page again
	screens(t, again, "run-succeeded")
	browser.check(t, w.URL)
}

// After five minutes, the updates of a page end, and the browser asks for them again. As soon as the API refuses them, the browser stops, and the page
// says so.
func TestUpdatesContinueUntilTheyAreRefusedInChromium(t *testing.T) {
	w := newWorld(t)
	w.down.Store(true)
	id := w.orderWaits(t, w.Merchant)
	ctx := browse(t)
	do(t, ctx, chromedp.Navigate(w.URL+"/console/runs/"+id), chromedp.WaitVisible(`details:last-of-type summary`),
		chromedp.Click(`details:last-of-type summary`), chromedp.WaitVisible(`input[name=key]`), chromedp.SendKeys(`input[name=key]`, w.Merchant.Key),
		chromedp.SendKeys(`input[name=secret]`, w.Merchant.Secret+"\r"), chromedp.WaitVisible(`h1 .state.wait`))
	w.later.Store(int64(6 * time.Minute)) // the open stream sends no further update
	w.down.Store(false)
	do(t, ctx, chromedp.WaitVisible(`h1 .state.good`))
	now := time.Now()
	if _, err := w.Store.Merchants().Update(t.Context(), w.Merchant.ID, func(m *merchants.Merchant) error { m.DisabledAt = &now; return nil }); err != nil {
		t.Fatal(err)
	}
	w.later.Store(int64(12 * time.Minute))
	do(t, ctx, chromedp.WaitVisible(`div[hx-ext=sse]:not([sse-connect]) .fault`))
}

// A merchant finds a subscription, looks at its usage, ends the subscription after it has seen what would happen, and restores it.
func TestAMerchantEndsAndRestoresASubscriptionInChromium(t *testing.T) {
	w := newWorld(t)
	s := w.used(t)
	w.usageIsShown(t, s)
	ctx := browse(t)
	browser := watchful(t, ctx)
	change := func(action, why, name string) {
		t.Helper()
		do(t, ctx, chromedp.WaitVisible(`.change input[name=why]`), chromedp.SendKeys(`.change input[name=why]`, why),
			chromedp.Click(`button[formaction$="/`+action+`/dry-run"]`), chromedp.WaitVisible(`table.would`))
		screens(t, ctx, name)
		do(t, ctx, chromedp.Click(`.confirm button`), chromedp.WaitVisible(`h1 .state.good`), chromedp.Click(`#objects a[href="`+s.page()+`"]`),
			chromedp.WaitVisible(`.change`))
	}
	do(t, ctx, chromedp.Navigate(w.URL+"/console"), chromedp.WaitVisible(`.sign-in`), chromedp.Click(`details:last-of-type summary`),
		chromedp.WaitVisible(`input[name=key]`), chromedp.SendKeys(`input[name=key]`, w.Merchant.Key), chromedp.SendKeys(`input[name=secret]`, w.Merchant.Secret+"\r"),
		chromedp.WaitVisible(`table.runs`), chromedp.Click(`nav a[href="/console/subscriptions"]`), chromedp.WaitVisible(`table.subscriptions`))
	screens(t, ctx, "subscriptions")
	do(t, ctx, chromedp.SendKeys(`input[name=q]`, s.subscription+"\r"), chromedp.WaitVisible(`.plots`))
	screens(t, ctx, "subscription")
	do(t, ctx, chromedp.Click(`.spans a:nth-child(2)`), chromedp.WaitVisible(`.spans a:nth-child(2)[aria-current]`), chromedp.Click(`.values summary`),
		chromedp.WaitVisible(`.values table`))
	screens(t, ctx, "subscription-week")
	w.down.Store(false)
	change("unsubscribe", "the customer leaves", "unsubscribe")
	do(t, ctx, chromedp.WaitVisible(`h1 .state.wait`))
	screens(t, ctx, "subscription-ending")
	change("restore", "the customer has come back", "restore")
	do(t, ctx, chromedp.WaitVisible(`h1 .state.good`), chromedp.Click(`.sides a[href^="/console/customers/"]`), chromedp.WaitVisible(`table.subscriptions`))
	screens(t, ctx, "customer")
	do(t, ctx, chromedp.Click(`.sides a[href^="/console/tenants/"]`), chromedp.WaitVisible(`.tags`))
	screens(t, ctx, "tenant")
	do(t, ctx, chromedp.Click(`.sides a[href^="/console/users/"]`), chromedp.WaitVisible(`.roles`))
	screens(t, ctx, "user")
	browser.check(t, w.URL)
}

package console_test

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest/chromium"
)

// An operator finds a failed run on a full page, and repeats it while BillingStack is down. The new run waits, and the page shows when it goes on.
// The story TestPeopleUseTheConsoleOnRealParts finds the run among 500.
func TestAnOperatorRepeatsARunInChromium(t *testing.T) {
	w := newWorld(t)
	for range 30 {
		w.order(t, w.Merchant)
	}
	failed := w.refused(t)
	for range 30 {
		w.order(t, w.Other)
	}
	ctx := chromium.Start(t)
	browser := chromium.Watch(t, ctx)
	chromium.Do(t, ctx, chromedp.Navigate(w.URL+"/console"), chromedp.WaitVisible(`input[name=user]`))
	chromium.Screens(t, ctx, "sign-in")
	chromium.Do(t, ctx, w.signIn("/console")...)
	chromium.Do(t, ctx, chromedp.WaitVisible(`table.runs`))
	chromium.Screens(t, ctx, "runs")
	chromium.Do(t, ctx, chromedp.SetValue(`select[name=state]`, "compensated"), chromedp.Click(`.filter button`), chromedp.WaitVisible(`a[href="/console/runs/`+failed+`"]`))
	if n := len(chromium.Read(t, ctx, chromedp.Nodes(`table.runs tbody tr`))); n != 1 {
		t.Errorf("%d runs are compensated, want 1", n)
	}
	chromium.Do(t, ctx, chromedp.Click(`a[href="/console/runs/`+failed+`"]`), chromedp.WaitVisible(`.failure`))
	chromium.Screens(t, ctx, "run-compensated")
	w.down.Store(true)
	chromium.Do(t, ctx, chromedp.SendKeys(`input[name=why]`, "the plan is for sale again"),
		chromedp.Click(`button[formaction$="/retry"]`), chromedp.WaitVisible(`.done`), chromedp.WaitVisible(`#summary .state.wait`))
	chromium.Screens(t, ctx, "run-waiting")
	w.down.Store(false)
	chromium.Do(t, ctx, chromedp.WaitVisible(`h1 .state.good`)) // a live update, because nobody has loaded the page again
	chromium.Screens(t, ctx, "run-succeeded")
	browser.Check(t, w.URL)
}

// After five minutes, the updates of a page end, and the browser asks for them again. As soon as the API refuses them, the browser stops, and the page
// says so.
func TestUpdatesContinueUntilTheyAreRefusedInChromium(t *testing.T) {
	w := newWorld(t)
	w.down.Store(true)
	id := w.orderWaits(t, w.Merchant)
	ctx := chromium.Start(t)
	chromium.Do(t, ctx, chromedp.Navigate(w.URL+"/console/runs/"+id), chromedp.WaitVisible(`details:last-of-type summary`),
		chromedp.Click(`details:last-of-type summary`), chromedp.WaitVisible(`input[name=key]`), chromedp.SendKeys(`input[name=key]`, w.Merchant.Key),
		chromedp.SendKeys(`input[name=secret]`, w.Merchant.Secret+"\r"), chromedp.WaitVisible(`h1 .state.wait`))
	w.later.Store(int64(6 * time.Minute)) // the open stream sends no further update
	w.down.Store(false)
	chromium.Do(t, ctx, chromedp.WaitVisible(`h1 .state.good`))
	now := time.Now()
	if _, err := w.Store.Merchants().Update(t.Context(), w.Merchant.ID, func(m *merchants.Merchant) error { m.DisabledAt = &now; return nil }); err != nil {
		t.Fatal(err)
	}
	w.later.Store(int64(12 * time.Minute))
	chromium.Do(t, ctx, chromedp.WaitVisible(`div[hx-ext=sse]:not([sse-connect]) .fault`))
}

// A merchant finds a subscription, looks at its usage, ends the subscription after it has seen what would happen, and restores it.
func TestAMerchantEndsAndRestoresASubscriptionInChromium(t *testing.T) {
	w := newWorld(t)
	s := w.used(t)
	w.usageIsShown(t, s)
	ctx := chromium.Start(t)
	browser := chromium.Watch(t, ctx)
	change := func(action, why, name string) {
		t.Helper()
		chromium.Do(t, ctx, chromedp.WaitVisible(`.change input[name=why]`), chromedp.SendKeys(`.change input[name=why]`, why),
			chromedp.Click(`button[formaction$="/`+action+`/dry-run"]`), chromedp.WaitVisible(`table.would`))
		chromium.Screens(t, ctx, name)
		chromium.Do(t, ctx, chromedp.Click(`.confirm button`), chromedp.WaitVisible(`h1 .state.good`), chromedp.Click(`#objects a[href="`+s.page()+`"]`),
			chromedp.WaitVisible(`.change`))
	}
	chromium.Do(t, ctx, chromedp.Navigate(w.URL+"/console"), chromedp.WaitVisible(`.sign-in`), chromedp.Click(`details:last-of-type summary`),
		chromedp.WaitVisible(`input[name=key]`), chromedp.SendKeys(`input[name=key]`, w.Merchant.Key), chromedp.SendKeys(`input[name=secret]`, w.Merchant.Secret+"\r"),
		chromedp.WaitVisible(`table.runs`), chromedp.Click(`nav a[href="/console/subscriptions"]`), chromedp.WaitVisible(`table.subscriptions`))
	chromium.Screens(t, ctx, "subscriptions")
	chromium.Do(t, ctx, chromedp.SendKeys(`input[name=q]`, s.subscription+"\r"), chromedp.WaitVisible(`.plots`))
	chromium.Screens(t, ctx, "subscription")
	chromium.Do(t, ctx, chromedp.Click(`.spans a:nth-child(2)`), chromedp.WaitVisible(`.spans a:nth-child(2)[aria-current]`), chromedp.Click(`.values summary`),
		chromedp.WaitVisible(`.values table`))
	chromium.Screens(t, ctx, "subscription-week")
	w.down.Store(false)
	change("unsubscribe", "the customer leaves", "unsubscribe")
	chromium.Do(t, ctx, chromedp.WaitVisible(`h1 .state.wait`))
	chromium.Screens(t, ctx, "subscription-ending")
	change("restore", "the customer has come back", "restore")
	chromium.Do(t, ctx, chromedp.WaitVisible(`h1 .state.good`), chromedp.Click(`.sides a[href^="/console/customers/"]`), chromedp.WaitVisible(`table.subscriptions`))
	chromium.Screens(t, ctx, "customer")
	chromium.Do(t, ctx, chromedp.Click(`.sides a[href^="/console/tenants/"]`), chromedp.WaitVisible(`.tags`))
	chromium.Screens(t, ctx, "tenant")
	chromium.Do(t, ctx, chromedp.Click(`.sides a[href^="/console/users/"]`), chromedp.WaitVisible(`.roles`))
	chromium.Screens(t, ctx, "user")
	browser.Check(t, w.URL)
}

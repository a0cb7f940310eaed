package portal_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/tenantry/tenantry/orchestrator/service/servicetest/chromium"
)

// The steps of a visitor, who opens a page and fills in its form.
func (w *world) open(path string) chromedp.Action[chromedp.Void] {
	return chromedp.Navigate(w.home + path)
}

func fill(t *testing.T, ctx context.Context, fields ...string) {
	t.Helper()
	for i := 0; i < len(fields); i += 2 {
		chromium.Do(t, ctx, chromedp.WaitVisible(`input[name=`+fields[i]+`]`), chromedp.SetValue(`input[name=`+fields[i]+`]`, fields[i+1]))
	}
}

// The complaints of a browser about answers with an error status, which the walks ask for.
const (
	refused = "status of 4"
	away    = "status of 503"
)

// A visitor looks at the plans, tries a name that is taken, creates an account, orders while BillingStack is down, sees the steps go on when it is
// back, ends the subscription and restores it, and changes the plan.
func TestAVisitorBecomesACustomerInChromium(t *testing.T) {
	w := newWorld(t)
	w.registered(t, "ann")
	ctx := chromium.Start(t)
	browser := chromium.Watch(t, ctx)
	chromium.Do(t, ctx, w.open(""), chromedp.WaitVisible(`.plans`))
	chromium.Screens(t, ctx, "portal-plans")
	chromium.Do(t, ctx, chromedp.Click(`a[href$="register?plan=`+w.small.ID+`"]`), chromedp.WaitVisible(`input[name=repeated]`))
	chromium.Screens(t, ctx, "portal-register")
	fill(t, ctx, "name", "Ann", "email", "bob@example.org", "password", "secret-2", "repeated", "secret-2")
	chromium.Do(t, ctx, chromedp.Click(`main button`), chromedp.WaitVisible(`.fault`))
	chromium.Screens(t, ctx, "portal-register-taken")
	fill(t, ctx, "name", "bob", "password", "secret-2", "repeated", "secret-2")
	chromium.Do(t, ctx, chromedp.Click(`main button`), chromedp.WaitVisible(`form[action$="/order"]`))
	chromium.Screens(t, ctx, "portal-order")

	w.down.Store(true)
	fill(t, ctx, "name", "Bob the builder")
	chromium.Do(t, ctx, chromedp.Click(`main button`), chromedp.WaitVisible(`[data-follow] .steps .done`), chromedp.WaitVisible(`.steps .running`))
	chromium.Screens(t, ctx, "portal-run")
	w.down.Store(false)
	chromium.Do(t, ctx, chromedp.WaitVisible(`#progress .good`)) // nobody has loaded the page again
	chromium.Screens(t, ctx, "portal-run-done")
	chromium.Do(t, ctx, chromedp.Click(`.foot .button`), chromedp.WaitVisible(`.facts`))
	chromium.Screens(t, ctx, "portal-subscription")
	chromium.Do(t, ctx, chromedp.Click(`summary`), chromedp.WaitVisible(`.danger`), chromedp.Click(`.danger`), chromedp.WaitVisible(`#progress .good`),
		chromedp.Click(`.foot .button`), chromedp.WaitVisible(`h1 .state.ending`))
	chromium.Screens(t, ctx, "portal-subscription-ending")
	chromium.Do(t, ctx, chromedp.Click(`form[action$="/restore"] button`), chromedp.WaitVisible(`#progress .good`), chromedp.Click(`.foot .button`),
		chromedp.WaitVisible(`h1 .state.active`), chromedp.SetValue(`select[name=plan]`, w.large.ID), chromedp.Click(`form[action$="/change-plan"] button`),
		chromedp.WaitVisible(`#progress .good`), chromedp.Click(`header nav a[href$="/subscriptions"]`), chromedp.WaitVisible(`.list`))
	chromium.Screens(t, ctx, "portal-subscriptions")
	if text := chromium.Read(t, ctx, chromedp.Text(`.list`)); !strings.Contains(text, "Large") || !strings.Contains(text, "Active") {
		t.Errorf("the subscriptions: %s", text)
	}
	chromium.Do(t, ctx, chromedp.Click(`.account button`), chromedp.WaitVisible(`header .button`))
	browser.Check(t, w.home, refused)
}

// A visitor types a wrong password, meets a Keystone that is down, orders a plan that has vanished, and one that BillingStack refuses.
func TestWhatGoesWrongIsSaidInChromium(t *testing.T) {
	w := newWorld(t)
	gone := w.plan(t, "Gone").ID
	w.registered(t, "ann")
	ctx := chromium.Start(t)
	browser := chromium.Watch(t, ctx)
	logIn := func(password string) {
		t.Helper()
		fill(t, ctx, "name", "ann", "password", password)
		chromium.Do(t, ctx, chromedp.Click(`main button`))
	}
	chromium.Do(t, ctx, w.open("login"))
	logIn("wrong")
	chromium.Do(t, ctx, chromedp.WaitVisible(`.fault`))
	chromium.Screens(t, ctx, "portal-login-refused")
	w.keystoneDown.Store(true)
	chromium.Do(t, ctx, w.open("login"))
	logIn("secret-1")
	chromium.Do(t, ctx, chromedp.WaitVisible(`.fault`))
	if text := chromium.Read(t, ctx, chromedp.Text(`.fault`)); !strings.Contains(text, "We cannot do this at the moment") {
		t.Errorf("while Keystone is down, the page says %q", text)
	}
	w.keystoneDown.Store(false)
	logIn("secret-1")
	chromium.Do(t, ctx, chromedp.WaitVisible(`.empty`))
	chromium.Screens(t, ctx, "portal-subscriptions-none")
	chromium.Do(t, ctx, w.open("order?plan="+gone), chromedp.WaitVisible(`form[action$="/order"]`))
	w.vanish(t, gone)
	chromium.Do(t, ctx, chromedp.Click(`main button`), chromedp.WaitVisible(`.fault`))
	chromium.Screens(t, ctx, "portal-plan-gone")
	w.refuse.Store(true)
	chromium.Do(t, ctx, chromedp.Click(`.foot .button`), chromedp.WaitVisible(`.plans`), chromedp.Click(`a[href$="order?plan=`+w.small.ID+`"]`),
		chromedp.WaitVisible(`form[action$="/order"]`), chromedp.Click(`main button`), chromedp.WaitVisible(`#progress .fault`))
	chromium.Screens(t, ctx, "portal-run-undone")
	browser.Check(t, w.home, refused, away)
}

func TestTheUsageIsReadInChromium(t *testing.T) {
	w := newWorld(t)
	subscription := w.used(t)
	ctx := chromium.Start(t)
	chromium.Do(t, ctx, w.open("login"))
	fill(t, ctx, "name", "ann", "password", "secret-1")
	chromium.Do(t, ctx, chromedp.Click(`main button`), chromedp.WaitVisible(`.list`), chromedp.Click(`a[href$="`+subscription+`"]`), chromedp.WaitVisible(`tfoot`))
	chromium.Screens(t, ctx, "portal-subscription-used")
}

// Without scripts, the browser loads the page of a run again and again until the run has ended.
func TestAVisitorSubscribesWithoutScriptsInChromium(t *testing.T) {
	w := newWorld(t)
	ctx := chromium.Start(t)
	if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	chromium.Do(t, ctx, w.open("register?plan="+w.small.ID))
	fill(t, ctx, "name", "ann", "password", "secret-1", "repeated", "secret-1")
	w.down.Store(true)
	chromium.Do(t, ctx, chromedp.Click(`main button`), chromedp.WaitVisible(`form[action$="/order"]`), chromedp.Click(`main button`),
		chromedp.WaitVisible(`.steps .running`))
	w.down.Store(false)
	chromium.Do(t, ctx, chromedp.WaitVisible(`#progress .good`), chromedp.Click(`.foot .button`), chromedp.WaitVisible(`h1 .state.active`))
}

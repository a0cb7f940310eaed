package console_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/tenantry/tenantry/orchestrator/service/servicetest/chromium"
)

// An operator starts an audit, which finds damaged subscriptions, makes a plan, leaves it, finds it again, approves its entries and applies them.
// After the next audit, the findings are resolved.
func TestAnOperatorRepairsAfterAnAuditInChromium(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	w := newWorld(t, g.option)
	w.damaged(t, 2, 2)
	g.held.Store(true)
	signIn := func(path string) []chromedp.Action[chromedp.Void] {
		return []chromedp.Action[chromedp.Void]{
			chromedp.Navigate(w.URL + path), chromedp.WaitVisible(`input[name=user]`), chromedp.SendKeys(`input[name=user]`, "olga"),
			chromedp.SendKeys(`input[name=password]`, "pw\r"),
		}
	}
	ctx := chromium.Start(t)
	browser := chromium.Watch(t, ctx)
	chromium.Do(t, ctx, signIn("/console/runs")...)
	chromium.Do(t, ctx, chromedp.Click(`.top nav a[href="/console/findings"]`), chromedp.Click(`.tabs a[href="/console/audits"]`), chromedp.WaitVisible(`form.scope`))
	chromium.Do(t, ctx, chromedp.Click(`form.scope button`), chromedp.WaitVisible(`h1 .state.busy`))
	progress(t, w, chromium.Read(t, ctx, chromedp.Location())[len(w.URL):], "reading the differing objects again")
	chromium.Do(t, ctx, chromedp.WaitVisible(`.failure .bar`))
	chromium.Screens(t, ctx, "audit-running")
	close(g.open)
	chromium.Do(t, ctx, chromedp.WaitVisible(`#h-gaps`), chromedp.WaitVisible(`h1 .state.good`)) // the page updates itself
	chromium.Screens(t, ctx, "audit")
	chromium.Do(t, ctx, chromedp.Click(`.tabs a[href="/console/audits"]`), chromedp.WaitVisible(`table.audits`))
	chromium.Screens(t, ctx, "audits")
	chromium.Do(t, ctx, chromedp.Click(`.tabs a[href="/console/findings"]`), chromedp.WaitVisible(`table.findings`))
	chromium.Screens(t, ctx, "findings")
	chromium.Do(t, ctx, chromedp.Click(`dl.overview a[href*="role-missing"]`), chromedp.WaitVisible(`dl.overview a[aria-current]`), chromedp.Click(`.c-finding a`),
		chromedp.WaitVisible(`form.accept`))
	chromium.Screens(t, ctx, "finding")
	chromium.Do(t, ctx, chromedp.Click(`.tabs a[href="/console/findings"]`), chromedp.WaitVisible(`button[name=which]`), chromedp.Click(`button[name=which]`),
		chromedp.WaitVisible(`.entries`))
	chromium.Do(t, ctx, chromedp.Click(`#e1`), chromedp.Click(`#e3`), chromedp.Click(`button[formaction$="/approve"]`), chromedp.WaitVisible(`.done`))
	chromium.Screens(t, ctx, "repair-plan-approved")
	chromium.Do(t, ctx, chromedp.Click(`#e2`), chromedp.Click(`button[formaction$="/dry-run"]`), chromedp.WaitVisible(`.foreseen`))
	chromium.Screens(t, ctx, "repair-plan-dry-run")
	browser.Check(t, w.URL)

	again := chromium.Start(t) // another browser, as after the first one was closed
	browser = chromium.Watch(t, again)
	for _, p := range w.Keystone.Projects() { // somebody else repairs a tenant meanwhile
		if strings.HasPrefix(p.Name, "bs-subscription-") && !p.Enabled {
			w.Keystone.EnableProject(p.ID, true)
			break
		}
	}
	chromium.Do(t, again, signIn("/console/repair-plans")...)
	chromium.Do(t, again, chromedp.WaitVisible(`table.plans`))
	chromium.Screens(t, again, "repair-plans")
	chromium.Do(t, again, chromedp.Click(`table.plans a`), chromedp.WaitVisible(`#e1:checked`), chromedp.WaitVisible(`#e3:checked`))
	if n := len(chromium.Read(t, again, chromedp.Nodes(`.entry input:checked`))); n != 2 {
		t.Errorf("%d entries are approved, want 2", n)
	}
	chromium.Do(t, again, chromedp.Click(`#e2`), chromedp.SendKeys(`input[name=why]`, "agreed with the customers"), chromedp.Click(`button[formaction$="/apply"]`),
		chromedp.WaitVisible(`.done`), chromedp.WaitVisible(`.result .state.good`), chromedp.WaitVisible(`.result .state.bad`))
	eventually(t, "the runs of two entries", func() bool { return len(chromium.Read(t, again, chromedp.Nodes(`.result .state.good`))) == 2 })
	chromium.Screens(t, again, "repair-plan-applied")
	chromium.Do(t, again, chromedp.Click(`.result a[href^="/console/runs/"]`), chromedp.WaitVisible(`h1 .state.good`), chromedp.WaitVisible(`.history q`))
	chromium.Do(t, again, chromedp.Navigate(w.URL+"/console/audits"), chromedp.Click(`form.scope button`), chromedp.WaitVisible(`#h-gaps`))
	chromium.Do(t, again, chromedp.Navigate(w.URL+"/console/findings?status=resolved"), chromedp.WaitVisible(`table.findings`))
	if n := len(chromium.Read(t, again, chromedp.Nodes(`table.findings .state.good`))); n != 3 {
		t.Errorf("%d findings are resolved, want 3", n)
	}
	chromium.Do(t, again, chromedp.Click(`.c-finding a`), chromedp.WaitVisible(`table.repairs`))
	chromium.Screens(t, again, "finding-resolved")
	browser.Check(t, w.URL)
}

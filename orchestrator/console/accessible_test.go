package console_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/tenantry/tenantry/orchestrator/service/servicetest/chromium"
)

// The pages that the walks of the other tests do not show, because something is refused or missing.
func TestThePagesOfFaultsInChromium(t *testing.T) {
	w := newWorld(t)
	w.down.Store(true)
	id := w.orderWaits(t, w.Merchant)
	v := w.operator(t)
	if p := v.post("/console/runs/"+id+"/hold", url.Values{"why": {"so that the run needs a person"}}); p.status != http.StatusOK {
		t.Fatalf("holding the run: %d %s", p.status, p.text)
	}
	ctx := chromium.Start(t)
	chromium.Do(t, ctx, chromedp.Navigate(w.URL+"/console/sign-in"), chromedp.WaitVisible(`summary`), chromedp.Click(`details:last-of-type summary`),
		chromedp.SendKeys(`input[name=key]`, "tk_unknown"), chromedp.SendKeys(`input[name=secret]`, "x\r"), chromedp.WaitVisible(`.fault`))
	chromium.Screens(t, ctx, "sign-in-refused")
	chromium.Do(t, ctx, w.signIn("/console")...)
	chromium.Do(t, ctx, chromedp.WaitVisible(`#attention`))
	chromium.Screens(t, ctx, "runs-attention")
	chromium.Do(t, ctx, chromedp.Navigate(w.URL+"/console/runs?q=nobody"), chromedp.WaitVisible(`.empty`))
	chromium.Screens(t, ctx, "runs-none")
	chromium.Do(t, ctx, chromedp.Navigate(w.URL+"/console/nope"), chromedp.WaitVisible(`.message`))
	chromium.Screens(t, ctx, "not-found")
}

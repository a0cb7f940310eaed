package console_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/tenantry/tenantry/orchestrator/service/servicetest/chromium"
)

// nameOf is a JavaScript function that returns how a person would name an element that can have the focus.
const nameOf = `(e => [e.tagName.toLowerCase(), e.ariaLabel || e.labels?.[0]?.textContent.trim() || e.textContent.trim()].join(" "))`

// Every link, field and button on the page of a run is reached with the Tab key, in the order of the page, and shows that it has the focus. Then the
// run is repeated without a mouse.
func TestARunIsActedOnWithTheKeyboard(t *testing.T) {
	w := newWorld(t)
	w.down.Store(true)
	id := w.orderWaits(t, w.Merchant)
	if p := w.operator(t).post("/console/runs/"+id+"/hold", url.Values{"why": {"nothing changes while the test looks"}}); p.status != http.StatusOK {
		t.Fatalf("holding the run: %d %s", p.status, p.text)
	}
	ctx := chromium.Start(t)
	chromium.Do(t, ctx, w.signIn("/console/runs/"+id)...)
	chromium.Do(t, ctx, chromedp.WaitVisible(`.failure`), chromedp.WaitVisible(`button[formaction$="/compensate"]`), chromedp.WaitVisible(`button.copy`))
	want := chromium.Read(t, ctx, chromedp.Evaluate[[]string](`[...document.querySelectorAll("a[href], button, input, select, [tabindex='0']")].
		filter(e => e.checkVisibility()).map(`+nameOf+`)`))
	var got []string
	for range len(want) + 1 {
		chromium.Do(t, ctx, chromedp.KeyEvent(kb.Tab))
		now := chromium.Read(t, ctx, chromedp.Evaluate[struct {
			Name    string
			Visible bool
		}](`(e => { const style = getComputedStyle(e), at = e.getBoundingClientRect();
			return {name: e === document.body ? "" : `+nameOf+`(e), visible: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 &&
				at.left >= 0 && at.top > -1 && at.right <= innerWidth && at.bottom < innerHeight + 1}; })(document.activeElement)`))
		if now.Name == "" {
			break
		}
		if got = append(got, now.Name); !now.Visible {
			t.Errorf("%s does not show that it has the focus", now.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("Tab reaches\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, name := range []string{"a Skip to the content", "a Runs", "button Sign out", "input Why", "button Retry", "button Compensate"} {
		if !slices.Contains(got, name) {
			t.Errorf("Tab does not reach %q, but\n%s", name, strings.Join(got, "\n"))
		}
	}
	w.down.Store(false)
	chromium.Do(t, ctx, chromedp.Focus(`input[name=why]`), chromedp.KeyEvent("it is up"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter),
		chromedp.WaitVisible(`.done`), chromedp.WaitVisible(`h1 .state.good`))
}

// Without scripts, an operator signs in, filters the runs, opens one and repeats it.
func TestThePagesWorkWithoutScripts(t *testing.T) {
	w := newWorld(t)
	w.order(t, w.Merchant)
	failed := w.refused(t)
	ctx := chromium.Start(t)
	browser := chromium.Watch(t, ctx)
	if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	chromium.Do(t, ctx, w.signIn("/console")...)
	chromium.Do(t, ctx, chromedp.WaitVisible(`table.runs`), chromedp.SetValue(`select[name=state]`, "compensated"), chromedp.Click(`.filter button`),
		chromedp.WaitVisible(`.reset`), chromedp.Click(`a[href="/console/runs/`+failed+`"]`), chromedp.WaitVisible(`.failure`),
		chromedp.SendKeys(`input[name=why]`, "the plan is for sale again"), chromedp.Click(`button[formaction$="/retry"]`), chromedp.WaitVisible(`.done`))
	if n := len(chromium.Read(t, ctx, chromedp.Nodes(`button.copy:not([hidden])`, chromedp.AtLeast(0)))); n != 0 {
		t.Errorf("the script of the page has run: it shows %d buttons that copy", n)
	}
	browser.Check(t, w.URL)
}

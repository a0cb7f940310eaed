package console_test

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/tenantry/tenantry/deploy/apitools"
)

// The type `fault` is a rule of axe-core that the page breaks, and the elements that break it.
type fault struct {
	ID, Impact, Help string
	Nodes            []struct {
		Target         []string
		FailureSummary string
	}
}

// accessible checks the page with axe-core, as the page is shown now. It fails the test for each serious or critical fault. The script comes to the
// page through the browser's debugger, so the Content-Security-Policy of the page does not need to allow it.
func accessible(t *testing.T, ctx context.Context) {
	t.Helper()
	if !read(t, ctx, chromedp.Evaluate[bool](`"axe" in window`)) {
		folder := filepath.Join("..", "..", "deploy", "apitools")
		apitools.Install(t, folder)
		script, err := os.ReadFile(filepath.Join(folder, "node_modules", "axe-core", "axe.min.js"))
		if err != nil {
			t.Fatal(err)
		}
		do(t, ctx, chromedp.Evaluate[chromedp.Void](string(script)))
	}
	at := read(t, ctx, chromedp.Evaluate[string](`location.pathname + ", " + innerWidth + " pixels, " +
		(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")`))
	found := read(t, ctx, chromedp.Evaluate[struct {
		Passes     int
		Violations []fault
	}](`axe.run({resultTypes: ["violations"], preload: false}).then(r => ({passes: r.passes.length, violations: r.violations}))`,
		chromedp.EvalAwaitPromise))
	if found.Passes == 0 {
		t.Errorf("%s: axe-core has checked nothing", at)
	}
	for _, f := range found.Violations {
		if f.Impact != "serious" && f.Impact != "critical" {
			continue
		}
		var where []string
		for _, n := range f.Nodes {
			where = append(where, strings.Join(n.Target, " "))
		}
		t.Errorf("%s: %s: %s (%s): %s\nThe first of them: %s", at, f.Impact, f.Help, f.ID, strings.Join(where, ", "), f.Nodes[0].FailureSummary)
	}
}

// The pages that the walks of the other tests do not show, because something is refused or missing.
func TestThePagesOfFaultsAreAccessible(t *testing.T) {
	w := newWorld(t)
	w.down.Store(true)
	id := w.orderWaits(t, w.Merchant)
	v := w.operator(t)
	if p := v.post("/console/runs/"+id+"/hold", url.Values{"why": {"so that the run needs a person"}}); p.status != http.StatusOK {
		t.Fatalf("holding the run: %d %s", p.status, p.text)
	}
	ctx := browse(t)
	do(t, ctx, chromedp.Navigate(w.URL+"/console/sign-in"), chromedp.WaitVisible(`summary`), chromedp.Click(`details:last-of-type summary`),
		chromedp.SendKeys(`input[name=key]`, "tk_unknown"), chromedp.SendKeys(`input[name=secret]`, "x\r"), chromedp.WaitVisible(`.fault`))
	screens(t, ctx, "sign-in-refused")
	do(t, ctx, w.signIn("/console")...)
	do(t, ctx, chromedp.WaitVisible(`#attention`))
	screens(t, ctx, "runs-attention")
	do(t, ctx, chromedp.Navigate(w.URL+"/console/runs?q=nobody"), chromedp.WaitVisible(`.empty`))
	screens(t, ctx, "runs-none")
	do(t, ctx, chromedp.Navigate(w.URL+"/console/nope"), chromedp.WaitVisible(`.message`))
	screens(t, ctx, "not-found")
}

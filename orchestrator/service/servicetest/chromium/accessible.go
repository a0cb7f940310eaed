package chromium

import (
	"context"
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

// Accessible checks the page with axe-core, as the page is shown now. It fails the test for each serious or critical fault. The script comes to the
// page through the browser's debugger, so the Content-Security-Policy of the page does not need to allow it.
func Accessible(t *testing.T, ctx context.Context) {
	t.Helper()
	if !Read(t, ctx, chromedp.Evaluate[bool](`"axe" in window`)) {
		folder := filepath.Join(root(), "deploy", "apitools")
		apitools.Install(t, folder)
		script, err := os.ReadFile(filepath.Join(folder, "node_modules", "axe-core", "axe.min.js"))
		if err != nil {
			t.Fatal(err)
		}
		Do(t, ctx, chromedp.Evaluate[chromedp.Void](string(script)))
	}
	at := Read(t, ctx, chromedp.Evaluate[string](`location.pathname + ", " + innerWidth + " pixels, " +
		(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")`))
	found := Read(t, ctx, chromedp.Evaluate[struct {
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

package console_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest/chromium"
)

// configured gives the service settings to show. The test of the command checks that the list has no secrets.
func configured(o *servicetest.Options) {
	before := o.Change
	o.Change = func(o *service.Options) {
		before(o)
		o.Settings = []service.Setting{
			{
				Key: "database_url", Variable: "TENANTRY_DATABASE_URL", Value: "postgres://tenantry:xxxxx@db.example.org:5432/tenantry?sslmode=verify-full",
				Source: service.SourceFile, File: "tenantry.yaml:3", Default: "a file in `~/.local/share`", Meaning: "PostgreSQL database or SQLite file.",
			},
			{
				Key: "domain", Variable: "TENANTRY_DOMAIN", Value: "<i>customers</i> \u202e\x1b[31m", Source: service.SourceVariable, Default: "default",
				Meaning: "Name or id of the Keystone domain of users and tenants.",
			},
			{Key: "lease", Variable: "TENANTRY_LEASE", Value: "10s", Source: service.SourceDefault, Default: "10s", Meaning: "Time after which another replica takes over."},
			{Key: "audit_every", Variable: "TENANTRY_AUDIT_EVERY", Source: service.SourceDefault, Default: "no automatic audits", Meaning: "Interval between audits."},
		}
	}
}

func TestTheSettingsAreShownWithTheirSources(t *testing.T) {
	w := newWorld(t, configured)
	p := w.operator(t).get("/console/settings")
	for _, text := range []string{
		"tenantry:xxxxx@db.example.org", `<span class="tag">tenantry.yaml:3</span>`, `&lt;i&gt;customers&lt;/i&gt; \u202e\u001b[31m`,
		`<span class="tag">TENANTRY_DOMAIN</span>`, "10s", `<span class="hint">no automatic audits</span>`, "Default: a file in ~/.local/share.",
	} {
		if !strings.Contains(p.text, text) {
			t.Errorf("the page lacks %s", text)
		}
	}
	if strings.Contains(p.text, "<i>customers") || strings.Contains(p.text, "\u202e") || strings.Contains(p.text, "\x1b") {
		t.Error("the page has a text from outside without escapes")
	}
	if set, defaults, _ := strings.Cut(p.text, `id="h-default"`); !strings.Contains(set, "database_url") || !strings.Contains(defaults, "lease") || strings.Contains(set, "lease") {
		t.Error("a setting is in the wrong list")
	}
	portal := w.merchant(t, w.Merchant)
	if p := portal.get("/console/settings"); p.status != http.StatusForbidden || strings.Contains(p.text, "database_url") {
		t.Errorf("a merchant: %d %s", p.status, p.text)
	}
	for _, path := range []string{"/console/settings", "/console/health"} {
		if strings.Contains(portal.get("/console/runs").text, path) {
			t.Errorf("the navigation of a merchant has %s", path)
		}
	}
}

func TestAnOperatorReadsTheSettingsInChromium(t *testing.T) {
	w := newWorld(t, configured)
	ctx := chromium.Start(t)
	browser := chromium.Watch(t, ctx)
	chromium.Do(t, ctx, w.signIn("/console/runs")...)
	chromium.Do(t, ctx, chromedp.WaitVisible(`nav a[href="/console/settings"]`), chromedp.Click(`nav a[href="/console/settings"]`), chromedp.WaitVisible(`table.settings`))
	chromium.Screens(t, ctx, "settings")
	browser.Check(t, w.URL)
}

package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest/chromium"
)

// The method `register` stores merchants with these names, and returns their ids.
func (w *world) register(t *testing.T, names ...string) (ids []string) {
	t.Helper()
	for _, name := range names {
		m := merchants.Merchant{
			ID: uuid.NewString(), Name: name, Cloud: merchants.DefaultCloud, OnFailure: merchants.Compensate, CreatedAt: w.now(),
		}
		first, _, err := merchants.NewKey(strings.NewReader(strings.Repeat(m.ID, 2)), m.ID, m.CreatedAt)
		if err == nil {
			err = w.Store.Merchants().Create(t.Context(), m, first)
		}
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.ID)
	}
	return ids
}

const hostileName = "<b>Shop</b> \u202eevil"

func TestMerchantsAreFoundAndListedInPages(t *testing.T) {
	w := newWorld(t)
	hostile := w.register(t, hostileName)[0]
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf("Many %02d", i))
	}
	ids := w.register(t, names...)
	v := w.operator(t)
	for query, want := range map[string]string{"shop</b>": hostile, "many%2059": ids[59]} {
		if p := v.get("/console/merchants?q=" + query); !strings.Contains(p.text, "/console/merchants/"+want) || strings.Contains(p.text, ids[0]) {
			t.Errorf("%s: %d %s", query, p.status, p.text)
		}
	}
	if p := v.get("/console/merchants?q=" + hostile); p.at != "/console/merchants/"+hostile {
		t.Errorf("the id of a merchant leads to %s", p.at)
	} else if strings.Contains(p.text, "<b>Shop") || strings.Contains(p.text, "\u202e") || !strings.Contains(p.text, `&lt;b&gt;Shop&lt;/b&gt; \u202eevil`) {
		t.Error("the page has a text from outside without escapes")
	}
	if p := v.get("/console/merchants?q=" + uuid.NewString()); p.status != http.StatusOK || !strings.Contains(p.text, "No merchant has this name or id.") {
		t.Errorf("an unknown id: %d %s", p.status, p.text)
	}
	first := v.get("/console/merchants?q=Many")
	next := regexp.MustCompile(`href="([^"]*)" rel="next"`).FindStringSubmatch(first.text)
	if next == nil || strings.Contains(first.text, ids[50]) || !strings.Contains(first.text, ids[49]) {
		t.Fatalf("the first page: %s", first.text)
	}
	second := v.get(strings.ReplaceAll(next[1], "&amp;", "&"))
	if !strings.Contains(second.text, ids[50]) || !strings.Contains(second.text, ids[59]) || strings.Contains(second.text, `rel="next"`) ||
		!strings.Contains(second.text, `href="/console/merchants?q=Many">First page</a>`) {
		t.Errorf("the second page: %s", second.text)
	}
}

// settingsOf returns the form of a merchant's settings, as the page has it.
func settingsOf(p page) url.Values {
	form := url.Values{}
	for _, field := range regexp.MustCompile(`name="([a-z_]+)" value="([^"]*)"`).FindAllStringSubmatch(between(p.text, `class="fields">`, `</form>`), -1) {
		if field[1] != "sign_up" && field[1] != "adopt_unmarked" {
			form.Set(field[1], field[2])
		}
	}
	form.Set("on_failure", "compensate")
	return form
}

func TestTheSettingsOfAMerchantAreChanged(t *testing.T) {
	w := newWorld(t)
	v := w.operator(t)
	path := "/console/merchants/" + w.Merchant.ID
	form := settingsOf(v.get(path))
	old := settingsOf(v.get(path))
	form.Set("name", "Newer Shop")
	form.Set("customer_roles", " member , bs-admin ,")
	form.Set("max_live_runs", "7")
	form.Set("on_failure", "hold")
	form.Set("sign_up", "1")
	p := v.post(path, form)
	if p.at != path+"?done=change" {
		t.Fatalf("%d at %s: %s", p.status, p.at, p.text)
	}
	for _, text := range []string{
		"Newer Shop", "0 of 7", "at most 7", "member, bs-admin", "it waits for an operator", `<span class="tag">own</span>`, `<span class="tag">configured default</span>`,
		`name="sign_up" value="1" checked`, "The settings were stored.",
	} {
		if !strings.Contains(p.text, text) {
			t.Errorf("the page lacks %s", text)
		}
	}
	old.Set("domain", "typed <text>")
	if p := v.post(path, old); p.status != http.StatusConflict || !strings.Contains(p.text, `value="typed &lt;text&gt;"`) || !strings.Contains(p.text, "Newer Shop") {
		t.Errorf("a form that was made before the change: %d %s", p.status, p.text)
	}
	for field, c := range map[string]struct {
		typed  string
		status int
		says   string
	}{
		"domain":             {"nowhere", http.StatusBadRequest, "Domain: Keystone has no such domain"},
		"customer_roles":     {"nothing", http.StatusBadRequest, "Roles on the customer tenant: Keystone has no such"},
		"subscription_roles": {"admin", http.StatusBadRequest, "Roles on the subscription tenant: "},
		"cloud":              {"far", http.StatusBadRequest, "Cloud: "},
		"name":               {strings.Repeat("x", 61), http.StatusBadRequest, "Name: "},
		"on_failure":         {"shrug", http.StatusBadRequest, "If a run fails: "},
		"max_live_runs":      {"many", http.StatusUnprocessableEntity, "not a number"},
	} {
		form := settingsOf(v.get(path))
		form.Set(field, c.typed)
		if p := v.post(path, form); p.status != c.status || !strings.Contains(p.text, c.says) ||
			field != "on_failure" && !strings.Contains(p.text, `value="`+c.typed+`"`) {
			t.Errorf("%s: %d %s", field, p.status, p.text)
		}
	}
	form = settingsOf(v.get(path))
	for _, field := range []string{"max_live_runs", "customer_roles"} {
		form.Set(field, "")
	}
	if p := v.post(path, form); !strings.Contains(p.text, "0 of 1000") || strings.Contains(p.text, `name="sign_up" value="1" checked`) {
		t.Errorf("back to the defaults: %d %s", p.status, p.text)
	}
}

func TestAMerchantIsDisabledAndEnabled(t *testing.T) {
	w := newWorld(t)
	v := w.operator(t)
	path := "/console/merchants/" + w.Merchant.ID
	portal := w.merchant(t, w.Merchant)
	if p := v.post(path+"/disable", nil); p.at != path+"?done=disable" || !strings.Contains(p.text, `disabled</span>`) {
		t.Fatalf("%d at %s: %s", p.status, p.at, p.text)
	}
	if p := portal.get("/console/runs"); p.status == http.StatusOK && strings.Contains(p.text, "All runs") {
		t.Error("the session of a disabled merchant can be used")
	}
	if p := v.post(path+"/enable", nil); !strings.Contains(p.text, `enabled</span>`) {
		t.Errorf("%d %s", p.status, p.text)
	}
}

var shownSecret = regexp.MustCompile(`ts_[A-Za-z0-9_-]{43}`)

// The secret of a new key is in one answer only.
func TestTheSecretOfANewKeyIsShownOnce(t *testing.T) {
	w := newWorld(t)
	v := w.operator(t)
	path := "/console/merchants/" + w.Merchant.ID
	newest := func(p page) url.Values {
		return url.Values{"newest": {between(p.text, `name="newest" value="`, `"`)}}
	}
	form := newest(v.get(path))
	if form.Get("newest") != w.Merchant.Key {
		t.Fatalf("the newest key: %s", form.Get("newest"))
	}
	made := v.post(path+"/keys", form)
	secret := shownSecret.FindString(made.text)
	if made.status != http.StatusOK || secret == "" || made.at != path+"/keys" || made.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d at %s: %s", made.status, made.at, made.text)
	}
	key := between(between(made.text, "<dt>API key</dt><dd>", "</dd>"), `title="`, `"`)
	w.merchant(t, servicetest.Merchant{Key: key, Secret: secret}) // can sign in
	if p := v.post(path+"/keys", form); p.status != http.StatusConflict || shownSecret.MatchString(p.text) {
		t.Errorf("the same form again: %d %s", p.status, p.text)
	}
	after := v.get(path)
	if shownSecret.MatchString(after.text) || !strings.Contains(after.text, key) || strings.Contains(w.Log.String(), secret) {
		t.Errorf("the page has a secret or lacks the key, or the log has the secret: %s", after.text)
	}
	if !strings.Contains(after.text, "The new key revokes the key <code>"+w.Merchant.Key+"</code>.") {
		t.Error("the page does not say which key the next one revokes")
	}
	if p := v.post(path+"/keys", newest(after)); !strings.Contains(p.text, "Revoked: <code>"+w.Merchant.Key+"</code>") {
		t.Errorf("the third key: %s", p.text)
	}
	if p := v.get(path); !strings.Contains(p.text, "revoked</span>") {
		t.Error("the list of keys does not show that a key is revoked")
	}
}

func TestAMerchantSeesOnlyItself(t *testing.T) {
	w := newWorld(t)
	portal := w.merchant(t, w.Merchant)
	own := "/console/merchants/" + w.Merchant.ID
	p := portal.get(own)
	if p.status != http.StatusOK || !strings.Contains(p.text, "configured default") || strings.Contains(p.text, "<form method=\"post\" action=\"/console/merchants") || strings.Contains(p.text, "API keys") {
		t.Errorf("%d %s", p.status, p.text)
	}
	if !strings.Contains(portal.get("/console/runs").text, `href="`+own+`"`) {
		t.Error("the navigation lacks the merchant's page")
	}
	for _, path := range []string{"/console/merchants", "/console/merchants/" + w.Other.ID, "/console/merchants?q=" + w.Other.ID} {
		if p := portal.get(path); p.status != http.StatusForbidden && p.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, p.status)
		}
	}
	for _, path := range []string{"", "/disable", "/keys"} {
		form := settingsOf(w.operator(t).get(own))
		form.Set("newest", w.Merchant.Key)
		if p := portal.post(own+path, form); p.status != http.StatusForbidden || shownSecret.MatchString(p.text) {
			t.Errorf("POST %s by the merchant: %d %s", path, p.status, p.text)
		}
		if p := portal.post("/console/merchants/"+w.Other.ID+path, form); p.status != http.StatusNotFound {
			t.Errorf("POST %s for another merchant: %d", path, p.status)
		}
	}
}

// An operator finds a merchant, changes a limit, and creates a key.
func TestAnOperatorManagesAMerchantInChromium(t *testing.T) {
	w := newWorld(t)
	w.register(t, hostileName, "Alpine Hosting", strings.Repeat("A very long name ", 3))
	w.down.Store(true)
	for range 3 {
		w.orderWaits(t, w.Merchant)
	}
	ctx := chromium.Start(t)
	browser := chromium.Watch(t, ctx)
	chromium.Do(t, ctx, w.signIn("/console/merchants")...)
	chromium.Do(t, ctx, chromedp.WaitVisible(`table.merchants`))
	chromium.Screens(t, ctx, "merchants")
	at := `a[href="/console/merchants/` + w.Merchant.ID + `"]`
	chromium.Do(t, ctx, chromedp.SendKeys(`input[name=q]`, "shop\r"), chromedp.WaitVisible(`.reset`), chromedp.Click(at), chromedp.WaitVisible(`summary`),
		chromedp.Click(`summary`), chromedp.WaitVisible(`input[name=max_live_runs]`))
	chromium.Screens(t, ctx, "merchant")
	chromium.Do(t, ctx, chromedp.SendKeys(`input[name=max_live_runs]`, "3"), chromedp.Click(`.fields button`), chromedp.WaitVisible(`.done`))
	chromium.Screens(t, ctx, "merchant-changed")
	chromium.Do(t, ctx, chromedp.Click(`form[action$="/keys"] button`), chromedp.WaitVisible(`.secret`))
	if secret := shownSecret.FindString(chromium.Read(t, ctx, chromedp.Text(`.secret`))); secret == "" {
		t.Error("the page lacks the secret")
	} else if at := chromium.Read(t, ctx, chromedp.Location()); strings.Contains(at, secret) {
		t.Errorf("the secret is in the address %s", at)
	}
	chromium.Screens(t, ctx, "merchant-key")
	browser.Check(t, w.URL)
}

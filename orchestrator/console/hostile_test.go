package console_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/console"
	"github.com/tenantry/tenantry/orchestrator/escape"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest/chromium"
)

// The constant `evil` is a text that loads a script and an image of another host, leaves an attribute of HTML, controls a terminal, and reverses text.
const evil = `<b>x</b><script src=//evil.example/s></script><img src=//evil.example/i onerror=alert(1)>" onmouseover="alert(1)` + "'\x1b[2J\u009b31m\u202egnp\u2066\u2028\r\nz"

// The constant `evilTyped` is a text of this kind that the API accepts as a name or a reason.
const evilTyped = "<img src=//evil.example/i>\u202egnp"

// The type `distortion` is an API whose answers have the constant `evil` in each text, also in the texts that today cannot contain such characters.
type distortion struct {
	next http.Handler
	ids  atomic.Bool // also in the ids, so that their links lead nowhere
}

func (d *distortion) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	d.next.ServeHTTP(answer, r)
	body := answer.Body.Bytes()
	if strings.Contains(answer.Header().Get("Content-Type"), "json") {
		body = d.distort(body)
	}
	for name, values := range answer.Header() {
		if name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(body)
}

// The method `distort` adds the constant `evil` to the texts in JSON. If the text is not JSON, the result is nil.
func (d *distortion) distort(text []byte) []byte {
	var content any
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	if err := in.Decode(&content); err != nil {
		return nil
	}
	made, err := json.Marshal(d.distorted("", content))
	if err != nil {
		return nil
	}
	return made
}

var (
	// theirKeys are the keys of values that decide what a page shows: states and other constants of Tenantry, addresses, and amounts.
	theirKeys = []string{
		"state", "status", "severity", "outcome", "origin", "kind", "action", "actions", "on_failure", "rel", "href", "type", "amount", "value", "price",
		"total", "source", "run_state", "repair_run_state",
	}
	idForm   = regexp.MustCompile(`^[0-9a-f-]{32,36}(/[0-9a-f-]{32,36})*$`)
	timeForm = regexp.MustCompile(`^\d{4}-\d\d-\d\dT[\d:.]+Z$`)
)

func (d *distortion) distorted(key string, value any) any {
	switch v := value.(type) {
	case map[string]any:
		for name := range v {
			v[name] = d.distorted(name, v[name])
		}
	case []any:
		for i := range v {
			v[i] = d.distorted(key, v[i])
		}
	case string:
		if v != "" && !timeForm.MatchString(v) && !slices.Contains(theirKeys, key) && (d.ids.Load() || !idForm.MatchString(v)) {
			return v + evil
		}
	}
	return value
}

// hostileObjects are the objects of a service whose names are hostile.
type hostileObjects struct {
	used, made       made   // subscriptions: with and without usage
	refused, waiting string // runs
	merchant, other  string // paths of merchants
	key              string // the API key of the merchant
	user             string
	findings         []string // paths of findings; the first one is accepted
	audit            string
	plan             page // of repairs
	settings         url.Values
}

// The method `hostile` fills the service with objects. The run `waiting` waits for BillingStack.
func (w *world) hostile(t *testing.T) (o hostileObjects) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w.Service.CheckDependencies(t.Context())
	o.used = w.usedEvil(t)
	plan, err := w.Billing.CreatePlan(t.Context(), w.Merchant.ID, billing.Plan{Name: evilTyped, Title: evilTyped})
	must(err)
	m := w.Merchant
	m.Plan = plan.ID
	o.made = w.subscribed(t, m)
	w.refuse.Store(true)
	o.refused = w.order(t, m)
	w.refuse.Store(false)
	w.followUps(t)
	other := w.register(t, evil)[0]
	for id, change := range map[string]func(*merchants.Merchant){
		m.ID: func(m *merchants.Merchant) { m.Name = evil },
		other: func(m *merchants.Merchant) {
			m.Cloud, m.Domain, m.CustomerRoles, m.SubscriptionRoles = evil, evil, []string{evil}, []string{evil}
		},
	} {
		_, err = w.Store.Merchants().Update(t.Context(), id, func(m *merchants.Merchant) error { change(m); return nil })
		must(err)
	}
	eve := w.Keystone.AddUser(keystonetest.User{Name: evil, Password: "pw"})
	w.Keystone.Assign(keystone.Assignment{ProjectID: o.made.tenant, UserID: eve, RoleID: roleOf(t, w, "member")})
	w.Keystone.Assign(keystone.Assignment{ProjectID: o.made.tenant, UserID: w.User, RoleID: w.Keystone.AddRole(evil)})
	w.Keystone.EnableProject(o.used.tenant, false)

	v, why := w.operator(t), url.Values{"why": {evilTyped}}
	v.post("/console/runs/"+o.refused+"/retry", why)
	o.audit = v.audit().at
	for _, id := range ticked(v.get("/console/findings")) {
		o.findings = append(o.findings, "/console/findings/"+id)
	}
	if len(o.findings) < 2 {
		t.Fatalf("the audit has found %v", o.findings)
	}
	v.post(o.findings[0]+"/accept", why).wants(t, "an acceptance")
	o.plan = v.post("/console/repair-plans", url.Values{"which": {"all"}})
	o.plan.wants(t, "a plan", "Approve and apply")
	w.down.Store(true)
	o.waiting = w.orderWaits(t, m)

	o.merchant, o.other, o.key, o.user = "/console/merchants/"+m.ID, "/console/merchants/"+other, m.Key, w.User
	o.settings = settingsOf(v.get(o.merchant))
	for field := range o.settings {
		o.settings.Set(field, evil)
	}
	return o
}

// usedEvil subscribes the user four hours ago, and sends samples of two counters, of which one is a product of the plan.
func (w *world) usedEvil(t *testing.T) made {
	t.Helper()
	product, err := w.Billing.CreateProduct(t.Context(), w.Merchant.ID, billing.Product{
		ID: uuid.NewString(), Name: evilTyped, Pricing: []any{map[string]any{"type": "fixed", "price": 0.5}},
	})
	if err == nil {
		err = w.Billing.AddPlanItem(t.Context(), w.Merchant.ID, w.Merchant.Plan, product.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now().UTC().Truncate(time.Hour).Add(-4 * time.Hour)
	w.later.Store(int64(time.Until(begin)))
	s := w.subscribed(t, w.Merchant)
	w.later.Store(0)
	var samples []servicetest.Sample
	for h := range 3 {
		at := begin.Add(time.Duration(h+1)*time.Hour - time.Second)
		for _, meter := range []string{evilTyped, "memory " + evilTyped} {
			samples = append(samples, servicetest.Sample{Meter: meter, Unit: evilTyped, At: at, Volume: 1 + h*h})
		}
	}
	w.Meter(t, s.tenant).Post(t, samples...)
	return s
}

// The type `visit` is a request to the console. If `form` is not nil, the form is posted.
type visit struct {
	path  string
	form  url.Values
	shows bool // the page must have the hostile text, as text
}

// The method `visits` returns requests for each of the console's routes, by method and route.
func (o hostileObjects) visits() map[string][]visit {
	q, id := url.QueryEscape(evil), url.PathEscape(evil)
	gets := func(paths ...string) (all []visit) { // pages that show a hostile text
		for _, path := range paths {
			all = append(all, visit{path: "/console" + path, shows: true})
		}
		return all
	}
	and := func(all []visit, paths ...string) []visit { // and pages that need not
		for _, path := range paths {
			all = append(all, visit{path: "/console" + path})
		}
		return all
	}
	posts := func(path string, fields ...string) []visit { // a form with the constant `evil` in the fields
		form := url.Values{}
		for _, field := range fields {
			form.Set(field, evil)
		}
		return []visit{{path, form, true}}
	}
	within := func(path string) string { return strings.TrimPrefix(path, "/console") }
	ticks := ticked(o.plan)
	return map[string][]visit{
		"GET /console":            gets(""),
		"GET /console/":           gets("/"),
		"GET /console/static/*":   and(nil, "/static/console.css", "/static/"+id),
		"GET /console/sign-in":    and(nil, "/sign-in?next="+q),
		"POST /console/sign-in":   {{path: "/console/sign-in", form: password(evilTyped, "x")}, {path: "/console/sign-in", form: url.Values{"how": {evil}}}},
		"POST /console/sign-out":  {{path: "/console/sign-out", form: url.Values{}}},
		"GET /console/live":       and(nil, "/live?run="+q, "/live?row="+q+".1"),
		"GET /console/health":     gets("/health"),
		"GET /console/health/now": gets("/health/now"),
		"GET /console/settings":   gets("/settings"),

		"GET /console/runs":              and(gets("/runs", "/runs?q="+q), "/runs?marker="+q),
		"GET /console/runs/:id":          and(gets("/runs/"+o.made.run, "/runs/"+o.refused+"?events=all", "/runs/"+o.waiting), "/runs/"+id),
		"POST /console/runs/:id/:action": slices.Concat(posts("/console/runs/"+o.waiting+"/hold", "why"), posts("/console/runs/"+o.made.run+"/skip", "why", "step")),

		"GET /console/subscriptions": gets("/subscriptions", "/subscriptions?q="+q, "/subscriptions?merchant="+path.Base(o.merchant)),
		"GET /console/subscriptions/:id": and(
			gets(within(o.used.page()), within(o.used.page())+"?usage=week", within(o.made.page())), "/subscriptions/"+id),
		"GET /console/subscriptions/:id/*":        gets(within(o.made.page()) + "/suspend"),
		"POST /console/subscriptions/:id/hold":    posts(o.used.page()+"/hold", "why"),
		"POST /console/subscriptions/:id/release": posts(o.used.page()+"/release", "why"),
		"POST /console/subscriptions/:id/:action": slices.Concat(
			posts(o.used.page()+"/suspend", "why", "key"), posts(o.used.page()+"/change-plan", "why", "plan_id", "add_user")),
		"POST /console/subscriptions/:id/:action/dry-run": append(
			posts(o.used.page()+"/unsubscribe/dry-run", "why", "plan_id", "add_user"),
			visit{o.made.page() + "/suspend/dry-run", url.Values{"why": {evilTyped}}, true}),
		"GET /console/customers/:id": and(gets("/customers/"+o.made.customer), "/customers/"+id),
		"GET /console/tenants/:id":   and(gets("/tenants/"+o.made.tenant), "/tenants/"+id),
		"GET /console/users/:id":     and(gets("/users/"+o.user), "/users/"+id),

		"GET /console/merchants":              and(gets("/merchants", "/merchants?q=%3Cimg+src%3D//evil.example/i%3E"), "/merchants?q="+q),
		"GET /console/merchants/:id":          gets(within(o.merchant), within(o.other)),
		"POST /console/merchants/:id":         {{o.merchant, o.settings, true}},
		"POST /console/merchants/:id/disable": posts(o.other + "/disable"),
		"POST /console/merchants/:id/enable":  posts(o.other + "/enable"),
		"POST /console/merchants/:id/keys":    append(posts(o.merchant+"/keys", "newest"), visit{o.merchant + "/keys", url.Values{"newest": {o.key}}, true}),

		"GET /console/findings":               gets("/findings", "/findings?q="+q+"&merchant="+q, "/findings?status=accepted"),
		"GET /console/findings/:id":           and(gets(within(o.findings[0]), within(o.findings[1])), "/findings/"+id),
		"POST /console/findings/:id/accept":   posts(o.findings[0]+"/accept", "why", "until"),
		"POST /console/findings/:id/withdraw": posts(o.findings[0] + "/withdraw"),
		"GET /console/audits":                 gets("/audits"),
		"POST /console/audits":                posts("/console/audits", "merchant", "customer", "cloud", "project"),
		"GET /console/audits/:id":             gets(within(o.audit)),
		"GET /console/repair-plans":           gets("/repair-plans"),
		"POST /console/repair-plans":          append(posts("/console/repair-plans", "finding"), visit{"/console/repair-plans", url.Values{"which": {"all"}, "q": {evil}}, true}),
		"GET /console/repair-plans/:id":       gets(within(o.plan.at)),
		"POST /console/repair-plans/:id/:action": append(posts(o.plan.at+"/apply", "why", "finding", "shown", "from"),
			visit{o.plan.at + "/dry-run", url.Values{"why": {evil}, "finding": ticks, "shown": ticks, "from": {"1"}}, true}),
	}
}

// The function `routesOf` returns the routes of a console by method and path, without those of HEAD, which have no body.
func routesOf(t *testing.T, o console.Options) (routes []string) {
	t.Helper()
	handler, _, err := console.New(o)
	if err != nil {
		t.Fatal(err)
	}
	router, ok := handler.(*echo.Echo)
	if !ok {
		t.Fatalf("the console is a %T", handler)
	}
	for _, r := range router.Routes() {
		if r.Method == http.MethodGet || r.Method == http.MethodPost {
			routes = append(routes, r.Method+" "+r.Path)
		} else if r.Method != http.MethodHead && r.Method != echo.RouteNotFound {
			t.Errorf("the test does not know the method of %s %s", r.Method, r.Path)
		}
	}
	return routes
}

// unseen are the values in a page that nobody sees, and that the browser must send back as they are.
var unseen = regexp.MustCompile(`(<input type="(?:hidden|checkbox)"[^>]*?|<option) value="[^"]*"|sse-swap="[^"]*"`)

// asText checks that an answer has the Content-Security-Policy, and no character and no HTML of the constant `evil`.
func asText(t *testing.T, what string, header http.Header, text string) {
	t.Helper()
	if policy := header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
		t.Errorf("%s: Content-Security-Policy: %q", what, policy)
	}
	text = unseen.ReplaceAllString(text, "$1")
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && escape.Controls(r) }); i >= 0 {
		t.Errorf("%s: the character %q: %s", what, []rune(text[i:])[0], text[max(0, i-200):min(len(text), i+50)])
	}
	for _, html := range []string{"<script src=//", "<img src=//", `" onmouseover="`, "<b>x</b>"} {
		if i := strings.Index(text, html); i >= 0 {
			t.Errorf("%s: %s is HTML: %s", what, html, text[max(0, i-200):i+50])
		}
	}
}

// The method `walk` makes the visits, and checks each answer, also those that redirect.
func (v *visitor) walk(visits []visit, shows bool) {
	v.t.Helper()
	v.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		asText(v.t, "the redirect to "+r.URL.Path, r.Response.Header, "")
		return nil
	}
	for _, one := range visits {
		var p page
		what := "GET " + one.path
		if one.form != nil {
			what = "POST " + one.path
			p = v.post(one.path, one.form)
		} else {
			p = v.get(one.path)
		}
		if p.status >= http.StatusInternalServerError {
			v.t.Errorf("%s: %d %s", what, p.status, p.text)
		}
		if strings.HasPrefix(one.path, "/console/static/") && p.status == http.StatusOK {
			p.text = "" // a file of the binary
		}
		asText(v.t, what, p.header, p.text)
		if shows && one.shows && !strings.Contains(p.text, "&lt;img src=//evil.example") {
			v.t.Errorf("%s: the hostile text is not shown: %d at %s: %s", what, p.status, p.at, p.text)
		}
	}
}

// Each page of the console, with hostile texts wherever a text from outside can stand, shows them as text. In Chromium, no page asks another host, and none
// runs a script of these texts. The pages are those of the router: a new route needs visits.
func TestEachPageShowsHostileTextsAsText(t *testing.T) {
	w := newWorld(t, configured)
	objects := w.hostile(t)
	visits, waiting := objects.visits(), objects.waiting
	api := &distortion{next: w.Service.Handler}
	var options console.Options
	other := w.second(t, func(o *console.Options) {
		o.API = api
		view, viewEvent := o.View, o.ViewEvent
		o.View = func(run *saga.Run, portal bool) ([]byte, error) {
			text, err := view(run, portal)
			return api.distort(text), err
		}
		o.ViewEvent = func(e saga.Event) ([]byte, error) {
			text, err := viewEvent(e)
			return api.distort(text), err
		}
		options = *o
	})
	routes := routesOf(t, options)
	for _, route := range routes {
		if len(visits[route]) == 0 {
			t.Errorf("there is no visit to %s", route)
		}
	}
	for route := range visits {
		if !slices.Contains(routes, route) {
			t.Errorf("there is no route %s", route)
		}
	}
	const metered = "GET /console/subscriptions/:id" // its usage is billed some seconds later
	var pages, posts []visit
	for _, route := range routes {
		switch {
		case strings.HasPrefix(route, "GET ") && route != metered:
			pages = append(pages, visits[route]...)
		case strings.HasPrefix(route, "POST ") && route != "POST /console/sign-out":
			posts = append(posts, visits[route]...)
		}
	}
	operator, portal := other.operator(t), other.merchant(t, w.Merchant)
	list, detail := operator.follow("/console/runs"), operator.follow("/console/runs/"+waiting)
	w.down.Store(false)
	w.operator(t).post("/console/runs/"+waiting+"/retry", url.Values{"why": {evilTyped}})
	eventually(t, "the updates of the run", func() bool {
		return detail.has("event: history") && detail.has("succeeded") && list.has("event: row-"+waiting)
	})
	for what, s := range map[string]*stream{"the list": list, "the run": detail} {
		s.mu.Lock()
		asText(t, "the updates of "+what, http.Header{"Content-Security-Policy": {"default-src 'none';"}}, s.text.String())
		if !strings.Contains(s.text.String(), "&lt;img src=//evil.example") {
			t.Errorf("the updates of %s do not show the hostile text: %s", what, s.text.String())
		}
		s.mu.Unlock()
	}

	opens, check := other.inChromium(t)
	opens(pages)
	usage := objects.used.page()
	honest := w.operator(t)
	eventually(t, "the usage is billed", func() bool {
		text := honest.get(usage).text
		return strings.Contains(text, `<rect class="posted"`) && strings.Contains(text, `<rect class="unmatched"`)
	})
	opens(visits[metered])
	check()
	pages = append(pages, visits[metered]...)
	operator.walk(pages, true)
	portal.walk(pages, false)
	other.visitor(t).walk(pages, false)
	api.ids.Store(true)
	operator.walk(pages, false)
	api.ids.Store(false)
	w.operator(t).walk(pages, false) // without the distortion
	portal.walk(posts, false)
	operator.walk(posts, true)
	operator.walk(visits["POST /console/sign-out"], false)
	other.namedEvil(t).walk([]visit{{path: "/console/runs", shows: true}}, true)
}

// namedEvil returns a visitor who has signed in as an operator whose name is hostile.
func (w *world) namedEvil(t *testing.T) *visitor {
	t.Helper()
	user, project := w.Keystone.AddUser(keystonetest.User{Name: evil + "2", Password: "pw"}), w.Keystone.AddProject(keystone.Project{Name: "evil"})
	w.Keystone.Assign(keystone.Assignment{ProjectID: project, UserID: user, RoleID: roleOf(t, w, servicetest.AdminRole)})
	v := w.visitor(t)
	if p := v.post("/console/sign-in", url.Values{"how": {"token"}, "token": {w.Keystone.IssueToken(user)}}); p.at != "/console/runs" {
		t.Fatalf("signing in: %d at %s: %s", p.status, p.at, p.text)
	}
	return v
}

// inChromium returns two functions. The first one opens pages as an operator: no page may have an element or an attribute that the templates do not
// have. The second one checks that the browser has asked no other host.
func (w *world) inChromium(t *testing.T) (opens func(pages []visit), check func()) {
	t.Helper()
	ctx := chromium.Start(t)
	browser := chromium.Watch(t, ctx)
	chromium.Do(t, ctx, w.signIn("/console/runs")...)
	chromium.Do(t, ctx, chromedp.WaitVisible(`table.runs`))
	opens = func(pages []visit) {
		t.Helper()
		for _, one := range pages {
			if one.shows {
				w.opens(t, ctx, one.path)
			}
		}
	}
	return opens, func() { t.Helper(); browser.Check(t, w.URL, "/favicon.ico") } // Chromium asks for it when a part of a page is opened
}

// The method `opens` opens a page in Chromium, and checks it.
func (w *world) opens(t *testing.T, ctx context.Context, path string) {
	t.Helper()
	chromium.Do(t, ctx, chromedp.Navigate(w.URL+path), chromedp.WaitReady(`body`))
	found := chromium.Read(t, ctx, chromedp.Evaluate[[]string](`(() => {
		const own = url => url.startsWith(location.origin + "/console/static/"), all = [...document.querySelectorAll("*")];
		return [
			...[...document.scripts].filter(s => !own(s.src)).map(s => s.outerHTML),
			...[...document.images].filter(i => !own(i.src)).map(i => i.outerHTML),
			...all.filter(e => [...e.attributes].some(a => a.name.startsWith("on"))).map(e => e.outerHTML),
			...(document.documentElement.textContent.match(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g) || []),
		];
	})()`))
	if len(found) > 0 {
		t.Errorf("%s: the page has %q", path, found)
	}
	shown := chromium.Read(t, ctx, chromedp.Evaluate[bool](`[...document.querySelectorAll("*")].some(e =>
		(e.textContent + [...e.attributes].map(a => a.value)).includes("<img src=//evil.example/i"))`))
	if !shown {
		t.Errorf("%s: the hostile text is not shown", path)
	}
}

package portal_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// A visitor chooses a plan, creates an account, subscribes, follows the steps, and finds the subscription.
func TestAVisitorSubscribes(t *testing.T) {
	w := newWorld(t)
	v := w.visitor(t)
	p := v.get("")
	for _, want := range []string{"Shop 1", "Small", "About Small", "vCPU hour", "one virtual CPU", "0.02 NOK", "register?plan=" + w.small.ID, "Nothing is metered"} {
		if !strings.Contains(p.text, want) {
			t.Errorf("the plans do not show %q:\n%s", want, p.text)
		}
	}
	if p := v.get("order?plan=" + w.small.ID); p.at != "login?plan="+w.small.ID {
		t.Errorf("ordering without an account leads to %s", p.at)
	}
	p = v.post("register", v.form("register?plan="+w.small.ID, "name", "ann", "email", "ann@example.org", "password", "secret-1", "repeated", "secret-1", "plan", w.small.ID))
	if p.status != http.StatusOK || p.at != "order?plan="+w.small.ID || !strings.Contains(p.text, "Name on the bill") || !strings.Contains(p.text, ">ann<") {
		t.Fatalf("after registering: %d at %s\n%s", p.status, p.at, p.text)
	}
	run, subscription := v.subscribed(w.small.ID)
	p = v.get(run)
	for _, want := range []string{"Your new subscription", "Everything is done", "Open your customer account", "Connect your project with your bill", subscription} {
		if !strings.Contains(p.text, want) {
			t.Errorf("the run does not show %q:\n%s", want, p.text)
		}
	}
	if strings.Contains(p.text, "data-follow") || strings.Contains(p.text, "refresh") {
		t.Error("the page of a run that has ended follows it")
	}
	found, err := w.Billing.Subscription(t.Context(), w.Merchant.ID, strings.TrimPrefix(subscription, "subscriptions/"))
	must(t, err)
	for _, path := range []string{"subscriptions", subscription} {
		p := v.get(path)
		for _, want := range []string{"Small", "Active", found.ResourceID} {
			if p.status != http.StatusOK || !strings.Contains(p.text, want) {
				t.Errorf("%s does not show %q: %d\n%s", path, want, p.status, p.text)
			}
		}
	}
	if p := v.get("order?plan=" + w.large.ID); !strings.Contains(p.text, `name="customer" value="`+found.CustomerID+`"`) || strings.Contains(p.text, "Name on the bill") {
		t.Errorf("the next order is not for the same customer:\n%s", p.text)
	}
	if p := w.visitor(t).post("order", url.Values{"plan": {w.large.ID}}); p.at != "login?ended=yes&plan="+w.large.ID || !strings.Contains(p.text, "You were logged out") {
		t.Errorf("a form without a session leads to %s\n%s", p.at, p.text)
	}
	if p := v.post("logout", nil); p.at != "" || !strings.Contains(p.text, "Log in") {
		t.Errorf("after logging out: %s\n%s", p.at, p.text)
	}
	if p := v.get("subscriptions"); p.at != "login" {
		t.Errorf("after logging out, the subscriptions lead to %s", p.at)
	}
	if p := v.post("login", url.Values{"name": {"ann"}, "password": {"secret-1"}}); p.at != "subscriptions" || !strings.Contains(p.text, "Small") {
		t.Errorf("after logging in again: %s\n%s", p.at, p.text)
	}
}

// A form that is sent several times is one order.
func TestAFormIsOneOrder(t *testing.T) {
	w := newWorld(t)
	v := w.registered(t, "ann")
	form := v.form("order?plan="+w.small.ID, "plan", w.small.ID, "name", "Ann")
	pages := make([]page, 8)
	var all sync.WaitGroup
	for i := range pages {
		all.Go(func() { pages[i] = v.post("order", form) })
	}
	all.Wait()
	for _, p := range pages {
		if p.at != pages[0].at || !strings.HasPrefix(p.at, "orders/") {
			t.Errorf("the forms lead to %s and %s", pages[0].at, p.at)
		}
	}
	v.ended(pages[0].at)
	if again := v.post("order", form); again.at != pages[0].at {
		t.Errorf("the form leads to %s, and later to %s", pages[0].at, again.at)
	}
	if n := strings.Count(v.get("subscriptions").text, "Active"); n != 1 {
		t.Errorf("there are %d subscriptions, want 1", n)
	}
}

// What does not work is said beside the form, and what the visitor has typed stays, except for the password.
func TestFormsSayWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	w.registered(t, "ann")
	for _, c := range []struct {
		name   string
		fields []string
		status int
		want   string
	}{
		{"the name is taken", []string{"name", "Ann", "password", "x", "repeated", "x"}, http.StatusConflict, "exists already"},
		{"the passwords differ", []string{"name", "bob", "password", "x", "repeated", "y"}, http.StatusBadRequest, "The two passwords differ"},
		{"no name", []string{"name", "", "password", "x", "repeated", "x"}, http.StatusBadRequest, "not valid"},
		{"a long name", []string{"name", strings.Repeat("x", 256), "password", "x", "repeated", "x"}, http.StatusBadRequest, "not valid"},
		{"no password", []string{"name", "bob", "password", "", "repeated", ""}, http.StatusBadRequest, "not valid"},
		{"hostile", []string{"name", "<b>\u202ebob</b>", "email", `"><script>`, "password", "x\x00", "repeated", "x\x00"}, http.StatusBadRequest, "not valid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := w.visitor(t)
			form := v.form("register", c.fields...)
			p := v.post("register", form)
			if p.status != c.status || p.at != "register" || !strings.Contains(p.text, c.want) || strings.Contains(p.text, "<script>") || strings.Contains(p.text, "<b>") {
				t.Errorf("got %d at %s, want %d and %q\n%s", p.status, p.at, c.status, c.want, p.text)
			}
			if next := nonceField.FindStringSubmatch(p.text); next == nil || (next[1] == form.Get("nonce")) != (c.name == "the passwords differ") {
				t.Errorf("the next attempt has the nonce %v after %s", next, form.Get("nonce"))
			}
			if strings.Contains(p.text, "secret-1") {
				t.Error("the password is on the page")
			}
		})
	}
	v := w.visitor(t)
	for _, form := range []url.Values{{"name": {"ann"}, "password": {"wrong"}}, {"name": {"nobody"}, "password": {"secret-1"}}} {
		p := v.post("login", form)
		if p.status != http.StatusUnauthorized || !strings.Contains(p.text, "The name or the password is wrong") || !strings.Contains(p.text, `value="`+form.Get("name")+`"`) {
			t.Errorf("%v: got %d\n%s", form, p.status, p.text)
		}
	}
	if p := v.get("subscriptions"); p.at != "login" {
		t.Errorf("after a refused login, the visitor is at %s", p.at)
	}
}

// Keystone's rules for passwords are shown beside the field, and the next attempt is a new order.
func TestAPasswordThatKeystoneRefuses(t *testing.T) {
	w := newWorld(t)
	v := w.visitor(t)
	form := v.form("register", "name", "ann", "password", "short", "repeated", "short")
	p := v.post("register", form)
	if p.status != http.StatusConflict || !strings.Contains(p.text, "This password is not allowed") || !strings.Contains(p.text, "at least eight characters") {
		t.Fatalf("got %d\n%s", p.status, p.text)
	}
	form.Set("nonce", nonceField.FindStringSubmatch(p.text)[1])
	form.Set("password", "long-enough")
	form.Set("repeated", "long-enough")
	if p := v.post("register", form); p.status != http.StatusOK || p.at != "" {
		t.Errorf("the next attempt: %d at %s\n%s", p.status, p.at, p.text)
	}
}

// A plan that vanishes while a visitor looks at it cannot be ordered. The visitor is told so, at each step.
func TestAPlanVanishes(t *testing.T) {
	w := newWorld(t)
	gone := w.plan(t, "Gone").ID // BillingStack deletes only plans without products
	v := w.registered(t, "ann")
	_, subscription := v.subscribed(w.large.ID)
	order := v.form("order?plan="+gone, "plan", gone, "name", "Ann")
	change := v.form(subscription, "plan", gone)
	w.vanish(t, gone)
	if p := v.get("order?plan=" + gone); p.status != http.StatusOK {
		t.Errorf("the plans are read again at once: got %d", p.status)
	}
	ordered := v.post("order", order)
	w.later.Store(int64(6 * time.Second))
	for what, p := range map[string]page{"the order": ordered, "the page of the order": v.get("order?plan=" + gone), "no plan": v.get("order?plan=x")} {
		if p.status != http.StatusNotFound || !strings.Contains(p.text, "Choose another one") {
			t.Errorf("%s: got %d\n%s", what, p.status, p.text)
		}
	}
	if p := v.post(subscription+"/change-plan", change); p.status < 400 || p.status > 499 || !strings.Contains(p.text, `class="fault"`) || !strings.Contains(p.text, "Large") {
		t.Errorf("changing to the plan: %d\n%s", p.status, p.text)
	}
}

// A merchant with many plans makes no page without limits. Many visitors at once cost the API few calls.
func TestThePageOfPlansHasLimits(t *testing.T) {
	w := newWorld(t)
	product := make([]billing.Product, 25)
	for i := range product {
		var err error
		product[i], err = w.Billing.CreateProduct(t.Context(), w.Merchant.ID, billing.Product{
			ID: uuid.NewString(), Name: fmt.Sprint("product ", i), Description: "about it",
		})
		must(t, err)
	}
	everything := billing.Plan{ID: "00000000-0000-4000-8000-000000000000", Name: "Everything"} // the first one: plans are sorted by id
	_, err := w.Billing.CreatePlan(t.Context(), w.Merchant.ID, everything)
	must(t, err)
	for _, p := range product {
		must(t, w.Billing.AddPlanItem(t.Context(), w.Merchant.ID, everything.ID, p.ID))
	}
	for i := range 100 {
		w.plan(t, fmt.Sprint("plan ", i))
	}
	var all sync.WaitGroup
	pages := make([]page, 20)
	for i := range pages {
		v := w.visitor(t)
		all.Go(func() { pages[i] = v.get("") })
	}
	all.Wait()
	for _, p := range pages {
		if n := strings.Count(p.text, `<li class="card">`); p.status != http.StatusOK || n != 100 || strings.Count(p.text, "about it") != 20 || !strings.Contains(p.text, "and 5 more") {
			t.Fatalf("got %d with %d plans", p.status, n)
		}
	}
	if n := strings.Count(w.Log.String(), `"path":"/v1/merchants/`+w.Merchant.ID+`/plans"`); n < 2 || n >= len(pages) { // the list has two pages
		t.Errorf("%d visitors cost %d calls of the API", len(pages), n)
	}
}

// While an upstream is down, the forms keep what was typed, and can be sent again: nothing is done twice.
func TestAnUpstreamIsDown(t *testing.T) {
	w := newWorld(t)
	v := w.registered(t, "ann")
	order := v.form("order?plan="+w.small.ID, "plan", w.small.ID, "name", "Ann on the bill")
	visitor := w.visitor(t)
	register := visitor.form("register", "name", "bob", "password", "secret-2", "repeated", "secret-2")

	w.keystoneDown.Store(true)
	p := v.post("order", order)
	if p.status != http.StatusServiceUnavailable || !strings.Contains(p.text, "nothing is done twice") || !strings.Contains(p.text, "Ann on the bill") ||
		!strings.Contains(p.text, order.Get("nonce")) || p.header.Get("Retry-After") == "" {
		t.Errorf("the order: %d %v\n%s", p.status, p.header, p.text)
	}
	if p := visitor.post("register", register); p.status != http.StatusServiceUnavailable || !strings.Contains(p.text, register.Get("nonce")) {
		t.Errorf("the registration: %d\n%s", p.status, p.text)
	}
	if p := visitor.post("login", url.Values{"name": {"ann"}, "password": {"secret-1"}}); p.status != http.StatusServiceUnavailable || !strings.Contains(p.text, `value="ann"`) {
		t.Errorf("the login: %d\n%s", p.status, p.text)
	}
	w.keystoneDown.Store(false)
	w.down.Store(true)
	p = v.post("order", order)
	if !strings.HasPrefix(p.at, "orders/") || !strings.Contains(p.text, "data-follow") {
		t.Fatalf("the order is not under way: %d at %s\n%s", p.status, p.at, p.text)
	}
	run := p.at
	if p := v.get("subscriptions"); !strings.Contains(p.text, run) || !strings.Contains(p.text, "is under way") {
		t.Errorf("a user who has closed the page does not find the run again:\n%s", p.text)
	}
	w.down.Store(false)
	if p := v.ended(run); !strings.Contains(p.text, "Everything is done") {
		t.Errorf("the run has not succeeded:\n%s", p.text)
	}
	if p := visitor.post("register", register); p.status != http.StatusOK || p.at != "" {
		t.Errorf("the registration, later: %d at %s\n%s", p.status, p.at, p.text)
	}
}

// A run that fails is undone, and the user is told so.
func TestAnOrderIsUndone(t *testing.T) {
	w := newWorld(t)
	w.refuse.Store(true)
	v := w.registered(t, "ann")
	p := v.post("order", v.form("order?plan="+w.small.ID, "plan", w.small.ID, "name", "Ann"))
	p = v.ended(p.at)
	if !strings.Contains(p.text, "Everything has been undone") || !strings.Contains(p.text, "undone") || strings.Contains(p.text, "the books are closed") {
		t.Errorf("got\n%s", p.text)
	}
	if p := v.get("subscriptions"); !strings.Contains(p.text, "You have no subscriptions yet") {
		t.Errorf("the subscriptions:\n%s", p.text)
	}
}

// A user changes the plan of a subscription, ends it, and restores it.
func TestTheLifeOfASubscription(t *testing.T) {
	w := newWorld(t)
	v := w.registered(t, "ann")
	_, subscription := v.subscribed(w.small.ID)
	for _, c := range []struct{ action, what, then string }{
		{"change-plan", "Changing your plan", "Large"},
		{"unsubscribe", "Ending your subscription", "Ending"},
		{"restore", "Restoring your subscription", "Active"},
	} {
		p := v.post(subscription+"/"+c.action, v.form(subscription, "plan", w.large.ID))
		if !strings.HasPrefix(p.at, "orders/") || !strings.Contains(p.text, c.what) {
			t.Fatalf("%s: %d at %s\n%s", c.action, p.status, p.at, p.text)
		}
		if p := v.ended(p.at); !strings.Contains(p.text, "Everything is done") {
			t.Fatalf("%s:\n%s", c.action, p.text)
		}
		p = v.get(subscription)
		if !strings.Contains(p.text, c.then) || strings.Contains(p.text, `action="`+strings.TrimPrefix(w.home, w.URL)+subscription+"/"+c.action+`"`) && c.action != "change-plan" {
			t.Errorf("after %s:\n%s", c.action, p.text)
		}
	}
	if p := v.post(subscription+"/restore", v.form(subscription)); p.status != http.StatusConflict || !strings.Contains(p.text, "has not been ended") {
		t.Errorf("restoring an active subscription: %d\n%s", p.status, p.text)
	}
	for _, action := range []string{"remove", "suspend", "hold"} {
		if p := v.post(subscription+"/"+action, v.form(subscription)); p.status != http.StatusNotFound {
			t.Errorf("%s: got %d", action, p.status)
		}
	}
}

// The usage is the sum of the rows that BillingStack gets, and the amounts are exact.
func TestTheUsageOfASubscription(t *testing.T) {
	w := newWorld(t)
	subscription := w.used(t)
	v := w.visitor(t)
	if p := v.post("login", url.Values{"name": {"ann"}, "password": {"secret-1"}}); p.status != http.StatusOK {
		t.Fatalf("logging in: %d", p.status)
	}
	text := v.get(subscription).text
	for _, want := range []string{"<td>vCPU hour</td>", `<td class="amount">30</td>`, `<td class="amount">0.60 NOK</td>`, "0.60 NOK</td></tr></tfoot>"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "memory") {
		t.Error("the page shows usage that is not billed")
	}
}

// Nobody sees or changes what belongs to another user, although the API shows the portal the runs and subscriptions of all users.
func TestAUserSeesOnlyTheirOwn(t *testing.T) {
	w := newWorld(t)
	ann, eve := w.registered(t, "ann"), w.registered(t, "eve")
	form := ann.form("order?plan="+w.small.ID, "plan", w.small.ID, "name", "Ann")
	run := ann.post("order", form).at
	subscription := subscriptionLink.FindString(ann.ended(run).text)
	for _, path := range []string{run, run + "/steps", subscription, "orders/" + uuid.NewString(), "subscriptions/" + uuid.NewString(), "orders/x", "subscriptions/x"} {
		if p := eve.get(path); p.status != http.StatusNotFound || strings.Contains(p.text, strings.TrimPrefix(subscription, "subscriptions/")) {
			t.Errorf("%s: got %d\n%s", path, p.status, p.text)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+"/v1/runs/"+strings.TrimPrefix(run, "orders/"), nil)
	must(t, err)
	r.SetBasicAuth(w.Merchant.Key, w.Merchant.Secret)
	resp, err := w.Client.Do(r)
	must(t, err)
	must(t, resp.Body.Close())
	for _, seen := range []string{resp.Header.Get("ETag"), "*"} { // a 304 does not say whose run it is
		if p := eve.get(run + "/steps?seen=" + url.QueryEscape(seen)); p.status != http.StatusNotFound {
			t.Errorf("following the run with the ETag %s: got %d", seen, p.status)
		}
	}
	own := eve.form("register")
	for _, action := range []string{"unsubscribe", "restore", "change-plan"} {
		if p := eve.post(subscription+"/"+action, url.Values{"nonce": own["nonce"], "plan": {w.large.ID}}); p.status != http.StatusNotFound {
			t.Errorf("%s: got %d at %s", action, p.status, p.at)
		}
	}
	if p := eve.post("order", form); p.at == run { // the nonce of another user's form
		t.Error("another user's order was answered")
	}
	customer := ann.form("order?plan="+w.large.ID, "plan", w.large.ID)
	bill, err := w.Billing.Subscription(t.Context(), w.Merchant.ID, strings.TrimPrefix(subscription, "subscriptions/"))
	must(t, err)
	customer.Set("customer", bill.CustomerID)
	if p := eve.post("order", customer); p.status != http.StatusForbidden {
		t.Errorf("ordering for another user's customer: %d at %s\n%s", p.status, p.at, p.text)
	}
	if p := ann.get("subscriptions"); strings.Count(p.text, "Active") != 1 {
		t.Errorf("the subscriptions of ann:\n%s", p.text)
	}
	// A session of one merchant's portal is no session of another's, also with the other's cookie.
	u, err := url.Parse(w.URL)
	must(t, err)
	for _, c := range ann.client.Jar.Cookies(u) {
		c.Name, c.Path, c.Secure = strings.Replace(c.Name, w.Merchant.ID, w.Other.ID, 1), "/", true
		ann.client.Jar.SetCookies(u, []*http.Cookie{c})
	}
	r, err = http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(w.home, w.Merchant.ID, w.Other.ID, 1)+"subscriptions", nil)
	if p := ann.do(r, err); !strings.HasSuffix(p.at, "/login") {
		t.Errorf("at the other portal, ann is at %s", p.at)
	}
}

// A form that was sent before, and is sent again with another name, is no second order.
func TestAFormThatWasSentBefore(t *testing.T) {
	w := newWorld(t)
	v := w.registered(t, "ann")
	form := v.form("order?plan="+w.small.ID, "plan", w.small.ID, "name", "Ann")
	v.ended(v.post("order", form).at)
	form.Set("name", "Anna")
	if p := v.post("order", form); p.at != "subscriptions" || strings.Count(p.text, "Active") != 1 {
		t.Errorf("got %d at %s\n%s", p.status, p.at, p.text)
	}
	form = v.form("order?plan="+w.large.ID, "plan", w.large.ID, "customer", uuid.NewString()) // the customer has gone meanwhile
	p := v.post("order", form)
	if p.status != http.StatusForbidden && p.status != http.StatusBadRequest || strings.Contains(p.text, form.Get("customer")) {
		t.Errorf("the form still has the customer that is gone: %d\n%s", p.status, p.text)
	}
}

// A user with many open pages leaves places to the other users of the merchant.
func TestTheWaitsOfAUserHaveALimit(t *testing.T) {
	w := newWorld(t)
	v := w.registered(t, "ann")
	w.down.Store(true)
	run := v.post("order", v.form("order?plan="+w.small.ID, "plan", w.small.ID, "name", "Ann")).at
	refused := make(chan page, 1)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			for ctx.Err() == nil {
				next := following.FindStringSubmatch(v.get(run).text)
				if next == nil {
					return
				}
				if p := v.get(run + "/steps?seen=" + next[1]); p.status == http.StatusTooManyRequests {
					select {
					case refused <- p:
					default:
					}
					return
				}
			}
		})
	}
	select {
	case p := <-refused:
		if p.header.Get("Retry-After") == "" {
			t.Errorf("got %v", p.header)
		}
	case <-time.After(time.Minute):
		t.Error("twelve pages of one user wait")
	}
	stop()
	w.down.Store(false)
	all.Wait()
}

func TestRequestsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	v := w.registered(t, "ann")
	form := v.form("order?plan="+w.small.ID, "plan", w.small.ID, "name", "Ann")
	if p := v.post("order", form, "Sec-Fetch-Site", "cross-site"); p.status != http.StatusForbidden {
		t.Errorf("a form of another site: got %d", p.status)
	}
	if p := v.post("order", url.Values{"nonce": form["nonce"], "name": {"\xff\xfe"}}); p.status != http.StatusBadRequest {
		t.Errorf("bytes that are no text: got %d", p.status)
	}
	for name, body := range map[string]url.Values{"no nonce": {"plan": {w.small.ID}}, "a short nonce": {"nonce": {"A"}}, "nothing": nil} {
		if p := v.post("order", body); p.status != http.StatusBadRequest {
			t.Errorf("%s: got %d", name, p.status)
		}
	}
	if p := v.post("order", url.Values{"nonce": form["nonce"], "name": {strings.Repeat("x", 40<<10)}}); p.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large form: got %d", p.status)
	}
	for _, path := range []string{"nope", "static/nope.js", "static/../portal.go", "logo", "orders/", "../" + uuid.NewString() + "/"} {
		if p := v.get(path); p.status != http.StatusNotFound || !strings.HasPrefix(p.header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: got %d %v", path, p.status, p.header)
		}
	}
	if p := v.get("static/portal.css"); p.status != http.StatusOK || p.header.Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("the style sheet: %d %v", p.status, p.header)
	}
	if p := v.get("brand.css"); p.status != http.StatusOK || !strings.Contains(p.text, "--on-accent: #ffffff") {
		t.Errorf("the colours: %d %s", p.status, p.text)
	}
	for _, path := range []string{"", "login", "nope", "static/portal.js"} {
		h := v.get(path).header
		if !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'") || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q: got the headers %v", path, h)
		}
	}
	u, err := url.Parse(w.URL)
	must(t, err)
	for _, c := range v.client.Jar.Cookies(u) {
		if !strings.HasPrefix(c.Name, "__Host-portal-") {
			t.Errorf("a cookie over TLS has the name %s", c.Name)
		}
	}
}

// Without TLS, the portal answers only a browser on its own host.
func TestNothingIsSentUnencrypted(t *testing.T) {
	in := servicetest.New(t, servicetest.Options{Portal: true})
	home := in.URL + "/portal/" + in.Merchant.ID + "/"
	jar, err := cookiejar.New(nil)
	must(t, err)
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{nil, http.StatusOK},
		{[]string{"Host", "shop.example.org"}, http.StatusForbidden},
		{[]string{"Origin", "https://shop.example.org"}, http.StatusForbidden}, // a proxy that sends nothing about the visitor
		{[]string{"X-Forwarded-For", "192.0.2.1"}, http.StatusForbidden},
		{[]string{"X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "http"}, http.StatusForbidden},
		{[]string{"X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "https", "Host", "shop.example.org"}, http.StatusOK},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, home+"login", nil)
		must(t, err)
		for i := 0; i < len(c.headers); i += 2 {
			if r.Header.Set(c.headers[i], c.headers[i+1]); c.headers[i] == "Host" {
				r.Host = c.headers[i+1]
			}
		}
		resp, err := (&http.Client{Jar: jar}).Do(r)
		must(t, err)
		must(t, resp.Body.Close())
		if resp.StatusCode != c.status {
			t.Errorf("%v: got %d, want %d", c.headers, resp.StatusCode, c.status)
		}
	}
}

// The portal says that it is closed, and the log says why, if its merchant or its key does not work.
func TestAPortalWhoseKeyIsRefused(t *testing.T) {
	w := newWorld(t)
	v := w.registered(t, "ann")
	disabled := time.Now()
	_, err := w.Store.Merchants().Update(t.Context(), w.Merchant.ID, func(m *merchants.Merchant) error { m.DisabledAt = &disabled; return nil })
	must(t, err)
	w.later.Store(int64(6 * time.Second)) // the plans are read again
	for _, path := range []string{"", "subscriptions"} {
		if p := v.get(path); p.status != http.StatusServiceUnavailable || !strings.Contains(p.text, "Contact us") || strings.Contains(p.text, w.Merchant.Key) {
			t.Errorf("%q: got %d\n%s", path, p.status, p.text)
		}
	}
	if log := w.Log.String(); !strings.Contains(log, "merchant-disabled") || strings.Contains(log, w.Merchant.Secret) {
		t.Errorf("the log does not say why:\n%s", log)
	}
}

// The API counts the logins of each visitor, although all of them come from the portal.
func TestLoginsOfAVisitorAreLimited(t *testing.T) {
	w := newWorld(t, func(o *service.Options) { o.LoginRate = 3 })
	v := w.visitor(t)
	var last page
	for i := range 5 {
		last = v.post("login", url.Values{"name": {"name-" + string(rune('a'+i))}, "password": {"wrong"}})
	}
	if last.status != http.StatusTooManyRequests || !strings.Contains(last.text, "too many attempts") || last.header.Get("Retry-After") == "" {
		t.Errorf("got %d %v\n%s", last.status, last.header, last.text)
	}
}

// Texts from outside are shown as texts.
func TestHostileTexts(t *testing.T) {
	w := newWorld(t)
	const hostile = "<i>x</i>\u202e\u001b[31m\u0085"
	product, err := w.Billing.CreateProduct(t.Context(), w.Merchant.ID, billing.Product{ID: uuid.NewString(), Name: hostile, Description: hostile, Pricing: []any{
		map[string]any{"type": "fixed", "price": hostile},
	}})
	must(t, err)
	plan := w.plan(t, hostile, product)
	v := w.registered(t, "<i>ann</i>")
	_, subscription := v.subscribed(plan.ID)
	for _, path := range []string{"", "order?plan=" + plan.ID, "subscriptions", subscription} {
		p := v.get(path)
		if !strings.Contains(p.text, "&lt;i&gt;") || strings.Contains(p.text, "<i>") || strings.ContainsAny(p.text, "\u202e\u001b\u0085") {
			t.Errorf("%q: got %d\n%s", path, p.status, p.text)
		}
	}
}

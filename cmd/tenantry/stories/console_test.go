package stories_test

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/service/servicetest/chromium"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// consoleRuns returns the number of runs among which the operator finds a failed one.
func consoleRuns(t *testing.T) int {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("TENANTRY_TEST_CONSOLE"), "16"))
	if err != nil || n < 16 {
		t.Fatalf("TENANTRY_TEST_CONSOLE, the number of runs, is below 16: %d, %v", n, err)
	}
	return n
}

// TestPeopleUseTheConsoleOnRealParts uses the console with a real Chromium, over TLS. An operator finds a failed run among many, reads why it failed,
// and repeats it. After an audit, the operator makes, approves and applies a repair plan. The operator's browser is closed after the approvals, and
// again while the repairs are in progress. Then another merchant tries to see or to do something with the first merchant's objects.
//
// `make console` makes 500 runs. `make test` makes fewer.
func TestPeopleUseTheConsoleOnRealParts(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	n := consoleRuns(t)
	failed := o.orderAll(n)
	seen := newAddresses()

	v := o.visit(t, seen)
	v.do(o.signIn("/console")...)
	o.repeat(v, n, failed)
	o.lookAround(v)
	o.disable(3)
	plan := o.approve(v)
	v.close()

	v = o.visit(t, seen)
	v.do(o.signIn("/console/repair-plans")...)
	o.apply(v, plan)
	v.close()

	v = o.visit(t, seen)
	v.do(o.signIn(plan)...)
	o.seeRepaired(v)
	v.close()

	o.seeNothing(t, seen)
	o.noSecretIn(operatorPassword, o.shops[1].secret, o.tokens[0], o.tokens[1])
}

// The type `office` is an installation whose console two kinds of people use: an operator, and the staff of two merchants.
type office struct {
	*site

	url    string
	shops  [2]shop
	tokens [2]string // of users, one for each merchant

	// Requests that these gates stop are refused by BillingStack, or wait until the gate opens.
	refused, billingHeld, keystoneHeld gate
}

// operatorPassword is the password of the operator olga.
const operatorPassword = "canary-olga"

func newOffice(t *testing.T) *office {
	o := &office{}
	cloud, _ := ownKeystone(t, newHome(t), &upstream{before: o.keystoneHeld.await})
	cloud.all = nil // otherwise, the checks at the end of the test would report the damages
	o.site = emptySite(t, storetest.PostgreSQL(t), cloud, &upstream{around: func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
		if _, refused := o.refused.stops(r); refused {
			http.Error(w, `{"faultstring": "the books are closed"}`, http.StatusBadRequest)
			return
		}
		o.billingHeld.await(r)
		next.ServeHTTP(w, r)
	}})
	c := certify(t, t.TempDir(), "127.0.0.1", nil)
	o.web = c.trusted(t)
	o.env = append(o.env, "TENANTRY_DOMAIN="+cloud.domain, "TENANTRY_ADMIN_ROLE=tenantry-admin", "TENANTRY_TLS_CERT="+c.certificate, "TENANTRY_TLS_KEY="+c.key)
	for i, name := range []string{"Alpine Hosting", "Baltic Servers"} {
		o.shops[i] = o.newShop(name)
		o.tokens[i] = o.newToken()
	}
	o.apiKey, o.secret = o.shops[0].key, o.shops[0].secret
	o.addOperator()
	o.url = o.serve().url
	return o
}

// addOperator creates the user olga, who has the operators' role on a project.
func (o *office) addOperator() {
	made := func(list, kind string, body map[string]any) string {
		var answer map[string]struct{ ID string }
		o.cloud.call(o.t, http.MethodPost, "/"+list, map[string]any{kind: body}, &answer)
		return answer[kind].ID
	}
	user := made("users", "user", map[string]any{"name": "olga", "password": operatorPassword, "domain_id": "default"})
	project := made("projects", "project", map[string]any{"name": "operations", "domain_id": "default"})
	role := made("roles", "role", map[string]any{"name": "tenantry-admin"})
	o.cloud.call(o.t, http.MethodPut, "/projects/"+project+"/users/"+user+"/roles/"+role, nil, nil)
}

// orderAll makes n runs. The second merchant has four of them. A run of the first merchant in the middle fails, and is returned. Its user has no other
// run: otherwise, it could not be repeated, because another run would have had the same effect.
func (o *office) orderAll(n int) (failed string) {
	o.t.Helper()
	some := func(n int) {
		sideBySide(n, func(i int) {
			of := 0
			if i < 2 {
				of = 1
			}
			if final := o.order(of, o.tokens[of]); final.Status != http.StatusCreated {
				o.t.Errorf("an order is answered with %d: %s", final.Status, final.Body)
			}
		})
		if o.t.Failed() {
			o.t.FailNow()
		}
	}
	some(n / 2)
	o.refused.shut(o.shops[0].id)
	final := o.order(0, o.newToken())
	o.refused.release()
	if final.Status != http.StatusConflict {
		o.t.Fatalf("the order that BillingStack refuses is answered with %d: %s", final.Status, final.Body)
	}
	some(n - 1 - n/2)
	return final.Run
}

// The method `order` subscribes a user for a new customer of a merchant. It repeats the call until the run has ended.
func (o *office) order(of int, token string) workflowstest.Answer {
	o.t.Helper()
	key := uuid.NewString()
	return o.insist(o.url, portal{key, func(string) (answer, error) { return o.place(of, key, token) }})
}

// The method `place` calls the API once with an order.
func (o *office) place(of int, key, token string, header ...string) (answer, error) {
	s := o.shops[of]
	body := fmt.Sprintf(`{"plan_id":%q,"customer":{"name":"customer of %s","currency":"eur","language":"eng"}}`, s.plan, s.name)
	req, err := http.NewRequest(http.MethodPost, o.url+"/v1/merchants/"+s.id+"/subscriptions", strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	req.Header.Set("X-Subject-Token", token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return o.doAs(s.key, s.secret, req)
}

// signIn opens a page as the operator, who has to sign in first.
func (o *office) signIn(path string) []chromedp.Action[chromedp.Void] {
	return []chromedp.Action[chromedp.Void]{
		chromedp.Navigate(o.url + path), chromedp.WaitVisible(`input[name=user]`), chromedp.SendKeys(`input[name=user]`, "olga"),
		chromedp.SendKeys(`input[name=password]`, operatorPassword+"\r"), chromedp.WaitVisible(`.person`),
	}
}

// The method `repeat` finds the failed run, reads why it failed, and repeats it with a reason. BillingStack keeps the new run waiting until the page
// shows that it is running. Then the page must show its end without being loaded again.
func (o *office) repeat(v *visit, n int, failed string) {
	v.t.Helper()
	v.do(chromedp.WaitVisible(`table.runs`))
	if got := v.count(`table.runs tbody tr`); got != min(n, 50) {
		v.t.Errorf("the page shows %d of %d runs", got, n)
	}
	v.do(chromedp.SetValue(`select[name=state]`, "compensated"), chromedp.Click(`.filter button`), chromedp.WaitVisible(`.reset`))
	if n := v.count(`table.runs tbody tr`); n != 1 {
		v.t.Errorf("%d runs are compensated, want 1", n)
	}
	v.do(chromedp.Click(`a[href="/console/runs/`+failed+`"]`), chromedp.WaitVisible(`.failure`))
	why := chromium.Read(v.t, v.ctx, chromedp.Text(`#summary`))
	for _, text := range []string{"the books are closed", "billingstack-refused", "Who can fix it: an operator of Tenantry"} {
		if !strings.Contains(why, text) {
			v.t.Errorf("the page of the failed run lacks %q: %s", text, why)
		}
	}
	o.billingHeld.shut(o.shops[0].id)
	v.do(chromedp.SendKeys(`input[name=why]`, "the books are open again"), chromedp.Click(`button[formaction$="/retry"]`), chromedp.WaitVisible(`.done`),
		chromedp.WaitVisible(`h1 .state.busy`), chromedp.Evaluate[chromedp.Void](`window.still = "here"`))
	o.billingHeld.release()
	v.do(chromedp.WaitVisible(`h1 .state.good`))
	if still := chromium.Read(v.t, v.ctx, chromedp.Evaluate[string](`window.still`)); still != "here" {
		v.t.Error("the page was loaded again")
	}
	v.has(`.history`, "the books are open again")
}

// lookAround opens the pages of the objects of the run, of its merchant, and of the service.
func (o *office) lookAround(v *visit) {
	v.t.Helper()
	v.do(chromedp.Click(`#objects a[href^="/console/subscriptions/"]`), chromedp.WaitVisible(`.change`))
	v.do(chromedp.Click(`.sides a[href^="/console/customers/"]`), chromedp.WaitVisible(`table.subscriptions`))
	v.do(chromedp.Click(`.sides a[href^="/console/tenants/"]`), chromedp.WaitVisible(`.tags`))
	v.do(chromedp.Click(`.sides a[href^="/console/users/"]`), chromedp.WaitVisible(`.roles`))
	v.do(chromedp.Click(`nav a[href="/console/subscriptions"]`), chromedp.WaitVisible(`select[name=merchant]`))
	v.do(chromedp.SetValue(`select[name=merchant]`, o.shops[0].id), chromedp.Click(`.filter button`), chromedp.WaitVisible(`table.subscriptions`))
	v.do(chromedp.Click(`nav a[href="/console/merchants"]`), chromedp.WaitVisible(`table.merchants`))
	v.do(chromedp.Click(`a[href="/console/merchants/`+o.shops[0].id+`"]`), chromedp.WaitVisible(`table.keys`))
	v.do(chromedp.Click(`nav a[href="/console/health"]`), chromedp.WaitVisible(`#h-checks`))
	v.do(chromedp.Click(`nav a[href="/console/settings"]`), chromedp.WaitVisible(`table.settings`))
	v.do(chromedp.Click(`nav a[href="/console/runs"]`), chromedp.WaitVisible(`table.runs`))
	if v.count(`a[rel=next]`) > 0 {
		v.do(chromedp.Click(`a[rel=next]`), chromedp.WaitVisible(`table.runs`))
	}
}

// The method `disable` disables the tenants of n subscriptions of the first merchant, without Tenantry.
func (o *office) disable(n int) {
	o.t.Helper()
	all, err := o.billing.Subscriptions(o.t.Context(), o.shops[0].id)
	o.ok(err)
	for _, s := range all[:n] {
		o.cloud.call(o.t, http.MethodPatch, "/projects/"+s.ResourceID, map[string]any{"project": map[string]any{"enabled": false}}, nil)
	}
}

// The method `approve` audits, plans the repairs of all findings, and approves two of the three entries. It returns the path of the plan.
func (o *office) approve(v *visit) (plan string) {
	v.t.Helper()
	o.audit(v)
	v.has(`.found-counts`, "3 high")
	v.do(chromedp.Click(`.tabs a[href="/console/findings"]`), chromedp.WaitVisible(`table.findings`))
	v.do(chromedp.Click(`.c-finding a`), chromedp.WaitVisible(`form.accept`))
	v.has(`.difference .found`, "disabled")
	v.do(chromedp.Click(`.tabs a[href="/console/findings"]`), chromedp.WaitVisible(`button[name=which]`), chromedp.Click(`button[name=which]`),
		chromedp.WaitVisible(`.entries`))
	v.do(chromedp.Click(`#e1`), chromedp.Click(`#e3`), chromedp.Click(`button[formaction$="/approve"]`), chromedp.WaitVisible(`.done`))
	plan, _, _ = strings.Cut(strings.TrimPrefix(chromium.Read(v.t, v.ctx, chromedp.Location()), o.url), "?")
	return plan
}

// The method `audit` starts an audit of everything, and waits until its page shows the result.
func (o *office) audit(v *visit) {
	v.t.Helper()
	v.do(chromedp.Click(`.top nav a[href="/console/findings"]`), chromedp.Click(`.tabs a[href="/console/audits"]`), chromedp.WaitVisible(`form.scope`),
		chromedp.Click(`form.scope button`), chromedp.WaitVisible(`h1 .state.good`), chromedp.WaitVisible(`#h-gaps`))
}

// The method `apply` finds the plan with its two approved entries, and applies them. Keystone keeps the repairs waiting.
func (o *office) apply(v *visit, plan string) {
	v.t.Helper()
	v.do(chromedp.Click(`a[href="`+plan+`"]`), chromedp.WaitVisible(`#e1:checked`), chromedp.WaitVisible(`#e3:checked`))
	if n := v.count(`.entry input:checked`); n != 2 {
		v.t.Errorf("%d entries are approved, want 2", n)
	}
	o.keystoneHeld.shut("/projects/")
	v.do(chromedp.SendKeys(`input[name=why]`, "agreed with the customers"), chromedp.Click(`button[formaction$="/apply"]`), chromedp.WaitVisible(`.done`),
		chromedp.WaitVisible(`#r1 .state.busy`), chromedp.WaitVisible(`#r3 .state.busy`))
}

// seeRepaired finds the repairs in progress, and watches them end. After a further audit, two findings are resolved and one is open.
func (o *office) seeRepaired(v *visit) {
	v.t.Helper()
	v.do(chromedp.WaitVisible(`#r1 .state.busy`), chromedp.WaitVisible(`#r3 .state.busy`))
	o.keystoneHeld.release()
	v.do(chromedp.WaitVisible(`#r1 .state.good`), chromedp.WaitVisible(`#r3 .state.good`))
	v.do(chromedp.Click(`#r1 a[href^="/console/runs/"]`), chromedp.WaitVisible(`h1 .state.good`))
	v.has(`.history`, "agreed with the customers")
	o.audit(v)
	v.has(`.found-counts`, "1 high")
	v.do(chromedp.Navigate(o.url+"/console/findings?status=resolved"), chromedp.WaitVisible(`table.findings`))
	if n := v.count(`table.findings .c-status .state.good`); n != 2 {
		v.t.Errorf("%d findings are resolved, want 2", n)
	}
	v.do(chromedp.Click(`.c-finding a`), chromedp.WaitVisible(`table.repairs`))
}

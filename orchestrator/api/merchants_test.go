package api_test

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The method `admin` returns a request of an operator.
func (w *world) admin(method, path, body string) request {
	return request{method: method, path: path, body: body, operator: w.OperatorToken}
}

// The field created_at is the time at which the merchant was stored, not the time at which the request arrived: the calls to
// Keystone in between may take long.
func TestAMerchantIsCreatedAfterTheCallsToKeystone(t *testing.T) {
	var asked atomic.Pointer[time.Time]
	w := newWorld(t, func(o *servicetest.Options) {
		before := o.Around
		o.Around = func(upstream string, next http.RoundTripper) http.RoundTripper {
			next = before(upstream, next)
			return roundTrip(func(req *http.Request) (*http.Response, error) {
				if upstream != service.BillingStack {
					asked.Store(new(time.Now()))
				}
				return next.RoundTrip(req)
			})
		}
	})
	m, err := w.Billing.CreateMerchant(t.Context(), billing.Merchant{Name: "New", Currency: "nok", Language: "nor"})
	must(t, err)
	w.Keystone.AddRole("never-looked-up")
	got := w.call(w.admin("POST", "/v1/merchants", fmt.Sprintf(`{"merchant_id": %q, "customer_roles": ["never-looked-up"]}`, m.ID)))
	made := read[api.MerchantCreated](t, got)
	if last := asked.Load(); got.status != http.StatusCreated || last == nil || made.CreatedAt.Before(last.Truncate(time.Microsecond)) {
		t.Errorf("got %d, created at %v; the last call to Keystone was at %v", got.status, made.CreatedAt, last)
	}
}

func TestLettingAMerchantIn(t *testing.T) {
	w := newWorld(t)
	m, err := w.Billing.CreateMerchant(t.Context(), billing.Merchant{Name: "New", Currency: "nok", Language: "nor"})
	must(t, err)
	got := w.call(w.admin("POST", "/v1/merchants", fmt.Sprintf(`{"merchant_id": %q, "on_failure": "hold", "customer_roles": ["member"]}`, m.ID)))
	made := read[api.MerchantCreated](t, got)
	if got.status != http.StatusCreated || made.MerchantID != m.ID || made.Name != "New" || made.Cloud != "default" ||
		made.OnFailure != api.Hold || !slices.Equal(made.CustomerRoles, []string{"member"}) {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	path := got.header.Get("Location")
	first := portal{ID: m.ID, Key: made.APIKey, Secret: made.APISecret}
	works := func(p portal) int { return w.call(request{path: "/v1/merchants/" + m.ID + "/plans", portal: p}).status }
	if got := works(first); got != http.StatusOK {
		t.Errorf("the first key: got %d", got)
	}
	if got := w.call(w.admin("POST", "/v1/merchants", fmt.Sprintf(`{"merchant_id": %q}`, m.ID))); got.status != http.StatusConflict {
		t.Errorf("once more: got %d %s, want 409", got.status, got.body)
	}

	rotate := func() (portal, []string) {
		k := read[api.APIKeyCreated](t, w.call(w.admin("POST", path+"/keys", "")))
		return portal{ID: m.ID, Key: k.APIKey, Secret: k.APISecret}, k.Revoked
	}
	second, revoked := rotate()
	if len(revoked) != 0 || works(first) != http.StatusOK || works(second) != http.StatusOK {
		t.Errorf("after one rotation: revoked %q, first %d, second %d", revoked, works(first), works(second))
	}
	third, revoked := rotate()
	if !slices.Equal(revoked, []string{first.Key}) || works(first) != 401 || works(second) != 200 || works(third) != 200 {
		t.Errorf("after two rotations: revoked %q, want the first key; the three keys get %d, %d and %d, want 401, 200 and 200", revoked, works(first), works(second), works(third))
	}
	keys := w.call(w.admin("GET", path+"/keys", ""))
	if all := read[api.APIKeyList](t, keys).Keys; len(all) != 3 || all[0].RevokedAt == nil || strings.Contains(keys.body, third.Secret) {
		t.Errorf("the keys: got %s", keys.body)
	}

	changed := read[api.Merchant](t, w.call(w.admin("PATCH", path, `{"name": "Newer", "customer_roles": [], "disabled": true}`)))
	if changed.Name != "Newer" || len(changed.CustomerRoles) != 0 || changed.DisabledAt == nil || changed.OnFailure != api.Hold {
		t.Errorf("changed: got %+v", changed)
	}
	if got := works(third); got != http.StatusForbidden {
		t.Errorf("a disabled merchant's key: got %d, want 403", got)
	}
	w.call(w.admin("PATCH", path, `{"disabled": false}`))
	if got := works(third); got != http.StatusOK {
		t.Errorf("an enabled merchant's key: got %d, want 200", got)
	}
	if all := read[api.MerchantList](t, w.call(w.admin("GET", "/v1/merchants", ""))).Merchants; len(all) != 3 || all[0].Name != "Newer" {
		t.Errorf("the list: got %+v", all)
	}
}

// The method `pages` reads all pages of a list, with `limit` objects on a page. The function `objects` returns the ids on a page,
// and the page's links.
func (w *world) pages(q request, limit int, objects func(answer) ([]string, api.Links)) (all []string) {
	w.t.Helper()
	for q.path += fmt.Sprint("?limit=", limit); q.path != ""; {
		got := w.call(q)
		ids, links := objects(got)
		if got.status != http.StatusOK || len(ids) == 0 || len(ids) > limit {
			w.t.Fatalf("%s: got %d %s, want 1 to %d objects", q.path, got.status, got.body, limit)
		}
		all, q.path = append(all, ids...), ""
		if last := links[len(links)-1]; last.Rel == "next" {
			q.path = last.Href
		}
	}
	return all
}

func TestPagesOfMerchantsKeysAndPlans(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) {
		w := newWorldOn(t, database)
		byName := map[string][]string{}
		for _, name := range []string{"Other", "Zoo", "Alpha", "Other", "other"} { // names may be equal
			m, err := w.Billing.CreateMerchant(t.Context(), billing.Merchant{Name: name, Currency: "nok", Language: "nor"})
			must(t, err)
			if got := w.call(w.admin("POST", "/v1/merchants", fmt.Sprintf(`{"merchant_id": %q}`, m.ID))); got.status != http.StatusCreated {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			byName[name] = append(byName[name], m.ID)
		}
		keys := []string{w.Merchant.Key}
		plans := []string{w.Merchant.Plan}
		for i := range 4 {
			k := read[api.APIKeyCreated](t, w.call(w.admin("POST", "/v1/merchants/"+w.Merchant.ID+"/keys", "")))
			keys = append(keys, k.APIKey)
			w.Merchant.Key, w.Merchant.Secret = k.APIKey, k.APISecret
			p, err := w.Billing.CreatePlan(t.Context(), w.Merchant.ID, billing.Plan{Name: fmt.Sprint("plan ", i)})
			must(t, err)
			plans = append(plans, p.ID)
		}
		slices.Sort(plans)
		merchants := func(a answer) (ids []string, links api.Links) {
			list := read[api.MerchantList](t, a)
			for _, m := range list.Merchants {
				ids = append(ids, m.MerchantID)
			}
			return ids, list.Links
		}
		whole := w.pages(w.admin("GET", "/v1/merchants", ""), 200, merchants)
		if len(whole) != 7 || whole[0] != byName["Alpha"][0] || !slices.Contains(whole, w.Merchant.ID) {
			t.Errorf("the merchants: got %q", whole)
		}
		for limit := range 8 {
			if limit == 0 {
				continue
			}
			if got := w.pages(w.admin("GET", "/v1/merchants", ""), limit, merchants); !slices.Equal(got, whole) {
				t.Errorf("merchants, %d a page: got %q, want %q", limit, got, whole)
			}
			got := w.pages(w.admin("GET", "/v1/merchants/"+w.Merchant.ID+"/keys", ""), limit, func(a answer) (ids []string, links api.Links) {
				list := read[api.APIKeyList](t, a)
				for _, k := range list.Keys {
					ids = append(ids, k.APIKey)
				}
				return ids, list.Links
			})
			if !slices.Equal(got, keys) {
				t.Errorf("keys, %d a page: got %q, want %q", limit, got, keys)
			}
			got = w.pages(w.get("/v1/merchants/"+w.Merchant.ID+"/plans"), limit, func(a answer) (ids []string, links api.Links) {
				list := read[api.PlanList](t, a)
				for _, p := range list.Plans {
					ids = append(ids, p.ID)
				}
				return ids, list.Links
			})
			if !slices.Equal(got, plans) {
				t.Errorf("plans, %d a page: got %q, want %q", limit, got, plans)
			}
		}
	})
}

// Each list operation in the document has pages, except the list of the API's versions.
func TestEachListHasPages(t *testing.T) {
	w := newWorld(t)
	for path, item := range w.document.doc.Paths.Map() {
		for method, o := range item.Operations() {
			if !strings.HasPrefix(o.OperationID, "list") || o.OperationID == "listVersions" {
				continue
			}
			limit := o.Parameters.GetByInAndName("query", "limit")
			if limit == nil || limit.Schema.Value.Max == nil || limit.Schema.Value.Default == nil {
				t.Errorf("%s %s: the limit of a page has no default or no maximum", method, path)
			}
		}
	}
}

// Both oslo.policy and Keystone on MySQL ignore the case of a role's name.
func TestTheCaseOfTheOperatorsRoleIsIgnored(t *testing.T) {
	w := newWorld(t)
	user := w.Keystone.AddUser(keystonetest.User{Name: "otto"})
	project := w.Keystone.AddProject(keystone.Project{Name: "more operations"})
	role := w.Keystone.AddRole(strings.ToUpper(servicetest.AdminRole))
	w.Keystone.Assign(keystone.Assignment{ProjectID: project, UserID: user, RoleID: role})
	scoped, err := w.Identity.ExchangeToken(t.Context(), w.Keystone.IssueToken(user), project)
	must(t, err)
	if got := w.call(request{path: "/v1/merchants", operator: scoped.ID}); got.status != http.StatusOK {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

func TestMerchantsRefused(t *testing.T) {
	w := newWorld(t)
	w.Keystone.AddRole("deputy", servicetest.AdminRole)
	own := "/v1/merchants/" + w.Merchant.ID
	for _, c := range []struct {
		name, method, path, body string
		want                     int
		pointer                  string
	}{
		{"unknown to BillingStack", "POST", "/v1/merchants", fmt.Sprintf(`{"merchant_id": %q}`, nobody), 400, "/merchant_id"},
		{"no id", "POST", "/v1/merchants", `{"name": "x"}`, 400, "/merchant_id"},
		{"a malformed id", "POST", "/v1/merchants", `{"merchant_id": "x"}`, 400, "/merchant_id"},
		{"a name of 61 characters", "POST", "/v1/merchants", fmt.Sprintf(`{"merchant_id": %q, "name": %q}`, w.Merchant.ID, strings.Repeat("x", 61)), 400, "/name"},
		{"a name of blanks", "PATCH", own, `{"name": " "}`, 400, "/name"},
		{"a name with an emoji", "PATCH", own, `{"name": "🛒"}`, 400, "/name"},
		{"an unknown cloud", "PATCH", own, `{"cloud": "nowhere"}`, 400, "/cloud"},
		{"an unknown domain", "PATCH", own, `{"domain": "nowhere"}`, 400, "/domain"},
		{"an unknown role", "PATCH", own, `{"customer_roles": ["nothing"]}`, 400, "/customer_roles"},
		{"a role that opens the cloud", "PATCH", own, `{"subscription_roles": ["admin"]}`, 400, "/subscription_roles"},
		{"a role that opens the cloud, at once", "POST", "/v1/merchants", fmt.Sprintf(`{"merchant_id": %q, "customer_roles": ["admin"]}`, w.Other.ID), 400, "/customer_roles"},
		{"an unknown domain, at once", "POST", "/v1/merchants", fmt.Sprintf(`{"merchant_id": %q, "domain": "nowhere"}`, w.Other.ID), 400, "/domain"},
		{"an unknown role, at once", "POST", "/v1/merchants", fmt.Sprintf(`{"merchant_id": %q, "customer_roles": ["nothing"]}`, w.Other.ID), 400, "/customer_roles"},
		{"the operators' role", "PATCH", own, `{"customer_roles": ["member", "tenantry-admin"]}`, 400, "/customer_roles"},
		{"a role that implies the operators' role", "PATCH", own, `{"subscription_roles": ["deputy"]}`, 400, "/subscription_roles"},
		{"an unknown way to fail", "PATCH", own, `{"on_failure": "shrug"}`, 400, "/on_failure"},
		{"an unknown field", "PATCH", own, `{"secret": "x"}`, 400, "/secret"},
		{"no such merchant to show", "GET", "/v1/merchants/" + nobody, "", 404, ""},
		{"no such merchant to change", "PATCH", "/v1/merchants/" + nobody, `{"name": "x"}`, 404, ""},
		{"no such merchant's keys", "GET", "/v1/merchants/" + nobody + "/keys", "", 404, ""},
		{"a key for no such merchant", "POST", "/v1/merchants/" + nobody + "/keys", "", 404, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := w.call(w.admin(c.method, c.path, c.body))
			p := read[api.Problem](t, got)
			if got.status != c.want || c.pointer != "" && (p.InvalidParams == nil || text((*p.InvalidParams)[0].Pointer) != c.pointer) {
				t.Errorf("got %d %s, want %d about %q", got.status, got.body, c.want, c.pointer)
			}
		})
	}
	if got := read[api.Merchant](t, w.call(w.admin("GET", own, ""))); got.Name != "Shop" || got.DisabledAt != nil {
		t.Errorf("afterwards: got %+v, want the merchant as it was", got)
	}
}

func TestCatalog(t *testing.T) {
	w := newWorld(t)
	subscribe := func(merchant, plan, customer string) billing.Subscription {
		s, err := w.Billing.EnsureSubscription(t.Context(), merchant, billing.Subscription{
			ID: newID(), PlanID: plan, CustomerID: customer, ResourceID: "x",
		})
		must(t, err)
		return s
	}
	mine, theirs := subscribe(w.Merchant.ID, w.Merchant.Plan, w.Merchant.Customer), subscribe(w.Other.ID, w.Other.Plan, w.Other.Customer)
	own := "/v1/merchants/" + w.Merchant.ID
	if got := read[api.PlanList](t, w.call(w.get(own+"/plans"))).Plans; len(got) != 1 || got[0].ID != w.Merchant.Plan {
		t.Errorf("the plans: got %+v, want %s alone", got, w.Merchant.Plan)
	}
	for path, want := range map[string][]string{
		"": {mine.ID}, "?customer=" + w.Merchant.Customer: {mine.ID}, "?customer=" + w.Other.Customer: nil, "?customer=" + nobody: nil,
	} {
		var got []string
		for _, s := range read[api.SubscriptionList](t, w.call(w.get(own+"/subscriptions"+path))).Subscriptions {
			got = append(got, s.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("subscriptions%s: got %q, want %q", path, got, want)
		}
	}
	ids := []string{mine.ID}
	for range 4 {
		ids = append(ids, subscribe(w.Merchant.ID, w.Merchant.Plan, w.Merchant.Customer).ID)
	}
	slices.Sort(ids)
	for _, first := range []string{"/subscriptions?limit=2", "/subscriptions?customer=" + w.Merchant.Customer + "&limit=2"} {
		var got []string
		for path := own + first; path != ""; {
			page := read[api.SubscriptionList](t, w.call(w.get(path)))
			if len(page.Subscriptions) > 2 {
				t.Errorf("%s has %d subscriptions, want at most 2", path, len(page.Subscriptions))
			}
			for _, s := range page.Subscriptions {
				got = append(got, s.ID)
			}
			path = ""
			for _, link := range page.Links {
				if link.Rel == "next" {
					path = link.Href
				}
			}
		}
		if !slices.Equal(got, ids) {
			t.Errorf("the pages from %s have %q, want %q", first, got, ids)
		}
	}
	for id, want := range map[string]int{mine.ID: 200, theirs.ID: 404, nobody: 404, "x": 404} {
		if got := w.call(w.get(own + "/subscriptions/" + id)); got.status != want {
			t.Errorf("subscription %s: got %d %s, want %d", id, got.status, got.body, want)
		}
	}
	if got := w.call(w.get("/v1/merchants/" + w.Other.ID + "/plans")); got.status != http.StatusNotFound {
		t.Errorf("another merchant's plans: got %d, want 404", got.status)
	}
}

// An answer about a merchant shows which values new orders use. Only the answer about one merchant counts its live runs.
func TestTheValuesInForce(t *testing.T) {
	w := newWorld(t)
	path := "/v1/merchants/" + w.Merchant.ID
	before := read[api.Merchant](t, w.call(w.admin("GET", path, "")))
	if f := before.InForce; f == nil || f.MaxLiveRuns != 1000 || f.Domain == "" || len(f.CustomerRoles) == 0 || len(f.SubscriptionRoles) == 0 || before.LiveRuns == nil {
		t.Fatalf("got %+v", before)
	}
	after := read[api.Merchant](t, w.call(w.admin("PATCH", path, `{"max_live_runs": 7, "domain": "Default", "customer_roles": ["bs-admin"]}`)))
	want := api.InForce{Domain: "Default", CustomerRoles: api.Roles{"bs-admin"}, SubscriptionRoles: before.InForce.SubscriptionRoles, MaxLiveRuns: 7}
	if !reflect.DeepEqual(*after.InForce, want) || after.LiveRuns != nil {
		t.Errorf("got %+v, want %+v", *after.InForce, want)
	}
	own := read[api.Merchant](t, w.call(request{path: path, portal: w.Merchant}))
	if own.InForce == nil || !reflect.DeepEqual(*own.InForce, want) {
		t.Errorf("the merchant itself: got %+v", own)
	}
	found := read[api.MerchantList](t, w.call(w.admin("GET", "/v1/merchants?name=SHOP", ""))).Merchants
	if len(found) != 1 || found[0].MerchantID != w.Merchant.ID || found[0].LiveRuns != nil {
		t.Errorf("found by name: got %+v", found)
	}
}

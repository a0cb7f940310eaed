package portal_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/portal"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The type `world` is a service with portals, whose upstreams can be made to fail. The merchant sells the plans "Small" and "Large" with a
// product, and a plan without products.
type world struct {
	*servicetest.Installation
	home         string // URL of the portal
	small, large billing.Plan
	refuse       atomic.Bool  // BillingStack refuses new subscriptions
	down         atomic.Bool  // BillingStack answers each write with 503
	keystoneDown atomic.Bool  // Keystone answers each request with 503
	later        atomic.Int64 // how much later the service believes it is, in nanoseconds
}

// rules are Keystone's rules for passwords.
var rules = keystonetest.PasswordRules{Regex: regexp.MustCompile(`^.{8,}$`), Description: "at least eight characters"}

func newWorld(t *testing.T, change ...func(*service.Options)) *world {
	t.Helper()
	w := &world{}
	w.Installation = servicetest.New(t, servicetest.Options{TLS: true, Portal: true, Keystone: keystonetest.Options{PasswordRules: rules}, Around: w.around, Change: func(o *service.Options) {
		o.LateWindow, o.TripsAfter, o.LoginRate = time.Millisecond, 1_000_000, 1000
		o.Now = func() time.Time { return time.Now().Add(time.Duration(w.later.Load())) }
		for _, c := range change {
			c(o)
		}
	}})
	w.home = w.URL + portal.Path + w.Merchant.ID + "/"
	product, err := w.Billing.CreateProduct(t.Context(), w.Merchant.ID, billing.Product{
		ID: uuid.NewString(), Name: "vCPU hour", Description: "one virtual CPU", Pricing: []any{map[string]any{"type": "fixed", "price": 0.02}},
	})
	must(t, err)
	w.small, w.large = w.plan(t, "Small", product), w.plan(t, "Large", product)
	return w
}

func (w *world) plan(t *testing.T, name string, products ...billing.Product) billing.Plan {
	t.Helper()
	made, err := w.Billing.CreatePlan(t.Context(), w.Merchant.ID, billing.Plan{ID: uuid.NewString(), Name: name, Description: "About " + name})
	must(t, err)
	for _, p := range products {
		must(t, w.Billing.AddPlanItem(t.Context(), w.Merchant.ID, made.ID, p.ID))
	}
	return made
}

// The method `vanish` deletes a plan in BillingStack.
func (w *world) vanish(t *testing.T, plan string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, w.BillingURL+"/merchants/"+w.Merchant.ID+"/plans/"+plan, nil)
	must(t, err)
	resp, err := http.DefaultClient.Do(r)
	must(t, err)
	must(t, resp.Body.Close())
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("deleting the plan: status %d", resp.StatusCode)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (w *world) around(upstream string, next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		stack := upstream == service.BillingStack
		switch {
		case stack && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/subscriptions") && w.refuse.Load():
			return answer(r, http.StatusBadRequest, `{"error": {"code": 400, "message": "the books are closed", "title": "Bad Request"}}`), nil
		case stack && r.Method != http.MethodGet && w.down.Load(), !stack && w.keystoneDown.Load():
			return answer(r, http.StatusServiceUnavailable, "down"), nil
		}
		return next.RoundTrip(r)
	})
}

func answer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// The type `visitor` is a browser without JavaScript.
type visitor struct {
	t      *testing.T
	w      *world
	client *http.Client
}

// The type `page` is an answer of the portal.
type page struct {
	status int
	at     string // the path and query of the page below the first page, after redirects
	header http.Header
	text   string
}

func (w *world) visitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	c := *w.Client
	c.Jar = jar
	return &visitor{t, w, &c}
}

func (v *visitor) do(r *http.Request, err error) page {
	v.t.Helper()
	must(v.t, err)
	resp, err := v.client.Do(r)
	must(v.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(v.t, err)
	return page{resp.StatusCode, strings.TrimPrefix(resp.Request.URL.String(), v.w.home), resp.Header, string(text)}
}

func (v *visitor) get(path string) page {
	v.t.Helper()
	return v.do(http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.w.home+path, nil))
}

func (v *visitor) post(path string, form url.Values, headers ...string) page {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, v.w.home+path, strings.NewReader(form.Encode()))
	must(v.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return v.do(r, nil)
}

var nonceField = regexp.MustCompile(`name="nonce" value="([A-Z2-7]{26})"`)

// The method `form` opens a page, and returns its form with the given fields: names and values by turns.
func (v *visitor) form(path string, fields ...string) url.Values {
	v.t.Helper()
	p := v.get(path)
	found := nonceField.FindStringSubmatch(p.text)
	if found == nil {
		v.t.Fatalf("%s has no form: %d at %s\n%s", path, p.status, p.at, p.text)
	}
	form := url.Values{"nonce": {found[1]}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return form
}

// The method `registered` returns a visitor who has created an account and has logged in.
func (w *world) registered(t *testing.T, name string) *visitor {
	t.Helper()
	v := w.visitor(t)
	if p := v.post("register", v.form("register", "name", name, "password", "secret-1", "repeated", "secret-1")); p.status != http.StatusOK || p.at != "" {
		t.Fatalf("registering: %d at %s\n%s", p.status, p.at, p.text)
	}
	return v
}

// The method `subscribed` orders a plan, waits until the run has succeeded, and returns the paths of the run and of the subscription.
func (v *visitor) subscribed(plan string) (run, subscription string) {
	v.t.Helper()
	p := v.post("order", v.form("order?plan="+plan, "plan", plan, "name", "Somebody"))
	if !strings.HasPrefix(p.at, "orders/") {
		v.t.Fatalf("ordering: %d at %s\n%s", p.status, p.at, p.text)
	}
	run = p.at
	found := subscriptionLink.FindString(v.ended(run).text)
	if found == "" {
		v.t.Fatalf("the run %s has no subscription", run)
	}
	return run, found
}

// The method `used` subscribes ann, and lets three hours pass in which 30 vCPU hours are used. It returns the path of the
// subscription.
func (w *world) used(t *testing.T) (subscription string) {
	t.Helper()
	begin := time.Now().UTC().Truncate(time.Hour).Add(-4 * time.Hour)
	w.later.Store(int64(time.Until(begin)))
	v := w.registered(t, "ann")
	_, subscription = v.subscribed(w.small.ID)
	found, err := w.Billing.Subscription(t.Context(), w.Merchant.ID, strings.TrimPrefix(subscription, "subscriptions/"))
	must(t, err)
	var samples []servicetest.Sample
	for hour := range 4 {
		at := begin.Add(time.Duration(hour)*time.Hour + 59*time.Minute)
		samples = append(samples, servicetest.Sample{Meter: "vCPU hour", Unit: "h", At: at, Volume: 10 * hour},
			servicetest.Sample{Meter: "memory", Unit: "MB", At: at, Volume: 7 * hour})
	}
	w.later.Store(int64(time.Until(begin.Add(4*time.Hour + 16*time.Minute))))
	w.Meter(t, found.ResourceID).Post(t, samples...)
	for deadline := time.Now().Add(time.Minute); !strings.Contains(v.get(subscription).text, `<td class="amount">30</td>`); {
		if time.Now().After(deadline) {
			t.Fatalf("the usage does not come:\n%s", v.get(subscription).text)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return subscription
}

var subscriptionLink = regexp.MustCompile(`subscriptions/[0-9a-f-]{36}`)

// The method `ended` follows a run as the script of the page does, until the part of the page has nothing more to follow.
func (v *visitor) ended(run string) page {
	v.t.Helper()
	seen := ""
	for deadline := time.Now().Add(time.Minute); ; {
		p := v.get(run + "/steps?seen=" + seen)
		switch next := following.FindStringSubmatch(p.text); {
		case p.status == http.StatusNoContent:
		case p.status != http.StatusOK:
			v.t.Fatalf("following %s: %d\n%s", run, p.status, p.text)
		case next == nil:
			return p
		default:
			seen = next[1]
		}
		if time.Now().After(deadline) {
			v.t.Fatalf("%s has not ended within a minute", run)
		}
	}
}

var following = regexp.MustCompile(`data-follow="[^"]*\?seen=([^"]*)"`)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

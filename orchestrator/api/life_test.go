package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The type `sub` is a subscription of a test.
type sub struct {
	w          *world
	id, tenant string
	customer   string
}

// The method `subscribed` subscribes the user of the installation.
func (w *world) subscribed(key string) sub {
	w.t.Helper()
	a := w.call(w.order(key))
	if a.status != http.StatusCreated {
		w.t.Fatalf("%d %s", a.status, a.body)
	}
	made := read[api.Run](w.t, a)
	return sub{w, idOf(made, "subscription_id"), idOf(made, "subscription_tenant_id"), idOf(made, "customer_id")}
}

// The method `changes` sends a request for a change, and returns the run. If the answer is not 201, the test fails.
func (w *world) changes(q request) api.Run {
	w.t.Helper()
	a := w.call(q)
	if a.status != http.StatusCreated {
		w.t.Fatalf("%s: got %d %s", q.path, a.status, a.body)
	}
	return read[api.Run](w.t, a)
}

// The method `seen` returns the subscription as the API shows it.
func (s sub) seen() api.BilledSubscription {
	s.w.t.Helper()
	return read[api.BilledSubscription](s.w.t, s.w.call(s.w.get("/v1/merchants/"+s.w.Merchant.ID+"/subscriptions/"+s.id)))
}

// The method `is` checks the state of the subscription, whether its tenant is enabled, and the number of roles on its tenant.
func (s sub) is(when string, state api.SubscriptionState, enabled bool, roles int) {
	s.w.t.Helper()
	got := s.seen()
	if got.State == nil || *got.State != state || got.EndsAt == nil == (state == "ending") {
		s.w.t.Errorf("%s: got %+v, want %s", when, got, state)
	}
	if p, err := s.w.Identity.Project(s.w.t.Context(), s.tenant); err != nil || p.Enabled != enabled {
		s.w.t.Errorf("%s: got the project %+v, %v; want enabled %t", when, p, err, enabled)
	}
	held := 0
	for _, a := range s.w.Keystone.Assignments() {
		if a.ProjectID == s.tenant {
			held++
		}
	}
	if held != roles {
		s.w.t.Errorf("%s: there are %d roles on the tenant, want %d", when, held, roles)
	}
}

func TestASubscriptionIsEndedAndRestored(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) { endedAndRestored(t, database) })
	t.Run("Identity v2.0", func(t *testing.T) { endedAndRestored(t, "", withIdentityV2) })
}

func endedAndRestored(t *testing.T, database string, change ...func(*servicetest.Options)) {
	w := newWorldOf(t, database, change...)
	s := w.subscribed("k")
	w.refused(w.change(s.id, "restore", "early"), http.StatusConflict, "subscription-not-ending")
	w.refused(w.asOperator(w.change(s.id, "remove", "early")), http.StatusConflict, "subscription-not-ending")
	s.is("made", "active", true, 1)

	ended := w.changes(w.change(s.id, "unsubscribe", "u1"))
	s.is("ended", "ending", false, 0)
	if ended.Result == nil || idOf(ended, "state") != "ending" {
		t.Errorf("the run: got %+v", ended.Result)
	}
	if at := time.Until(*s.seen().EndsAt); at < 167*time.Hour || at > 169*time.Hour {
		t.Errorf("the tenant is to be removed in %s, want a week", at)
	}
	for _, name := range []string{"unsubscribe", "suspend", "resume"} {
		w.refused(w.change(s.id, name, "again-"+name), http.StatusConflict, "subscription-ending")
	}
	w.refused(w.change(s.id, "remove", "portal"), http.StatusForbidden, "forbidden")
	w.refused(w.asOperator(w.change(s.id, "remove", "soon")), http.StatusConflict, "tenant-not-settled")
	if again := w.call(w.change(s.id, "unsubscribe", "u1")); again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the repeated request: got %d %s", again.status, again.body)
	}

	w.changes(w.change(s.id, "restore", "r1"))
	s.is("restored", "active", true, 1)
	w.refused(w.change(s.id, "restore", "r2"), http.StatusConflict, "subscription-not-ending")

	w.changes(w.asOperator(w.change(s.id, "suspend", "s1")))
	w.changes(w.change(s.id, "unsubscribe", "u2"))
	s.is("ended while suspended", "ending", false, 0)
	w.changes(w.change(s.id, "restore", "r3"))
	s.is("restored as it was", "suspended", false, 1)
	w.refused(w.change(s.id, "resume", "r4"), http.StatusForbidden, "suspended-by-operator")
	w.changes(w.asOperator(w.change(s.id, "resume", "r5")))
	s.is("resumed", "active", true, 1)
}

// If the portal names another user, a restore gives the roles to this user. If the subscriber no longer exists and the portal names
// no other user, nobody gets the roles.
func TestASubscriptionWhoseSubscriberIsGone(t *testing.T) {
	w := newWorldOf(t, "")
	s := w.subscribed("k")
	w.Keystone.RemoveUser(w.User)
	w.changes(w.change(s.id, "unsubscribe", "u1"))
	s.is("ended", "ending", false, 0)
	restored := w.changes(w.change(s.id, "restore", "r1"))
	if restored.Result["subscriber_gone"] != true {
		t.Errorf("the run does not say that the subscriber is gone: %+v", restored.Result)
	}
	s.is("restored", "active", true, 0)

	w.changes(w.change(s.id, "unsubscribe", "u2"))
	other := w.Keystone.AddUser(keystonetest.User{Name: "bob", Password: "pw"})
	abroad := w.Keystone.AddUser(keystonetest.User{Name: "eve", Password: "pw", DomainID: w.Keystone.AddDomain("abroad")})
	with := func(user, key string) request {
		q := w.change(s.id, "restore", key)
		q.body = fmt.Sprintf(`{"why": "a test", "add_user": %q}`, user)
		return q
	}
	for n, user := range []string{abroad, "nobody", w.User} {
		a := w.refused(with(user, fmt.Sprint("bad", n)), http.StatusBadRequest, "invalid-params")
		if !strings.Contains(a.body, "/add_user") {
			t.Errorf("the answer does not name the field: %s", a.body)
		}
	}
	w.changes(with(other, "r2"))
	s.is("restored for another user", "active", true, 1)
	if !slices.ContainsFunc(w.Keystone.Assignments(), func(a keystone.Assignment) bool { return a.ProjectID == s.tenant && a.UserID == other }) {
		t.Errorf("the other user has no role: %v", w.Keystone.Assignments())
	}
}

func TestAnEndingIsHeld(t *testing.T) { onBoth(t, endingHeld) }

func endingHeld(t *testing.T, database string) {
	w := newWorldOf(t, database)
	s := w.subscribed("k")
	hold := func(method string) request {
		q := w.asOperator(w.change(s.id, "hold", ""))
		q.method, q.header = method, nil
		if method == http.MethodDelete {
			q.body = ""
		}
		return q
	}
	w.refused(hold(http.MethodPut), http.StatusConflict, "subscription-not-ending")
	w.changes(w.change(s.id, "unsubscribe", "u1"))
	portal := hold(http.MethodPut)
	portal.operator, portal.portal = "", w.Merchant
	w.refused(portal, http.StatusForbidden, "forbidden")
	empty := hold(http.MethodPut)
	empty.body = `{"why": " "}`
	w.refused(empty, http.StatusBadRequest, "invalid-params")
	for range 2 {
		held := read[api.BilledSubscription](t, w.call(hold(http.MethodPut)))
		if h := held.EndingHeld; h == nil || h.Why != "a test" || !strings.HasPrefix(h.Who, "olga") || h.At.IsZero() {
			t.Errorf("the hold: %+v", h)
		}
	}
	for range 2 {
		if held := read[api.BilledSubscription](t, w.call(hold(http.MethodDelete))).EndingHeld; held != nil {
			t.Errorf("the hold is not lifted: %+v", held)
		}
	}
}

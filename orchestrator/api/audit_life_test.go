package api_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The method `audited` executes an audit of everything, and returns the audit and all open findings.
func (w *world) audited() (audit.Audit, []audit.Finding) {
	w.t.Helper()
	store := w.Store.Audits()
	id := read[api.Audit](w.t, w.call(w.admin("POST", "/v1/audits", "{}"))).ID
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		a, err := store.Audit(w.t.Context(), id)
		must(w.t, err)
		if !a.State.Ended() {
			continue
		}
		open, err := store.Findings(w.t.Context(), audit.Filter{Statuses: []audit.Status{audit.New, audit.Known}, Limit: 100})
		must(w.t, err)
		return a, open
	}
	w.t.Fatal("the audit does not end")
	return audit.Audit{}, nil
}

// The method `sound` executes an audit, which must be complete and find nothing.
func (w *world) sound(when string) {
	w.t.Helper()
	a, open := w.audited()
	if a.State != audit.Complete {
		w.t.Errorf("%s: the audit is %s: %v %s", when, a.State, a.Gaps, a.Failure)
	}
	for _, f := range open {
		w.t.Errorf("%s: %s: %s", when, f.Code, f.Detail)
	}
}

// An audit finds nothing in any state of a subscription's life.
func TestAnAuditFindsNothingInTheLifeOfASubscription(t *testing.T) {
	t.Run("Identity v3", func(t *testing.T) { soundLife(t) })
	t.Run("Identity v2.0", func(t *testing.T) { soundLife(t, withIdentityV2) })
}

// withIdentityV2 is an option of a world whose Keystone is used with Identity v2.0.
func withIdentityV2(o *servicetest.Options) { o.Keystone.Pike = true }

func soundLife(t *testing.T, change ...func(*servicetest.Options)) {
	c := newCalendar(t, change...)
	c.sound("before the first subscription")
	gaps := []string{}
	a, _ := c.audited()
	for _, g := range a.Gaps {
		gaps = append(gaps, g.Code)
	}
	want := []string{}
	if len(change) > 0 {
		want = []string{audit.GapNotShown}
	}
	if !slices.Equal(gaps, want) {
		t.Errorf("not assessed: got %v, want %v", gaps, want)
	}
	s := c.subscribed("k0")
	c.sound("subscribed")
	other := c.another(s.customer, "k1")
	c.sound("a second subscription")
	c.changes(c.change(s.id, "suspend", "s"))
	c.sound("suspended")
	c.changes(c.change(s.id, "resume", "r"))
	c.sound("resumed")
	c.changes(c.change(s.id, "unsubscribe", "u"))
	c.sound("ending")
	c.changes(c.change(s.id, "restore", "b"))
	c.sound("restored")
	for n, s := range []sub{s, other} {
		c.changes(c.change(s.id, "unsubscribe", fmt.Sprint("u", n)))
		c.step(week + time.Minute)
		c.until("the tenant is removed", func() bool { return !c.project(s.tenant) && *s.seen().State == "ended" })
		c.sound("the tenant is removed")
		c.step(months + time.Minute)
		c.until("the subscription is gone", func() bool {
			_, err := c.Billing.Subscription(t.Context(), c.Merchant.ID, s.id)
			return errors.Is(err, billing.ErrNotFound)
		})
	}
	tenant := c.customerTenant(s.customer)
	c.until("the customer is gone", func() bool { return !c.customer(s.customer) })
	c.untilDisabled(tenant)
	c.sound("the customer is gone")
	c.step(11 * time.Minute)
	c.until("the tenant of the customer is gone", func() bool { return !c.project(tenant) })
	c.sound("nothing is left")
}

// The service starts one audit in each interval by itself.
func TestTheServiceStartsAudits(t *testing.T) {
	w := newWorld(t, changed(func(o *service.Options) { o.AuditEvery = time.Hour }))
	c := &calendar{world: w}
	c.until("an audit ends", func() bool {
		all, err := w.Store.Audits().Audits(t.Context(), "", 10)
		must(t, err)
		return len(all) == 1 && all[0].By == audit.Scheduled && all[0].State == audit.Complete
	})
}

// If Keystone refuses the login with the credential for audits, the audit has a gap. Orders are not affected.
func TestARefusedCredentialOfAuditsStopsNoOrders(t *testing.T) {
	w := newWorld(t, changed(func(o *service.Options) {
		own := o.Cloud
		o.AuditCloud = "reader"
		o.Cloud = func(name string) (conn.Config, error) {
			cfg, err := own(merchants.DefaultCloud)
			if name == o.AuditCloud {
				cfg.Credential.Password = "expired"
			}
			return cfg, err
		}
	}))
	a, open := w.audited()
	if a.State != audit.Incomplete || len(open) > 0 || len(a.Gaps) == 0 || a.Gaps[0].Code != audit.GapKeystoneUnavailable {
		t.Errorf("the audit is %s, %v, with %d findings", a.State, a.Gaps, len(open))
	}
	w.subscribed("k1")
}

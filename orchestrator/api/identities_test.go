package api_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/store/storetest"
)

// TestUsersWhoseIDIsNotHex subscribes users with ids as in LDAP, lists their runs, and compensates a run of each user.
func TestUsersWhoseIDIsNotHex(t *testing.T) { onBoth(t, usersWhoseIDIsNotHex) }

func usersWhoseIDIsNotHex(t *testing.T, database string) {
	// If refuse is set, BillingStack delays each PATCH until the function returns true, and then refuses the PATCH.
	var refuse atomic.Pointer[func() bool]
	w := newWorldOf(t, database, func(o *servicetest.Options) {
		next := o.Around
		o.Around = func(upstream string, to http.RoundTripper) http.RoundTripper {
			to = next(upstream, to)
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				ready := refuse.Load()
				if r.Method != http.MethodPatch || ready == nil {
					return to.RoundTrip(r)
				}
				for !(*ready)() && r.Context().Err() == nil {
					time.Sleep(time.Millisecond)
				}
				return &http.Response{
					StatusCode: http.StatusBadRequest, ProtoMajor: 1, ProtoMinor: 1, Request: r, Header: http.Header{},
					Body: io.NopCloser(strings.NewReader(`{"faultstring": "the books are closed"}`)),
				}, nil
			})
		}
	})
	first := read[api.Run](t, w.call(w.order("first")))
	for i, id := range []string{"john.doe", "m@example.org", "Ann Lee", "50%2F", "x?y#z&user=a", "ü;+", "...", strings.Repeat("é", 64)} {
		t.Run(id, func(t *testing.T) {
			refuse.Store(nil)
			w.Keystone.AddUser(keystonetest.User{ID: id, Name: id})
			q := w.order(fmt.Sprint("new-", i))
			q.header.Set("X-Subject-Token", w.Keystone.IssueToken(id))
			made := w.call(q)
			run := read[api.Run](t, made)
			if made.status != http.StatusCreated || made.header.Get("X-Subject-Token") == "" {
				t.Fatalf("got %d %s", made.status, made.body)
			}
			held := func(tenant string) (roles int) {
				for _, a := range w.Keystone.Assignments() {
					if a.UserID == id && a.ProjectID == tenant {
						roles++
					}
				}
				return roles
			}
			if got := held(idOf(run, "customer_tenant_id")); got != 2 {
				t.Errorf("the user has %d roles on the customer tenant, want 2", got)
			}
			if got := held(idOf(run, "subscription_tenant_id")); got != 1 {
				t.Errorf("the user has %d roles on the subscription tenant, want 1", got)
			}

			// The PATCH must fail after the roles are assigned, because a failed run begins no further step.
			refuse.Store(new(func() bool { return held(idOf(first, "customer_tenant_id")) == 2 }))
			q = w.order(fmt.Sprint("known-", i))
			q.header.Set("X-Subject-Token", w.Keystone.IssueToken(id))
			q.body = fmt.Sprintf(`{"plan_id": %q, "customer_id": %q, "add_user": true}`, w.Merchant.Plan, idOf(first, "customer_id"))
			undone := w.call(q)
			if undone.status != http.StatusConflict {
				t.Fatalf("got %d %s", undone.status, undone.body)
			}
			path := undone.header.Get("Location")
			compensated := read[api.Run](t, w.call(request{path: path, operator: w.OperatorToken}))
			tenant, removed := idOf(first, "customer_tenant_id"), ""
			for _, o := range compensated.Objects {
				if o.Kind == "role-assignment" && o.RemovedAt == nil {
					t.Errorf("the compensated run lists the assignment %q as existing", o.ID)
				}
				if o.Kind == "role-assignment" && strings.HasPrefix(o.ID, tenant) {
					removed = o.ID
				}
			}
			if got := held(tenant); got != 0 || !strings.HasPrefix(removed, tenant+"/"+id+"/") {
				t.Errorf("the user keeps %d roles, and the run lists the removed assignment %q", got, removed)
			}

			for query, want := range map[string][]string{
				"user=" + url.QueryEscape(id):                        {compensated.ID, run.ID},
				"object=role-assignment:" + url.QueryEscape(removed): {compensated.ID},
			} {
				var got []string
				for _, run := range read[api.RunList](t, w.call(request{path: "/v1/runs?" + query, operator: w.OperatorToken})).Runs {
					got = append(got, run.ID)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: got %v, want %v", query, got, want)
				}
			}
		})
	}
}

// TestNamesInAnotherCase configures domain and role names that differ from Keystone's names in upper and lower case. The test's Keystone
// ignores this difference, as a Keystone on MySQL does.
func TestNamesInAnotherCase(t *testing.T) {
	w := newWorldOf(t, storetest.SQLite(t), func(o *servicetest.Options) {
		o.Keystone.LooseNames = true
		o.Change = func(o *service.Options) {
			o.Domain, o.CustomerRoles = "DEFAULT", []string{"Member", "BS-Admin", "member"}
		}
	})
	made := w.call(w.order("k"))
	var roles []string
	for _, step := range read[api.Run](t, made).Steps {
		if role, ok := strings.CutPrefix(step.Name, "assign-customer-role/"); ok {
			roles = append(roles, role)
		}
	}
	if made.status != http.StatusCreated || !slices.Equal(roles, []string{"member", "bs-admin"}) {
		t.Errorf("got roles %v, %d %s", roles, made.status, made.body)
	}

	w.Keystone.AddRole("Gold")
	w.Keystone.AddRole("gold")
	for role, detail := range map[string]string{"GOLD": `"Gold", "gold"`, "ädmin": "users must not get the role"} {
		got := w.call(request{
			method: http.MethodPatch, path: "/v1/merchants/" + w.Merchant.ID, operator: w.OperatorToken, body: fmt.Sprintf(`{"customer_roles": [%q]}`, role),
		})
		p := read[api.Problem](t, got)
		if got.status != http.StatusBadRequest || p.InvalidParams == nil || !strings.Contains((*p.InvalidParams)[0].Detail, detail) {
			t.Errorf("%s: got %d %s, want 400 about %s", role, got.status, got.body, detail)
		}
	}
}

// TestTheDocumentAllowsTheIDsThatCanBeUsed compares the schema KeystoneID with keystone.ValidID.
func TestTheDocumentAllowsTheIDsThatCanBeUsed(t *testing.T) {
	schema := newWorld(t).document.doc.Components.Schemas["KeystoneID"].Value
	for _, id := range []string{
		"3c2a9c5a6f0b4b3f8f3e0d8e6f5c4b3a", "default", "john.doe", "m@example.org", "cn=Ann Lee,ou=people", "50%", "%2f", " ", "x?y#z", `a\b`, "ü",
		"...", "....", ".a", "..a", ".a.", "a.", "-", strings.Repeat("a", 64), strings.Repeat("é", 64), "...a/", ".a/",
		"", ".", "..", "/", "a/b", "../a", "a/", "a\x00", "\n", "..\n", "\x7f", "a\u0085", strings.Repeat("a", 65), strings.Repeat("é", 65),
	} {
		if allowed := schema.VisitJSON(id) == nil; allowed != keystone.ValidID(id) {
			t.Errorf("%q: the document allows it: %t, want %t", id, allowed, keystone.ValidID(id))
		}
	}
}

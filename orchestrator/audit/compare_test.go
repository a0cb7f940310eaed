package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

type damage struct {
	name   string
	damage func(*house)
	want   []Code
}

// The variable `damages` lists changes to a house. Each change has the codes of the findings that it must cause.
var damages = []damage{
	{"nothing", func(*house) {}, nil},
	{"a subscription's tenant is deleted", func(h *house) { h.cloud("default").dropProject("p-m1-c0-s0") }, []Code{SubscriptionWithoutTenant}},
	{"a customer's tenant is deleted", func(h *house) { h.cloud("default").dropProject("p-m1-c0") }, []Code{CustomerWithoutTenant}},
	{"a subscription is deleted", func(h *house) { delete(h.world.subscriptions, "m1-c0-s0") }, []Code{TenantWithoutSubscription}},
	{"a subscription is deleted with its tenant", func(h *house) {
		delete(h.world.subscriptions, "m1-c0-s0")
		h.cloud("default").dropProject("p-m1-c0-s0")
	}, []Code{ObjectsGone}},
	{"a customer is deleted with its subscriptions", func(h *house) {
		delete(h.world.customers, "m1-c0")
		delete(h.world.subscriptions, "m1-c0-s0")
		delete(h.world.subscriptions, "m1-c0-s1")
	}, []Code{TenantWithoutCustomer, TenantWithoutSubscription, TenantWithoutSubscription}},
	{"a stranger's project has the name of a tenant", func(h *house) {
		h.makeProject("x", keystone.SubscriptionTenant("nobody"), nil)
	}, []Code{TenantWithoutSubscription}},
	{"a stranger's project has the name of a customer's tenant", func(h *house) {
		h.makeProject("x", keystone.CustomerTenant("nobody"), nil)
	}, []Code{TenantWithoutCustomer}},
	{"a tenant of another installation", func(h *house) {
		h.makeProject("x", keystone.CustomerTenant("nobody"), keystone.TenantTags(otherRun, "m9", "another"))
	}, nil},
	{"two projects with one name", func(h *house) {
		h.makeProject("x", keystone.SubscriptionTenant("m1-c0-s0"), nil)
	}, []Code{TenantDuplicate}},
	{"a tenant is renamed", func(h *house) { h.p("p-m1-c0-s0").Name = "old" }, []Code{TenantRenamed}},
	{"a tenant is disabled", func(h *house) { h.p("p-m1-c0-s0").Enabled = false }, []Code{TenantDisabled}},
	{"a suspended tenant is enabled", func(h *house) {
		h.run("m1", "m1-c0", saga.Succeeded, []saga.Expected{
			expected(kindProject, "p-m1-c0-s0", keystone.SubscriptionTenant("m1-c0-s0"), saga.Adopted, map[string]string{"enabled": "false"}),
		})
	}, []Code{TenantEnabled}},
	{"a subscription is unbilled", func(h *house) { h.s("m1-c0-s0").resource = "pending:" + otherRun }, []Code{ResourcePlaceholder}},
	{"a subscription bills no project", func(h *house) {
		h.s("m1-c0-s0").resource = "nowhere"
		h.cloud("default").elsewhere["nowhere"] = nil
	}, []Code{ResourceNoProject}},
	{"a resource that was not looked for", func(h *house) { h.s("m1-c0-s0").resource = "nowhere" }, nil},
	{"a subscription bills another merchant's tenant", func(h *house) { h.s("m1-c0-s0").resource = "p-m2-c0-s0" }, []Code{ResourceOfOtherMerchant}},
	{"a subscription bills another merchant's customer tenant", func(h *house) { h.s("m1-c0-s0").resource = "p-m2-c0" }, []Code{ResourceOfOtherMerchant}},
	{"two subscriptions bill each other's tenant", func(h *house) {
		h.s("m1-c0-s0").resource, h.s("m1-c0-s1").resource = "p-m1-c0-s1", "p-m1-c0-s0"
	}, []Code{ResourceOfOtherSubscription, ResourceOfOtherSubscription}},
	{"two subscriptions bill one tenant", func(h *house) { h.s("m1-c0-s0").resource = "p-m1-c0-s1" }, []Code{ResourceShared}},
	{"a subscription bills the customer's tenant", func(h *house) { h.s("m1-c0-s0").resource = "p-m1-c0" }, []Code{ResourceForeignProject}},
	{"a subscription bills a project of another domain", func(h *house) {
		h.s("m1-c0-s0").resource = "far"
		h.cloud("default").elsewhere["far"] = &keystone.Project{ID: "far", Name: "far", DomainID: "d2"}
	}, []Code{ResourceInForeignDomain}},
	{"a role is revoked", func(h *house) { h.p("p-m1-c0-s0").grants = nil }, []Code{RoleMissing}},
	{"a user has a role", func(h *house) {
		h.cloud("default").users["u2"] = userEnabled
		h.give("p-m1-c0-s0", "u2", "r-reader")
	}, []Code{RoleExtraUser}},
	{"the subscriber has another role", func(h *house) { h.give("p-m1-c0-s0", "u-m1-c0", "r-reader") }, []Code{RoleExtraUser}},
	{"a group has a role", func(h *house) {
		h.cloud("default").addGrant(keystone.Granted{ProjectID: "p-m1-c0-s0", GroupID: "g", RoleID: "r-reader"})
	}, []Code{RoleExtraGroup}},
	{"a domain's role is inherited", func(h *house) {
		h.cloud("default").addGrant(keystone.Granted{DomainID: domain, UserID: "u2", RoleID: "r-reader", Inherited: true})
	}, []Code{RoleExtraInherited}},
	{"a domain's role is not inherited", func(h *house) {
		h.cloud("default").addGrant(keystone.Granted{DomainID: domain, UserID: "u2", RoleID: "r-reader"})
	}, nil},
	{"another domain's role is inherited", func(h *house) {
		h.cloud("default").addGrant(keystone.Granted{DomainID: "d2", UserID: "u2", RoleID: "r-reader", Inherited: true})
	}, nil},
	{"a deleted user has a role", func(h *house) {
		h.cloud("default").users["u2"] = userGone
		h.give("p-m1-c0-s0", "u2", "r-reader")
	}, []Code{RoleOfDeletedUser}},
	{"a disabled stranger has a role", func(h *house) {
		h.cloud("default").users["u2"] = userDisabled
		h.give("p-m1-c0-s0", "u2", "r-reader")
	}, []Code{RoleOfDisabledUser}},
	{"a disabled stranger has roles on two tenants", func(h *house) {
		h.cloud("default").users["u2"] = userDisabled
		h.give("p-m1-c0-s0", "u2", "r-reader")
		h.give("p-m1-c0-s1", "u2", "r-reader")
	}, []Code{RoleOfDisabledUser}},
	{"a run has made the lost tenant of a customer again", func(h *house) {
		h.cloud("default").dropProject("p-m1-c0")
		run := h.remakes("new")
		h.makeProject("new", keystone.CustomerTenant("m1-c0"), keystone.TenantTags(run, "m1", theInstallation))
		h.give("new", "u-other", "r-member")
		h.cloud("default").users["u-other"] = userEnabled
	}, []Code{RoleMissing}},
	{"a run has made a renamed tenant again", func(h *house) {
		h.p("p-m1-c0").Name = "old"
		run := h.remakes("new")
		h.makeProject("new", keystone.CustomerTenant("m1-c0"), keystone.TenantTags(run, "m1", theInstallation))
		h.give("new", "u-other", "r-member")
		h.give("new", "u-m1-c0", "r-member")
		h.cloud("default").users["u-other"] = userEnabled
	}, nil},
	{"an admin role on an adopted tenant", func(h *house) {
		h.adopt("p-adopted")
		h.give("p-adopted", "u2", "r-admin")
	}, []Code{RoleAdmin}},
	{"a missing subscription is back, but its tenant was removed", func(h *house) {
		missing := gone(kindSubscription, "m1-c0-s0")
		missing.On = "p-m1-c0-s0"
		h.run("m1", "m1-c0", saga.Succeeded, []saga.Expected{gone(kindProject, "p-m1-c0-s0"), missing})
		h.cloud("default").dropProject("p-m1-c0-s0")
	}, []Code{ObjectsLeft}},
	{"another merchant's run and too many tags", func(h *house) {
		p := h.p("p-m1-c0-s0")
		for i := range 30 {
			p.Tags = append(p.Tags, keystone.MerchantTag(fmt.Sprintf("merchant-with-a-long-id-%020d", i)))
		}
	}, []Code{TagOtherMerchant}},
	{"the subscriber is disabled", func(h *house) { h.cloud("default").users["u-m1-c0"] = userDisabled }, []Code{RoleOfDisabledUser}},
	{"the subscriber is deleted", func(h *house) { h.dropUser("u-m1-c0") }, []Code{SubscriberGone}},
	{"a user is admin", func(h *house) { h.give("p-m1-c0-s0", "u2", "r-admin") }, []Code{RoleAdmin}},
	{"a user has a role that implies admin", func(h *house) { h.give("p-m1-c0-s0", "u2", "r-boss") }, []Code{RoleAdmin}},
	{"somebody inherits admin", func(h *house) {
		h.cloud("default").addGrant(keystone.Granted{DomainID: domain, GroupID: "g", RoleID: "r-admin", Inherited: true})
	}, []Code{RoleAdmin}},
	{"a tag is removed", func(h *house) { h.p("p-m1-c0-s0").Tags = h.p("p-m1-c0-s0").Tags[1:] }, []Code{TagMissing}},
	{"all tags are removed", func(h *house) { h.p("p-m1-c0-s0").Tags = nil }, []Code{TagMissing}},
	{"another merchant's tag", func(h *house) {
		h.p("p-m1-c0-s0").Tags = append(h.p("p-m1-c0-s0").Tags, keystone.MerchantTag("m2"))
	}, []Code{TagOtherMerchant}},
	{"an unknown run's tag", func(h *house) {
		h.p("p-m1-c0-s0").Tags = append(h.p("p-m1-c0-s0").Tags, keystone.RunTag(otherRun))
	}, []Code{TagUnknownRun}},
	{"a stranger's tag", func(h *house) { h.p("p-m1-c0-s0").Tags = append(h.p("p-m1-c0-s0").Tags, "mine") }, nil},
	{"a plan is deleted", func(h *house) { h.s("m1-c0-s0").plan = "old" }, []Code{PlanGone}},
	{"a plan is changed", func(h *house) { h.s("m1-c0-s0").plan = "plan2" }, []Code{PlanDiffers}},
	{"a customer is moved to another merchant", func(h *house) {
		h.world.customers["m1-c0"].merchant = "m2"
		h.s("m1-c0-s0").merchant, h.s("m1-c0-s1").merchant = "m2", "m2"
	}, []Code{CustomerMoved}},
	{"a subscription is moved to another customer", func(h *house) { h.s("m1-c0-s0").customer = "m1-c1" }, []Code{SubscriptionMoved}},
	{"a compensated run has left a project", func(h *house) {
		run := h.run("m1", "new", saga.Compensated, nil)
		h.makeProject("x", keystone.SubscriptionTenant("new"), keystone.TenantTags(run, "m1", theInstallation))
	}, []Code{ObjectsLeft}},
	{"a compensated run has left a subscription and a customer", func(h *house) {
		h.run("m1", "new", saga.Compensated, []saga.Expected{
			expected(kindCustomer, "new", "", saga.Own, nil), expected(kindSubscription, "new-s", "", saga.Own, nil),
		})
		h.world.customers["new"] = &foundCustomer{"m1"}
		h.world.subscriptions["new-s"] = &foundSubscription{merchant: "m1", customer: "new", plan: "plan", resource: "pending:x"}
	}, []Code{ObjectsLeft, ObjectsLeft}},
	{"a removed subscription is back", func(h *house) {
		h.run("m1", "m1-c0", saga.Succeeded, []saga.Expected{gone(kindProject, "p-m1-c0-s0"), gone(kindSubscription, "m1-c0-s0")})
		h.cloud("default").dropProject("p-m1-c0-s0")
	}, []Code{ObjectsLeft}},
	{"a removed tenant is back", func(h *house) {
		h.run("m1", "m1-c0", saga.Succeeded, []saga.Expected{gone(kindProject, "p-m1-c0-s0")})
	}, []Code{ObjectsLeft}},
	{"a subscription has ended", func(h *house) {
		h.run("m1", "m1-c0", saga.Succeeded, []saga.Expected{gone(kindProject, "p-m1-c0-s0")})
		h.cloud("default").dropProject("p-m1-c0-s0")
	}, nil},
	{"a run waits for a person", func(h *house) { h.waitFor(25 * time.Hour) }, []Code{RunWaits}},
	{"a run has waited for an hour", func(h *house) { h.waitFor(time.Hour) }, nil},
	{"a project of a run in progress", func(h *house) {
		run := h.run("m1", "new", saga.Running, nil)
		h.makeProject("x", keystone.SubscriptionTenant("new"), keystone.TenantTags(run, "m1", theInstallation))
	}, nil},
	{"a run is changing the customer", func(h *house) {
		h.run("m1", "m1-c0", saga.Running, nil)
		h.p("p-m1-c0-s0").Enabled, h.p("p-m1-c0-s0").grants = false, nil
		delete(h.world.subscriptions, "m1-c0-s1")
	}, nil},
	{"a subscription that no run has made", func(h *house) {
		h.world.subscriptions["by-hand"] = &foundSubscription{merchant: "m1", customer: "m1-c0", plan: "plan", resource: "vm-1"}
	}, []Code{SubscriptionWithoutTenant}},
	{"a tenant is used before its subscription begins", func(h *house) {
		h.use(Unmatched{Reason: UsageNoSubscription, ProjectID: "p-m1-c0-s0", SubscriptionID: "m1-c0-s0"}, "3", 2, 2)
	}, []Code{UsageUnmatched}},
	{"a customer's tenant is used", func(h *house) {
		for i := range 7 {
			h.use(Unmatched{Reason: UsageNoSubscription, ProjectID: "p-m1-c0", Meter: fmt.Sprint("meter", i)}, "3", 5+i, 2-i)
		}
	}, []Code{UsageUnmatched}},
	{"a tenant is used after the end of its subscription", func(h *house) {
		h.use(Unmatched{Reason: UsageNotLive, ProjectID: "p-m1-c0-s0", SubscriptionID: "m1-c0-s0", State: "ending"}, "12.5", 7, 2)
		h.use(Unmatched{Reason: UsageNotLive, ProjectID: "p-m1-c0-s0", SubscriptionID: "m1-c0-s0", State: "ended"}, "1", 1, 1)
	}, []Code{UsageAfterEnd, UsageAfterEnd}},
	{"usage cannot be billed without the plan", func(h *house) {
		h.use(Unmatched{Reason: UsageNoPlan, ProjectID: "p-m1-c0-s0", SubscriptionID: "m1-c0-s0", State: "active"}, "3", 2, 2)
	}, []Code{UsageUnmatched}},
	{"a meter has no product", func(h *house) { h.use(Unmatched{Reason: UsageNoProduct}, "", 2, 1) }, []Code{UsageUnmatched}},
	{"a plan has two products with one name", func(h *house) { h.use(Unmatched{Reason: UsageAmbiguous}, "", 2, 1) }, []Code{UsageUnmatched}},
	{"a product has no price", func(h *house) {
		h.use(Unmatched{Reason: UsageNoPrice, SubscriptionID: "m1-c0-s0", Meter: "vCPU hours"}, "3", 2, 1)
	}, []Code{UsageUnpriced}},
	{"BillingStack has another value", func(h *house) {
		h.use(Unmatched{Reason: UsageOther, SubscriptionID: "m1-c0-s0", Meter: "vCPU hours"}, "0", 2, 1)
	}, []Code{UsageDiffers}},
	{"usage waits to be billed", func(h *house) {
		h.wait(WaitingUsage{Since: epoch.Add(-25 * time.Hour), Hours: 2})
	}, []Code{UsageWaiting}},
	{"a newer release gives another reason", func(h *house) { h.use(Unmatched{Reason: "new", ProjectID: "p-m1-c0-s0"}, "3", 2, 1) }, []Code{UsageUnmatched}},
}

// waitFor adds a run that needs a person, and that has waited for the duration d.
func (h *house) waitFor(d time.Duration) {
	h.store(&saga.Run{
		ID: otherRun, Workflow: "w", Merchant: "m1", Subject: "m1:new", State: saga.Waiting, AttentionAt: new(epoch.Add(-d)),
		Reason: &saga.Reason{Kind: saga.WaitsForOperator},
	}, nil)
}

func TestEachDamageIsFoundAndNothingElse(t *testing.T) {
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			h := newHouse()
			d.damage(h)
			var want []string
			for _, code := range d.want {
				want = append(want, string(code))
			}
			slices.Sort(want)
			if got := h.codes(); !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

func TestEachCodeIsFoundByADamage(t *testing.T) {
	found := map[Code]bool{SuspectAbsence: true} // other tests find it
	for _, d := range damages {
		for _, code := range d.want {
			found[code] = true
		}
	}
	for code := range rules {
		if !found[code] {
			t.Errorf("no damage leads to %s", code)
		}
	}
}

func TestAFindingSaysWhatIsWrongWhereAndWhatToDo(t *testing.T) {
	for _, d := range damages {
		h := newHouse()
		d.damage(h)
		for _, f := range h.compare() {
			if f.Detail == "" || f.Affected == "" || f.Repair.Advice == "" || f.ID == "" || len(f.Objects) == 0 || !slices.Contains(Severities, f.Severity) {
				t.Errorf("%s: incomplete finding: %+v", d.name, f)
			}
			if strings.Contains(f.Detail, "%!") {
				t.Errorf("%s: %s", d.name, f.Detail)
			}
		}
	}
}

// TestWhatWasNotReadIsNotAssessed makes each damage, and compares several times. Each time, another list counts as not read.
func TestWhatWasNotReadIsNotAssessed(t *testing.T) {
	parts := map[part]func(*house){
		partProjects:      func(h *house) { h.cloud("default").projectsRead = false; clear(h.cloud("default").domains) },
		partAssignments:   func(h *house) { h.cloud("default").assignmentsRead = false },
		partUsers:         func(h *house) { h.cloud("default").usersRead = false },
		partRoles:         func(h *house) { h.cloud("default").rolesRead = false },
		partImplied:       func(h *house) { h.cloud("default").impliedRead = false },
		partCustomers:     func(h *house) { h.merchant("m1").customersRead = false },
		partSubscriptions: func(h *house) { h.merchant("m1").subscriptionsRead = false },
		partPlans:         func(h *house) { h.merchant("m1").plansRead = false },
		partUsage:         func(h *house) { h.merchant("m1").usageRead = false },
		partRuns:          func(h *house) { h.whole = false },
	}
	for _, d := range damages {
		h := newHouse()
		d.damage(h)
		all := h.compare()
		for missing, drop := range parts {
			h := newHouse()
			d.damage(h)
			drop(h)
			got := h.compare()
			for _, f := range all {
				there := slices.ContainsFunc(got, func(other candidate) bool { return other.ID == f.ID })
				if there && slices.Contains(f.needs, missing) && f.MerchantID != "m2" {
					t.Errorf("%s: %s is reported, although %s were not read", d.name, f.Code, missing)
				}
			}
			if len(got) > len(all) {
				t.Errorf("%s without %s: more findings than with it: %v", d.name, missing, h.codes())
			}
		}
	}
}

// TestEmptyListsAreNoFindings compares the ledger with worlds in which one list lacks all objects, although the upstream has
// answered.
func TestEmptyListsAreNoFindings(t *testing.T) {
	empty := map[string]func(*house){
		"projects": func(h *house) {
			for id := range maps.Clone(h.cloud("default").projects) {
				h.cloud("default").dropProject(id)
			}
		},
		"assignments": func(h *house) {
			for _, p := range h.cloud("default").projects {
				p.grants = nil
			}
		},
		"users": func(h *house) {
			for id := range h.cloud("default").users {
				h.cloud("default").users[id] = userGone
			}
		},
		"customers":     func(h *house) { clear(h.world.customers) },
		"subscriptions": func(h *house) { clear(h.world.subscriptions) },
	}
	for list, clearIt := range empty {
		h := newHouse()
		for i := range 30 {
			h.subscribe("m1", fmt.Sprintf("more%d", i), fmt.Sprintf("more%d-s", i), true)
		}
		for i := range 30 {
			h.subscribe("m2", fmt.Sprintf("other%d", i), fmt.Sprintf("other%d-s", i), true)
		}
		if got := h.codes(); len(got) > 0 {
			t.Fatalf("a house without damage has findings: %v", got)
		}
		clearIt(h)
		for _, code := range h.codes() {
			if code != string(SuspectAbsence) {
				t.Errorf("no %s: %s is reported", list, code)
			}
		}
		if len(h.codes()) == 0 {
			t.Errorf("no %s: nothing is reported", list)
		}
	}
}

// TestSomeAbsencesAreReported makes 20 objects absent: each absence is reported. With one more absence, the list is suspect.
func TestSomeAbsencesAreReported(t *testing.T) {
	h := newHouse()
	for i := range 20 {
		h.subscribe("m1", fmt.Sprintf("more%d", i), fmt.Sprintf("more%d-s", i), true)
		h.cloud("default").dropProject(fmt.Sprintf("p-more%d-s", i))
	}
	if got := len(h.compare()); got != 20 {
		t.Errorf("%d findings, want 20", got)
	}
	h.cloud("default").dropProject("p-more0")
	got := h.codes()
	if len(got) != 1 || got[0] != string(SuspectAbsence) {
		t.Errorf("with 21 of 52 projects absent, got %v", got)
	}
}

// If allow_cloud_admin_role is set, runs may assign role admin. If a user has role admin, but no run has assigned it, the finding is
// still critical.
func TestAnAdminRoleThatIsAllowedIsForInformation(t *testing.T) {
	h := newHouse()
	h.allowAdmin = true
	h.run("m1", "m1-c0", saga.Succeeded, []saga.Expected{expected(kindAssignment, "p-m1-c0-s0/u-m1-c0/r-admin", "admin", saga.Own, nil)})
	h.give("p-m1-c0-s0", "u-m1-c0", "r-admin")
	h.give("p-m1-c0-s0", "u2", "r-admin")
	severities := map[string]Severity{}
	for _, f := range h.compare() {
		severities[string(f.Code)+" "+f.UserID] = f.Severity
	}
	want := map[string]Severity{"role-admin u-m1-c0": Info, "role-admin u2": Critical}
	if !maps.Equal(severities, want) {
		t.Errorf("got %v, want %v", severities, want)
	}
}

// An audit of one merchant reads only the lists of this merchant. If one of these lists is suspect, its absences are not reported one by
// one.
func TestASuspectListIsSuspectInEachScope(t *testing.T) {
	h := newHouse()
	for i := range 30 {
		h.subscribe("m1", fmt.Sprintf("more%d", i), fmt.Sprintf("more%d-s", i), true)
	}
	clear(h.world.customers)
	clear(h.world.subscriptions)
	h.merchant("m2").customersRead, h.merchant("m2").subscriptionsRead = false, false
	for _, code := range h.codes() {
		if code != string(SuspectAbsence) {
			t.Errorf("%s is reported", code)
		}
	}
	if len(h.codes()) == 0 {
		t.Error("nothing is reported")
	}
}

func TestAFindingHasTheSameIDInEveryAudit(t *testing.T) {
	for _, d := range damages {
		one, two := newHouse(), newHouse()
		d.damage(one)
		d.damage(two)
		a, b := one.compare(), two.compare()
		for i := range a {
			if a[i].ID != b[i].ID || a[i].Detail != b[i].Detail {
				t.Errorf("%s: %+v and %+v", d.name, a[i], b[i])
			}
		}
	}
}

// The tenant of a subscription is lost, and the subscription is billed for another project. The repair that creates the tenant again also
// sets the resource. If the audit also offered a repair of the resource, this second repair would set the id of the lost tenant as the
// resource. It would also change a value that the first repair depends on.
func TestTheResourceOfALostTenantIsNotSet(t *testing.T) {
	h := newHouse()
	h.cloud("default").dropProject("p-m1-c0-s0")
	h.s("m1-c0-s0").resource = "p-m1-c0"
	got := map[Code]RepairAction{}
	for _, f := range h.compare() {
		if got[f.Code] = f.Repair.Action; f.Repair.Action == "" && !strings.Contains(f.Repair.Advice, "create the subscription's tenant again") {
			t.Errorf("the advice is %q", f.Repair.Advice)
		}
	}
	if want := map[Code]RepairAction{SubscriptionWithoutTenant: CreateTenant, ResourceForeignProject: ""}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

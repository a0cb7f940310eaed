package stories_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/store/storetest"
)

// The type `audited` is a site. The test damages the site's objects directly in Keystone and BillingStack, and not with Tenantry.
type audited struct {
	*site
	url      string
	first    *replica
	refuse   *atomic.Bool // if true, BillingStack refuses to change subscriptions
	keystone string       // the file of Keystone's database
	domain   string       // the name of the domain of the tenants

	other       billing.Merchant // a merchant whose tenants are in another domain
	otherDomain string
	otherPlan   billing.Plan
	foreign     string // a project in a domain that no merchant has
	user, group string // a user and a group in the domain of the project `foreign`

	subscribed []subscribed
	next       int
	commands   []string       // commands for the openstack client
	inKeystone []string       // statements for Keystone's database
	inBilling  []string       // statements for BillingStack's database
	want       map[string]int // the expected number of findings of each code
}

// The type `subscribed` is a subscription, with the user and both tenants.
type subscribed struct {
	run, user, customer, customerTenant, id, tenant string
}

// auditSize returns the number of times that the test does each damage, and the number of subscriptions that the test makes and ends
// during the last audits.
func auditSize(t *testing.T) (damages, more int) {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("TENANTRY_TEST_AUDIT"), "0"))
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		return 1, 4
	}
	return 3, n
}

// TestAnAuditFindsAndRepairsEachDamageOnRealParts does each damage in the list `damages`: three times with `make audit`, and once with
// `make test`. It uses the openstack client and calls to BillingStack. If no call can do a damage, the test changes the database of
// Keystone or BillingStack. Then the test repairs the findings that have a repair, and accepts the rest.
func TestAnAuditFindsAndRepairsEachDamageOnRealParts(t *testing.T) {
	times, more := auditSize(t)
	a := newAudited(t)
	a.subscribeAll(max(times*len(damages), more))
	if got := a.audit(0); len(got) > 0 {
		t.Fatalf("before the damages, the audit finds %v", got)
	}
	for _, d := range damages {
		for range times {
			d(a)
		}
	}
	a.damage()
	if got := a.audit(6); !maps.Equal(got, a.want) {
		for _, code := range slices.Sorted(maps.Keys(got)) {
			if got[code] != a.want[code] {
				t.Errorf("%d findings %s, want %d: %s", got[code], code, a.want[code], a.run("audit", "findings", "--code", code, "-f", "json"))
			}
		}
		t.Errorf("got  %v\nwant %v", got, a.want)
	}
	a.repair()
	if got, want := a.audit(6), a.remaining(times); !maps.Equal(got, want) {
		t.Errorf("after the repair, the audit finds\n%v, want\n%v: %v", got, want, a.open())
	}
	a.accept()
	if got := a.audit(0); len(got) > 0 {
		t.Errorf("after the rest was accepted, the audit finds %v", a.open())
	}
	a.changeMeanwhile(more, func() {
		if got := a.audit(0); len(got) > 0 {
			t.Errorf("while subscriptions are made and ended, the audit finds %v", a.open())
		}
	})
}

func newAudited(t *testing.T) *audited {
	h := newHome(t)
	cloud, _ := ownKeystone(t, h, &upstream{})
	cloud.all = nil // otherwise, the checks at the end of the test would report the damages
	var refuse atomic.Bool
	in := &upstream{around: func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPatch && refuse.Load() {
			http.Error(w, `{"faultstring": "the books are closed"}`, http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	}}
	a := &audited{
		site: newSite(t, storetest.PostgreSQL(t), cloud, in), refuse: &refuse, keystone: h.dir + "/keystone.d/keystone.db", domain: "customers",
		want: map[string]int{},
	}
	a.env = append(a.env, "TENANTRY_DOMAIN="+cloud.domain, "TENANTRY_DEADLINE=20s")
	var err error
	a.other, err = a.billing.CreateMerchant(t.Context(), billing.Merchant{ID: uuid.NewString(), Name: "Other", Currency: "eur", Language: "eng"})
	a.ok(err)
	a.otherPlan, err = a.billing.CreatePlan(t.Context(), a.other.ID, billing.Plan{ID: uuid.NewString(), Name: "other"})
	a.ok(err)
	a.otherDomain = a.made("domains", "domain", map[string]any{"name": "others"})
	a.run("merchant", "create", a.other.ID, "--name", "Other", "--domain", a.otherDomain)
	nobodys := a.made("domains", "domain", map[string]any{"name": "nobodys"})
	a.foreign = a.made("projects", "project", map[string]any{"name": "theirs", "domain_id": nobodys})
	a.user = a.made("users", "user", map[string]any{"name": "someone", "domain_id": nobodys})
	a.group = a.made("groups", "group", map[string]any{"name": "some", "domain_id": nobodys})
	a.first = a.serve()
	a.url = a.first.url
	a.env = append(a.env, "TENANTRY_URL="+a.url)
	return a
}

// The method `made` creates an object in Keystone, and returns its id.
func (a *audited) made(list, kind string, body map[string]any) string {
	a.t.Helper()
	var answer map[string]struct{ ID string }
	a.cloud.call(a.t, http.MethodPost, "/"+list, map[string]any{kind: body}, &answer)
	return answer[kind].ID
}

// subscribeAll subscribes n users. For each user, it creates a new customer.
func (a *audited) subscribeAll(n int) {
	a.subscribed = make([]subscribed, n)
	sideBySide(n, func(i int) { a.subscribed[i] = a.subscription(fmt.Sprint("order-", i)) })
	if a.t.Failed() {
		a.t.FailNow()
	}
}

// sideBySide calls f for each number from 0 to n-1, with four calls at a time.
func sideBySide(n int, f func(i int)) {
	numbers := make(chan int, n) // has room for all numbers: if a call of f ends its goroutine, the sender is not blocked
	for i := range n {
		numbers <- i
	}
	close(numbers)
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			for i := range numbers {
				f(i)
			}
		})
	}
	calls.Wait()
}

// The method `subscription` subscribes a new user, and returns the subscription.
func (a *audited) subscription(key string) subscribed {
	user, token := a.cloud.newUser(a.t)
	var made run
	a.unmarshal(a.insist(a.url, a.portal(order{key: key, token: token})).Body, &made)
	return subscribed{
		made.ID, user, made.of("customer_id"), made.of("customer_tenant_id"), made.of("subscription_id"),
		made.of("subscription_tenant_id"),
	}
}

// The method `one` returns a subscription that has no damage yet.
func (a *audited) one() subscribed {
	a.next++
	return a.subscribed[a.next-1]
}

// toldTo returns a portal that requests a change of the subscription.
func (a *audited) toldTo(s subscribed, change string) portal {
	return a.change(change+"-"+s.id, s.id, change, `{"why": "a test"}`)
}

// The method `openstack` adds a command for the openstack client. The command must lead to a finding with the code. If the code is empty,
// the command must not lead to a finding.
func (a *audited) openstack(code, format string, args ...any) {
	a.commands = append(a.commands, fmt.Sprintf(format, args...))
	a.expect(code)
}

func (a *audited) expect(code string) {
	if code != "" {
		a.want[code]++
	}
}

// The method `damage` executes the commands, and then the statements.
func (a *audited) damage() {
	a.t.Helper()
	input := strings.NewReader(strings.Join(a.commands, "\n") + "\n")
	out := a.tool(input, "openstack")
	if strings.Contains(out, "not an openstack command") || strings.Contains(out, "usage:") || strings.Contains(out, "No ") || strings.Contains(out, "HTTP ") {
		a.t.Fatalf("the openstack client says: %s", out)
	}
	a.execute(a.keystone, a.inKeystone)
	a.execute(strings.TrimPrefix(a.billingFile, "sqlite:"), a.inBilling)
}

// The method `execute` executes statements in an SQLite database.
func (a *audited) execute(file string, statements []string) {
	a.t.Helper()
	const script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); [c.execute(s) for s in sys.argv[2:]]; c.commit()"
	a.tool(nil, "/usr/bin/python3", slices.Concat([]string{"-c", script, file}, statements)...)
}

// The method `tool` executes a command as the admin of Keystone, and returns all of its output.
func (a *audited) tool(input io.Reader, name string, args ...string) string {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), name, args...)
	cmd.Env, cmd.Stdin = a.env, input
	out, err := cmd.CombinedOutput()
	if err != nil {
		a.t.Fatalf("%s: %v: %s", name, err, out)
	}
	return string(out)
}

// The method `audit` executes `tenantry audit run`, and returns the number of open findings of each code. The argument `exit` is the
// expected exit code.
func (a *audited) audit(exit int) map[string]int {
	a.t.Helper()
	out, code, stderr := a.exits("audit", "run", "-f", "json")
	if code != exit {
		a.t.Errorf("tenantry audit run exits with %d, want %d: %s %s", code, exit, out, stderr)
	}
	found := map[string]int{}
	for _, f := range a.open() {
		found[strings.Fields(f)[0]]++
	}
	return found
}

// The method `open` returns the code and the detail of each open finding. The keys are the ids of the findings.
func (a *audited) open() map[string]string {
	a.t.Helper()
	all := map[string]string{}
	for path := "/v1/findings?limit=200"; path != ""; {
		var page struct {
			Findings []struct{ ID, Code, Detail string }
			Links    []struct{ Rel, Href string }
		}
		a.ok(a.asOperator(http.MethodGet, a.url+path, "", &page))
		for _, f := range page.Findings {
			all[f.ID] = f.Code + " " + f.Detail
		}
		path = ""
		for _, l := range page.Links {
			if l.Rel == "next" {
				path = l.Href
			}
		}
	}
	return all
}

// changeMeanwhile makes and ends n subscriptions. Meanwhile, it calls the function `see` again and again: at least twice, and until all
// subscriptions are ended.
func (a *audited) changeMeanwhile(n int, see func()) {
	var done atomic.Bool
	go func() {
		defer done.Store(true)
		sideBySide(n, func(i int) {
			a.insist(a.url, a.toldTo(a.subscription(fmt.Sprint("meanwhile-", i)), "unsubscribe"))
		})
	}()
	for audits := 0; !done.Load() || audits < 2; audits++ {
		see()
	}
}

// The method `patch` changes a field of a subscription in BillingStack.
func (a *audited) patch(s subscribed, field, value string) {
	a.t.Helper()
	body := strings.NewReader(fmt.Sprintf(`{%q: %q}`, field, value))
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPatch,
		a.billingURL+"/merchants/"+a.merchant.ID+"/subscriptions/"+s.id, body)
	a.ok(err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	a.ok(err)
	a.ok(resp.Body.Close())
	if resp.StatusCode != http.StatusOK {
		a.t.Fatalf("PATCH %s of subscription %s: %s", field, s.id, resp.Status)
	}
}

// TestAuditsWithLessThanAnAdminsRights executes two audits of damaged subscriptions. The first audit uses the credential of a member of
// one project, and reports no findings. The second audit uses the credential of a manager of the tenants' domain, and reports the
// findings that the manager can see. Both audits list the parts that they could not assess.
func TestAuditsWithLessThanAnAdminsRights(t *testing.T) {
	a := newAudited(t)
	a.subscribeAll(6)
	for _, damage := range []func(*audited){
		func(a *audited) { a.openstack("subscription-without-tenant", "project delete %s", a.one().tenant) },
		func(a *audited) { a.openstack("tenant-disabled", "project set --disable %s", a.one().tenant) },
		func(a *audited) { a.openstack("tenant-renamed", "project set --name renamed %s", a.one().tenant) },
		func(a *audited) {
			s := a.one()
			a.openstack("role-missing", "role remove --project %s --user %s member", s.tenant, s.user)
		},
		func(a *audited) { a.openstack("", "user delete %s", a.one().user) }, // for the manager, a deleted user looks like a user of another domain
	} {
		damage(a)
	}
	manager := a.made("roles", "role", map[string]any{"name": "manager"})
	var roles struct{ Roles []struct{ ID string } }
	a.cloud.call(t, http.MethodGet, "/roles?name=member", nil, &roles)
	member := roles.Roles[0].ID
	a.cloud.call(t, http.MethodPut, "/roles/"+manager+"/implies/"+member, nil, nil)
	for name, path := range map[string]string{
		"manager": "/domains/" + a.cloud.domain + "/users/USER/roles/" + manager,
		"member":  "/projects/" + a.foreign + "/users/USER/roles/" + member,
	} {
		id := a.made("users", "user", map[string]any{"name": name, "password": "canary-" + name, "domain_id": "default"})
		a.cloud.call(t, http.MethodPut, strings.ReplaceAll(path, "USER", id), nil, nil)
	}
	a.damage()
	a.first.kill()
	clouds := t.TempDir() + "/clouds.yaml"
	a.ok(os.WriteFile(clouds, fmt.Appendf(nil, `clouds:
  manager:
    auth: {auth_url: %[1]q, username: manager, password: canary-manager, user_domain_id: default, domain_id: %[2]q}
  member:
    auth: {auth_url: %[1]q, username: member, password: canary-member, user_domain_id: default, project_id: %[3]q}
`, a.cloud.url, a.cloud.domain, a.foreign), 0o600))

	for _, with := range []struct {
		credential string
		want       map[string]int
		gaps       []string
	}{
		{"member", map[string]int{}, []string{"keystone-forbidden"}},
		{"manager", a.want, []string{"keystone-forbidden", "out-of-reach"}},
	} {
		r := a.serve("TENANTRY_AUDIT_CLOUD="+with.credential, "OS_CLIENT_CONFIG_FILE="+clouds)
		a.env = append(a.env, "TENANTRY_URL="+r.url)
		a.url = r.url
		if got := a.audit(7); !maps.Equal(got, with.want) {
			t.Errorf("%s: got %v, want %v", with.credential, got, with.want)
		}
		gaps := string(a.run("audit", "list", "-f", "json"))
		var audits struct{ Audits []struct{ ID string } }
		a.unmarshal([]byte(gaps), &audits)
		shown := string(a.run("audit", "show", audits.Audits[0].ID, "-f", "json"))
		for _, gap := range with.gaps {
			if !strings.Contains(shown, `"`+gap+`"`) {
				t.Errorf("%s: the audit does not say %s: %s", with.credential, gap, shown)
			}
		}
		r.kill()
	}
}

package v3_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// tenantNames returns names of customer tenants and of subscription tenants. The first digits of their UUIDs are spread evenly.
func tenantNames(n int) (names []string) {
	for i := range n {
		kind := []func(string) string{keystone.CustomerTenant, keystone.SubscriptionTenant}[i%2]
		names = append(names, kind(fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(i)*2654435769, i)))
	}
	return names
}

func TestACutListIsReadInParts(t *testing.T) {
	const limit, count = 10, 400
	for what, project := range map[string]func(int, string) string{
		"tenants": func(_ int, name string) string { return name },
		"tenants whose UUIDs differ only in the last digits": func(i int, _ string) string {
			return keystone.CustomerTenant(fmt.Sprintf("2c9b0a52-0000-4000-8000-%012x", i))
		},
	} {
		h := limitedHouse(t, limit)
		want := map[string]bool{}
		for i, name := range tenantNames(count) {
			name = project(i, name)
			h.AddProject(keystone.Project{Name: name})
			want[name] = true
		}
		for _, prefix := range []string{"", "bs", "bs-customer-", "bs-customer-2", "bs-customer-2c9b0a52", "bs-customer-2c9b0a52-0", "bs-subscription-e"} {
			h.wire.intercept(func(*http.Request) bool { return false }, nil)
			got := map[string]int{}
			whole, err := h.cloud.EachProject(t.Context(), "default", prefix, func(p keystone.Project) { got[p.Name]++ })
			if err != nil || !whole {
				t.Errorf("%s, %q: whole %t, %v", what, prefix, whole, err)
			}
			for name := range want {
				if n := map[bool]int{true: 1}[strings.HasPrefix(name, prefix)]; got[name] != n {
					t.Errorf("%s, %q: %s was taken %d times, want %d", what, prefix, name, got[name], n)
				}
			}
			if n := len(h.wire.requests()); n > 1000 {
				t.Errorf("%s, %q: sent %d requests", what, prefix, n)
			}
		}
	}
}

func limitedHouse(t *testing.T, limit int) *house {
	t.Helper()
	return newHouseOf(t, keystonetest.New(keystonetest.Options{ListLimit: limit}))
}

// If Keystone cuts every list or ignores the filter, EachProject stops after a few requests. It does not send a request for each possible
// UUID.
func TestAListThatStaysCutIsNotWhole(t *testing.T) {
	element := fmt.Sprintf(elements["projects"], 1)
	for what, body := range map[string]string{
		"empty": `{"projects":[],"truncated":true}`, "the same project": `{"projects":[` + element + `],"truncated":true}`,
	} {
		for _, prefix := range []string{"", "b", "bs-customer-", "bs-subscription-ffffffff-ffff-4fff-8fff-fffffffffff", "payroll", "bs-customer-x"} {
			asked := 0
			cloud := stub(t, func(r *http.Request) (*http.Response, error) {
				asked++
				return answer(200, body)(r)
			})
			whole, err := cloud.EachProject(t.Context(), "d", prefix, func(keystone.Project) {})
			if err != nil || whole || asked > 40 {
				t.Errorf("%s, %q: whole %t, %v after %d requests; want whole false after at most 40", what, prefix, whole, err, asked)
			}
		}
	}
}

func TestAPartThatFailsIsAnError(t *testing.T) {
	h := limitedHouse(t, 3)
	for _, name := range tenantNames(40) {
		h.AddProject(keystone.Project{Name: name})
	}
	h.wire.intercept(func(r *http.Request) bool { return strings.Contains(r.URL.RawQuery, "bs-subscription-7") }, answer(503, ""))
	whole, err := h.cloud.EachProject(t.Context(), "default", "", func(keystone.Project) {})
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok || e.Class != upstream.Unavailable || whole || !strings.Contains(err.Error(), `projects of domain default that begin with "bs-subscription-7"`) {
		t.Errorf("got whole %t, %v; want class Unavailable", whole, err)
	}
}

// Each part is one request, with a filter that Keystone's database can apply.
func TestThePartsOfAListAreFiltersOfTheDatabase(t *testing.T) {
	var asked []string
	cloud := stub(t, func(r *http.Request) (*http.Response, error) {
		q := r.URL.Query()
		asked = append(asked, q.Get("name__istartswith"))
		if q.Get("domain_id") != "d" || len(q) > 2 {
			t.Errorf("asked %s", r.URL)
		}
		cut := slices.Contains([]string{"", "bs-customer-", "bs-customer-a", "bs-customer-a1b2c3d4"}, q.Get("name__istartswith"))
		return answer(200, fmt.Sprintf(`{"projects":[],"truncated":%t}`, cut))(r)
	})
	digits := func(prefix string) (parts []string) {
		for _, c := range "0123456789abcdef" {
			parts = append(parts, prefix+string(c))
		}
		return parts
	}
	all := digits("bs-customer-")
	all = slices.Insert(all, 11, digits("bs-customer-a")...)
	for prefix, want := range map[string][]string{
		"":                      slices.Concat([]string{"", "bs-customer-"}, all, []string{"bs-subscription-"}),
		"bs-customer-a1b2c3d4":  slices.Concat([]string{"bs-customer-a1b2c3d4"}, digits("bs-customer-a1b2c3d4-")),
		"bs-customer-a1b2c3d4-": {"bs-customer-a1b2c3d4-"},
		`a_b\c`:                 {"a_b"},
		`\`:                     {""},
	} {
		asked = nil
		whole, err := cloud.EachProject(t.Context(), "d", prefix, func(keystone.Project) { t.Error("got a project") })
		if !slices.Equal(asked, want) || err != nil || whole != (prefix != `\`) {
			t.Errorf("%q: whole %t, %v, asked\n got %q\nwant %q", prefix, whole, err, asked, want)
		}
	}
}

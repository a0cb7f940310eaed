package conformance_test

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/keystone/keystonetest/conformance"
)

func inMemory(t *testing.T, listLimit int) conformance.Target {
	t.Helper()
	url, stop, err := keystonetest.New(keystonetest.Options{AdminPassword: "pw-admin", ListLimit: listLimit}).Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return conformance.Target{URL: url, Password: "pw-admin"}
}

func real(t *testing.T) conformance.Target {
	t.Helper()
	target := conformance.Target{
		URL: os.Getenv("TENANTRY_TEST_KEYSTONE_URL"), Password: os.Getenv("TENANTRY_TEST_KEYSTONE_PASSWORD"),
	}
	if cmp.Or(target.URL, target.Password) == "" {
		t.Fatal("run this test with `make test`, which starts Keystone")
	}
	t.Log("real: keystone")
	return target
}

// realLimited returns the address of the real Keystone with the option list_limit: see deploy/testservices/keystone.wsgi.
func realLimited(t *testing.T) conformance.Target {
	t.Helper()
	target := real(t)
	target.URL = strings.TrimSuffix(target.URL, "/v3") + fmt.Sprintf("/list_limit/%d/v3", conformance.ListLimit)
	return target
}

func TestTheInMemoryKeystoneConforms(t *testing.T) { conformance.Conformance(t, inMemory(t, 0)) }

func TestTheInMemoryKeystoneConformsWithIdentityV2(t *testing.T) {
	k := keystonetest.New(keystonetest.Options{AdminPassword: "pw-admin", Pike: true})
	public, admin, stop, err := k.StartBoth()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	conformance.Conformance(t, conformance.Target{
		URL: strings.TrimSuffix(admin, "/v2.0") + "/v3", Password: "pw-admin", Public: public, Admin: admin,
	})
}

func TestTheRealKeystoneConforms(t *testing.T) { conformance.Conformance(t, real(t)) }

func TestTheInMemoryKeystoneCutsLists(t *testing.T) {
	conformance.Limited(t, inMemory(t, conformance.ListLimit))
}

func TestTheRealKeystoneCutsLists(t *testing.T) { conformance.Limited(t, realLimited(t)) }

func TestTheInMemoryKeystoneAnswersAsTheRealOneDoes(t *testing.T) {
	compare(t, conformance.Wire(t, inMemory(t, 0)), conformance.Wire(t, real(t)))
}

func TestTheInMemoryKeystoneListsAsTheRealOneDoes(t *testing.T) {
	compare(t, conformance.Lists(t, inMemory(t, 0)), conformance.Lists(t, real(t)))
}

func TestTheInMemoryKeystoneCutsListsAsTheRealOneDoes(t *testing.T) {
	compare(t, conformance.CutLists(t, inMemory(t, conformance.ListLimit)), conformance.CutLists(t, realLimited(t)))
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		line := func(lines []string) string { return strings.Join(lines[min(i, len(lines)):min(i+1, len(lines))], "") }
		if line(got) != line(want) {
			t.Errorf("in memory %s\n     real %s", line(got), line(want))
		}
	}
	if len(want) < 40 || slices.Contains(want, "") {
		t.Errorf("the real Keystone's answers have only %d lines", len(want))
	}
}
